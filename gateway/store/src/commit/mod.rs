//! The committer's rules, without I/O: what may be ordered ([`admit`]), how office is claimed ([`Claim`]), and the
//! steps of a term ([`Term`]).

mod admit;
mod claim;
mod term;

pub use admit::{Admission, Facts, HeldFrame, PackState, Refusal};
pub use claim::{Claim, ClaimInput, ClaimStep};
pub use term::{Input, Step, Term};
