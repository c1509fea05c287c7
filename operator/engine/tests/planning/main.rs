//! Plans in many situations, on a cluster that behaves as Garage does, without Garage.

mod convergence;
mod plans;
mod second_judge;
mod world;
