//! An access token in memory.

use std::fmt;

use zeroize::Zeroizing;

/// A token that the gateway gave out. Never shown: `Debug` hides it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(Zeroizing<String>);

impl Token {
    /// Takes the text of a token, without the white space that a file adds at its end.
    pub(crate) fn new(text: &str) -> Token {
        Token(Zeroizing::new(text.trim().to_owned()))
    }

    /// The text, for a header or a netrc file.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no text at all, as in an empty file or variable.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
