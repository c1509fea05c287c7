//! The loop that observes, plans, checks, acts and tells; and its store.
