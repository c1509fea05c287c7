//! The process on every host that makes the desired state so and reports back.
