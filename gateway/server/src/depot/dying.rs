//! Places at which tests let the program die, as a power cut would. Without the feature `failpoints` they are nothing.

/// A place to die at: nothing behind it happens, nothing that waits is answered.
macro_rules! may_die {
    ($at:literal) => {
        fail::fail_point!($at, |_| std::process::abort());
    };
}
pub(super) use may_die;
