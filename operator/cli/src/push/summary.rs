//! What a push came to.

use std::time::Duration;

use hayloft_nixcache::StorePath;
use hayloft_nixcache::api::{UploadKind, UploadResult};

use crate::words;

/// Damaged paths that the last line names; each was named when it failed.
const NAMED: usize = 3;

/// What became of every path of a closure.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// Uploaded paths.
    pub(crate) pushed: usize,
    /// Bytes of their NARs.
    pub(crate) pushed_bytes: u64,
    /// Bytes of their NARs that the cache had already, in other paths.
    pub(crate) known_bytes: u64,
    /// Paths that the cache had already.
    pub(crate) present: usize,
    /// Paths that an upstream key signed.
    pub(crate) upstream: usize,
    /// Paths that could not be uploaded.
    pub(crate) failed: Vec<StorePath>,
    /// Of those, the ones that no later try can help, as what lies on this machine cannot be sent.
    pub(crate) hopeless: Vec<StorePath>,
    /// Of those again, the ones whose contents are not what Nix recorded.
    pub(crate) damaged: Vec<StorePath>,
    /// Paths that were not tried, as something they refer to failed.
    pub(crate) held_back: Vec<StorePath>,
    /// Paths that were not tried, as the push ended early, and why it did.
    pub(crate) stopped: Option<(Vec<StorePath>, String)>,
    /// How long it took.
    pub(crate) took: Duration,
}

/// The part of an uploaded NAR that the cache had already, from 0 to 1.
pub(crate) fn deduplicated(result: &UploadResult) -> f64 {
    match (result.kind, result.frac_deduplicated) {
        (UploadKind::Deduplicated, _) => 1.0,
        (_, Some(share)) if share.is_finite() => share.clamp(0.0, 1.0),
        _ => 0.0,
    }
}

impl Summary {
    /// Whether everything is in the cache, or with an upstream.
    pub(crate) fn is_whole(&self) -> bool {
        self.failed.is_empty() && self.held_back.is_empty() && self.stopped.is_none()
    }

    /// Paths that should be in the cache and are not.
    pub(crate) fn absent(&self) -> usize {
        self.failed.len() + self.held_back.len() + self.stopped.as_ref().map_or(0, |(paths, _)| paths.len())
    }

    /// The line for people.
    pub(crate) fn line(&self, cache: &str) -> String {
        let mut skipped = Vec::new();
        if self.present > 0 {
            skipped.push(format!("{} there already", self.present));
        }
        if self.upstream > 0 {
            skipped.push(format!("{} signed upstream", self.upstream));
        }
        let skipped = if skipped.is_empty() {
            String::new()
        } else {
            format!("; {}", skipped.join(", "))
        };
        if self.pushed == 0 && self.absent() == 0 {
            return format!("nothing to push to {cache}{skipped}");
        }
        let mut line = format!(
            "pushed {} to {cache}, {} in {}",
            words::count(self.pushed, "path"),
            words::bytes(self.pushed_bytes),
            words::duration(self.took)
        );
        if self.took >= Duration::from_millis(100) && self.pushed_bytes >= 1024 * 1024 {
            line.push_str(&format!(", {}/s", words::bytes(self.rate())));
        }
        let percent = u128::from(self.known_bytes) * 100 / u128::from(self.pushed_bytes.max(1));
        if percent > 0 {
            line.push_str(&format!(", {percent} % deduplicated"));
        }
        line + &skipped
    }

    /// The line for what did not work, if anything did not.
    pub(crate) fn complaint(&self) -> Option<String> {
        let (untried, why) = self
            .stopped
            .as_ref()
            .map_or((0, ""), |(paths, why)| (paths.len(), why.as_str()));
        let mut parts = Vec::new();
        if !self.failed.is_empty() {
            parts.push(format!("{} failed", self.failed.len()));
        }
        if !self.held_back.is_empty() {
            parts.push(format!("{} held back that refer to them", self.held_back.len()));
        }
        if untried > 0 {
            parts.push(format!("{untried} not tried"));
        }
        match (parts.is_empty(), why) {
            (true, "") => None,
            (_, "") => Some(format!(
                "{} not pushed ({}){}",
                are(self.absent()),
                parts.join(", "),
                self.remedy()
            )),
            (_, why) => Some(format!(
                "{why}; {} not pushed ({})",
                are(self.absent()),
                parts.join(", ")
            )),
        }
    }

    /// What to do about the paths that failed.
    fn remedy(&self) -> String {
        let mut text = String::new();
        if !self.damaged.is_empty() {
            let named: Vec<&str> = self.damaged.iter().take(NAMED).map(StorePath::as_str).collect();
            let named = named.join(" ");
            text = format!(
                "; `nix-store --verify-path {named}` shows what is damaged here, `nix-store --repair-path {named}` may mend it"
            );
            let others = self.damaged.len().saturating_sub(NAMED);
            if others > 0 {
                text.push_str(&format!(", and so with {others} more named above"));
            }
        }
        if self.failed.len() > self.hopeless.len() {
            let which = if self.hopeless.is_empty() {
                "those"
            } else {
                "the others"
            };
            text.push_str(&format!("; run the same again to try {which}"));
        }
        text
    }

    fn rate(&self) -> u64 {
        let millis = self.took.as_millis().max(1);
        u64::try_from(u128::from(self.pushed_bytes) * 1000 / millis).unwrap_or(u64::MAX)
    }
}

fn are(count: usize) -> String {
    if count == 1 {
        "1 path was".to_owned()
    } else {
        format!("{count} paths were")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(digit: char) -> StorePath {
        format!("/nix/store/{}-x", digit.to_string().repeat(32))
            .parse()
            .expect("is a path")
    }

    #[test]
    fn the_line_tells_what_happened() {
        let nothing = Summary {
            present: 12,
            upstream: 40,
            ..Summary::default()
        };
        assert_eq!(
            nothing.line("main"),
            "nothing to push to main; 12 there already, 40 signed upstream"
        );
        let some = Summary {
            pushed: 3,
            pushed_bytes: 30 << 20,
            known_bytes: 15 << 20,
            took: Duration::from_secs(2),
            ..nothing
        };
        assert_eq!(
            some.line("main"),
            "pushed 3 paths to main, 30 MiB in 2.0 s, 15 MiB/s, 50 % deduplicated; 12 there already, 40 signed upstream"
        );
        assert_eq!(some.complaint(), None);
        assert!(some.is_whole());
    }

    #[test]
    fn what_is_absent_is_counted_and_the_reason_comes_first() {
        let failed = Summary {
            pushed: 1,
            failed: vec![path('1')],
            held_back: vec![path('2'), path('3')],
            ..Summary::default()
        };
        assert_eq!(
            failed.complaint().as_deref(),
            Some(
                "3 paths were not pushed (1 failed, 2 held back that refer to them); run the same again to try those"
            )
        );
        let damaged = Summary {
            hopeless: vec![path('1')],
            damaged: vec![path('1')],
            ..failed
        };
        let named = path('1');
        assert_eq!(
            damaged.complaint(),
            Some(format!(
                "3 paths were not pushed (1 failed, 2 held back that refer to them); `nix-store --verify-path {named}` shows what is \
                 damaged here, `nix-store --repair-path {named}` may mend it"
            )),
            "the same again would end alike"
        );
        let both = Summary {
            failed: vec![path('1'), path('4')],
            ..damaged
        };
        assert!(
            both.complaint()
                .is_some_and(|line| line.ends_with("may mend it; run the same again to try the others"))
        );
        let stopped = Summary {
            stopped: Some((vec![path('1')], "the gateway does not take the token".to_owned())),
            ..Summary::default()
        };
        assert_eq!(
            stopped.complaint().as_deref(),
            Some("the gateway does not take the token; 1 path was not pushed (1 not tried)")
        );
        assert!(!stopped.is_whole());
    }
}
