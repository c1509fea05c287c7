//! All metrics: their names, kinds and what they mean. The dashboard's queries are held to this by a test.

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up.
    Counter,
    /// Up and down.
    Gauge,
    /// A distribution of seconds.
    Seconds,
    /// A distribution of counts.
    Count,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// `hayloft_gateway_<what>_<unit>`.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// For people.
    pub help: &'static str,
    /// The label it comes with, and the values that are there from the start; empty: none.
    pub label: (&'static str, &'static [&'static str]),
}

/// Requests, by status class.
pub const REQUESTS: &str = "hayloft_gateway_requests_total";
/// Time to the beginning of an answer, by endpoint.
pub const REQUEST_SECONDS: &str = "hayloft_gateway_request_seconds";
/// Time in each stage of push and pull.
pub const STAGE_SECONDS: &str = "hayloft_gateway_stage_seconds";
/// Bytes of NAR that came.
pub const RECEIVED_BYTES: &str = "hayloft_gateway_received_bytes_total";
/// Bytes of NAR that were stored already.
pub const DEDUPLICATED_BYTES: &str = "hayloft_gateway_deduplicated_bytes_total";
/// Bytes of packs that were stored.
pub const STORED_BYTES: &str = "hayloft_gateway_stored_bytes_total";
/// Bytes of ranges read from the bucket.
pub const FETCHED_BYTES: &str = "hayloft_gateway_fetched_bytes_total";
/// Bytes that were read from the bucket only because they lay between what was wanted.
pub const GAP_BYTES: &str = "hayloft_gateway_fetched_gap_bytes_total";
/// Bytes of NARs handed to connections, compressed.
pub const SENT_BYTES: &str = "hayloft_gateway_sent_bytes_total";
/// Windows of output, by where they were found.
pub const WINDOWS: &str = "hayloft_gateway_windows_total";
/// Uploads under way.
pub const UPLOADS: &str = "hayloft_gateway_uploads_running";
/// Log objects written by this gateway.
pub const LOG_OBJECTS: &str = "hayloft_gateway_log_objects_total";
/// Records in a log object.
pub const LOG_RECORDS: &str = "hayloft_gateway_log_object_records";
/// Packs and frames that were found damaged.
pub const DAMAGE: &str = "hayloft_gateway_damage_total";
/// Whether it can serve.
pub const READY: &str = "hayloft_gateway_ready";
/// Whether the log holds something that cannot be followed.
pub const LOG_STUCK: &str = "hayloft_gateway_log_stuck";
/// Other gateways that cannot be reached.
pub const LINKS_LOST: &str = "hayloft_gateway_links_lost";
/// Questions for narinfos, by the answer.
pub const NARINFOS: &str = "hayloft_gateway_narinfos_total";

/// The stages of a push and of a pull, in order.
pub const STAGES: &[&str] = &[
    "receive", "cut", "lookup", "compress", "pack", "put", "commit", "disk", "plan", "fetch", "check", "send",
];

const NONE: (&str, &[&str]) = ("", &[]);

const fn metric(name: &'static str, kind: Kind, help: &'static str) -> Metric {
    Metric {
        name,
        kind,
        help,
        label: NONE,
    }
}

/// Every metric there is.
pub const ALL: &[Metric] = &[
    Metric {
        label: ("status", &["2xx", "3xx", "4xx", "5xx"]),
        ..metric(REQUESTS, Kind::Counter, "Requests answered, by class of status")
    },
    Metric {
        label: (
            "endpoint",
            &["narinfo", "nar", "upload-path", "get-missing-paths"],
        ),
        ..metric(
            REQUEST_SECONDS,
            Kind::Seconds,
            "From the request to the beginning of its answer, by endpoint",
        )
    },
    Metric {
        label: ("stage", STAGES),
        ..metric(
            STAGE_SECONDS,
            Kind::Seconds,
            "Time in each stage of a push (receive to commit) and of a pull (plan to send); stages overlap",
        )
    },
    metric(RECEIVED_BYTES, Kind::Counter, "Bytes of NAR that clients pushed"),
    metric(
        DEDUPLICATED_BYTES,
        Kind::Counter,
        "Bytes of pushed NAR that were stored already",
    ),
    metric(STORED_BYTES, Kind::Counter, "Bytes of packs put into the bucket"),
    metric(
        FETCHED_BYTES,
        Kind::Counter,
        "Bytes of packs read from the bucket",
    ),
    metric(
        GAP_BYTES,
        Kind::Counter,
        "Bytes read from the bucket only because they lay between frames that were wanted",
    ),
    metric(
        SENT_BYTES,
        Kind::Counter,
        "Bytes of NARs handed to clients, compressed",
    ),
    Metric {
        label: ("found", &["memory", "bucket"]),
        ..metric(
            WINDOWS,
            Kind::Counter,
            "Stretches of NARs handed to clients, by where they were found",
        )
    },
    Metric {
        label: ("answer", &["found", "missing"]),
        ..metric(NARINFOS, Kind::Counter, "Questions for narinfos, by the answer")
    },
    metric(UPLOADS, Kind::Gauge, "Uploads under way"),
    metric(
        LOG_OBJECTS,
        Kind::Counter,
        "Groups of records that this gateway wrote to the log",
    ),
    metric(LOG_RECORDS, Kind::Count, "Records in one such group"),
    metric(DAMAGE, Kind::Counter, "Packs and frames found missing or altered"),
    metric(
        READY,
        Kind::Gauge,
        "1 when the gateway can serve and take uploads",
    ),
    metric(
        LOG_STUCK,
        Kind::Gauge,
        "1 when an object of the log is not what it should be, so that nothing behind it is shown",
    ),
    metric(
        LINKS_LOST,
        Kind::Gauge,
        "Other gateways that cannot be reached by the link",
    ),
];
