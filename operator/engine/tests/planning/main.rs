//! Plans in many situations, on a cluster that behaves as Garage does, without Garage.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod convergence;
mod plans;
mod second_judge;
mod world;
