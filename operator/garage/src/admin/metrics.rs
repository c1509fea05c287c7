//! What of a daemon's metrics Hayloft itself looks at.

/// What clients asked a daemon since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// S3 requests of any kind.
    pub s3: u64,
    /// S3 requests that failed.
    pub failed: u64,
    /// Bytes of blocks that it read from its disk, for clients and for other members.
    pub block_bytes_read: u64,
}

impl Requests {
    /// Counts what stands in the text of a daemon's metrics. A daemon that was asked nothing yet has no such line.
    #[must_use]
    pub fn of(metrics: &str) -> Self {
        Self {
            s3: sum(metrics, "api_s3_request_counter"),
            failed: sum(metrics, "api_s3_error_counter"),
            block_bytes_read: sum(metrics, "block_bytes_read"),
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
";
        assert_eq!(
            Requests::of(text),
            Requests {
                s3: 42,
                failed: 2,
                block_bytes_read: 1048576,
            }
        );
        assert_eq!(Requests::of(""), Requests::default());
    }
}
