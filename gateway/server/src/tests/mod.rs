//! The gateway as clients meet it: real connections, the real router and depot, on a bucket in memory.

mod caches;
mod home;
mod matrix;
mod pulling;
mod pushing;
mod refusals;
mod serving;
mod tokens;

use home::{Home, Sample, all, grants};
