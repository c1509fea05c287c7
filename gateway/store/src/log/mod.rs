//! The log: all records in one order.

pub mod chain;
pub mod object;
pub mod record;

/// A log object cannot be followed.
#[derive(Debug, thiserror::Error)]
#[error("{object} cannot be used")]
pub struct LogError {
    /// Its key in the bucket.
    pub object: String,
    /// What is wrong with it.
    #[source]
    pub fault: LogFault,
}

/// What is wrong with a log object.
#[derive(Debug, thiserror::Error)]
pub enum LogFault {
    /// It does not begin as log objects do.
    #[error("it is not a log object")]
    Magic,
    /// A later version wrote it.
    #[error("it has format {found}, this version reads up to {known}: use a newer hayloft-gateway")]
    Version {
        /// What it says.
        found: u32,
        /// What this version reads.
        known: u32,
    },
    /// It holds records that its format does not have.
    #[error("it holds records of a later format than it says")]
    TooNew,
    /// It is cut off, or has bytes too many.
    #[error("its length is wrong")]
    Length,
    /// It was signed with another cluster key.
    #[error("it was signed with another cluster key")]
    Signer,
    /// It was changed after it was signed.
    #[error("its signature does not match")]
    Signature,
    /// It says that it stands elsewhere.
    #[error("it belongs to another place in the log")]
    Place,
    /// Openings come first in an epoch and nowhere else.
    #[error("an epoch's opening stands where none may, or is missing")]
    Opening,
    /// It does not follow the object that comes before it.
    #[error("it does not follow the object before it")]
    Chain,
    /// An object before it in the same epoch is missing.
    #[error("it is there, but an object that must come before it is missing")]
    Hole,
    /// Its records do not parse.
    #[error("its records cannot be parsed")]
    Body(#[source] postcard::Error),
}
