//! The driver that runs units as child processes, for laptops and containers.

pub mod backoff;
mod door;
mod driver;
pub mod log;
pub mod spawn;
mod supervisor;

pub use driver::ChildDriver;
