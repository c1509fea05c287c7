//! What of a daemon's metrics Hayloft itself looks at.

use serde::{Deserialize, Serialize};

/// What clients asked a daemon, and what it did, since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Requests {
    /// S3 requests of any kind.
    pub s3: u64,
    /// S3 requests that failed.
    pub failed: u64,
    /// Bytes of blocks that it read from its disk, for clients and for other members.
    pub block_bytes_read: u64,
    /// Bytes of blocks that it wrote to its disk.
    pub block_bytes_written: u64,
    /// Blocks that it sent to members that lacked them.
    pub resync_sent: u64,
    /// Blocks that it fetched because it lacked them.
    pub resync_received: u64,
}

impl Requests {
    /// Counts what stands in the text of a daemon's metrics. A daemon that was asked nothing yet has no such line.
    #[must_use]
    pub fn of(metrics: &str) -> Self {
        Self {
            s3: sum(metrics, "api_s3_request_counter"),
            failed: sum(metrics, "api_s3_error_counter"),
            block_bytes_read: sum(metrics, "block_bytes_read"),
            block_bytes_written: sum(metrics, "block_bytes_written"),
            resync_sent: sum(metrics, "block_resync_send_counter"),
            resync_received: sum(metrics, "block_resync_recv_counter"),
        }
    }

    /// What came since `before`: nothing that is known of, where nothing was counted before; all, where the daemon was started
    /// anew since, for it counts from nothing.
    #[must_use]
    pub fn since(self, before: Option<&Self>) -> Self {
        let Some(before) = before else {
            return Self::default();
        };
        let more = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Self {
            s3: more(self.s3, before.s3),
            failed: more(self.failed, before.failed),
            block_bytes_read: more(self.block_bytes_read, before.block_bytes_read),
            block_bytes_written: more(self.block_bytes_written, before.block_bytes_written),
            resync_sent: more(self.resync_sent, before.resync_sent),
            resync_received: more(self.resync_received, before.resync_received),
        }
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self {
            s3: self.s3.saturating_add(more.s3),
            failed: self.failed.saturating_add(more.failed),
            block_bytes_read: self.block_bytes_read.saturating_add(more.block_bytes_read),
            block_bytes_written: self.block_bytes_written.saturating_add(more.block_bytes_written),
            resync_sent: self.resync_sent.saturating_add(more.resync_sent),
            resync_received: self.resync_received.saturating_add(more.resync_received),
        }
    }
}

/// The sum of all lines of a counter, whatever their labels.
fn sum(metrics: &str, counter: &str) -> u64 {
    metrics
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(counter)?;
            let value = match rest.strip_prefix('{') {
                // A label's value may hold spaces and braces: the number stands last.
                Some(labels) => labels.rsplit_once("} ")?.1,
                None => rest.strip_prefix(' ')?,
            };
            value.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_summed_over_their_kinds() {
        let text = "\
# HELP api_s3_request_counter Number of API calls
# TYPE api_s3_request_counter counter
api_s3_request_counter{api_endpoint=\"GetObject\",otel_scope_name=\"a } 7 b\"} 12
api_s3_request_counter{api_endpoint=\"PutObject\"} 30
api_s3_request_counter_other 900
api_s3_error_counter{api_endpoint=\"PutObject\",status_code=\"403\"} 2
api_admin_request_counter{api_endpoint=\"GetClusterStatus\"} 5
block_bytes_read 1048576
block_bytes_written 2097152
block_resync_send_counter{to=\"ab\"} 3
block_resync_recv_counter 4
";
        assert_eq!(
            Requests::of(text),
            Requests {
                s3: 42,
                failed: 2,
                block_bytes_read: 1048576,
                block_bytes_written: 2_097_152,
                resync_sent: 3,
                resync_received: 4,
            }
        );
        assert_eq!(Requests::of(""), Requests::default());
    }
}
