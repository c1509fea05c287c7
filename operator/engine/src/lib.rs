//! Snapshot to validated input to plan to check. Pure.
