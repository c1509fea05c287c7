//! Plans in many situations, on a cluster that behaves as Garage does, without Garage.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod absences;
mod convergence;
mod disks;
mod evictions;
mod moves;
mod plans;
mod second_judge;
mod second_judge_of_moves;
mod size;
mod telling;
mod upgrades;
mod upkeep;
mod wedges;
mod world;
