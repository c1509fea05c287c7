//! What crosses crates, on real Garage and real Nix.
