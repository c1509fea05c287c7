//! The depot on real Garage.

mod common;
mod contents;
mod losses;
