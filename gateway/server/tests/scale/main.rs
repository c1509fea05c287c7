//! How long things take at sizes that no test of every day has. Asked for by hand, one at a time:
//! `cargo test --release -p hayloft-server --test scale -- --ignored --nocapture NAME`.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod checkpoint;
mod collection;
mod commits;
#[path = "../depot/common.rs"]
mod common;
mod disk_cache;

/// A number that the environment may set otherwise.
#[expect(clippy::disallowed_methods, reason = "a test has no main")]
fn number(name: &str, unless_set: u64) -> u64 {
    std::env::var(name).map_or(unless_set, |number| number.parse().unwrap())
}

/// Forgets how much memory this process has had.
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// The most memory that this process has had since, in MB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024 / 1_000_000
}
