//! The committer's rules, without I/O: what may be ordered ([`admit`]), and the steps of a term ([`Term`]).

mod admit;
mod term;

pub use admit::{Admission, Facts, HeldFrame, PackState, Refusal};
pub use term::{Input, Step, Term};
