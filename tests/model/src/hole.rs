//! Rules that can be left out.

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    /// What was written counts without a look whether the term still runs.
    NoSecondLook,
    /// A claimer goes by what it saw before it wrote its claim.
    NoSecondListing,
    /// A claimer does not mark the end of older epochs.
    NoMarks,
    /// A claimer goes on before the marks are known to be written.
    MarksNotAwaited,
    /// A claimer reads the log while it still writes the marks.
    ReadsBeforeMarks,
    /// A successor counts what it saw without writing it again.
    NoTailAgain,
    /// A restart goes on in the epoch it had.
    RestartIsNoSuccession,
    /// What a follower saw in the bucket is shown, whether somebody vouches for it or not.
    ShowsUnsettled,
    /// A record that a gateway cannot read is passed over.
    SkipsUnknown,
    /// Frames named by a path and packs to be condemned are not checked against what was ordered before.
    NoCheckOfCondemned,
    /// A pack's object is deleted before what is needed of it lies elsewhere.
    DeletesBeforeCopy,
    /// A pack's object is deleted when the record that condemns it was written, but before the second look.
    DeletesBeforeLook,
}
