//! An access token in memory.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hayloft_nixcache::token::Claims;
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

/// What a token says that it allows. Nobody's word is taken for it here; it only chooses sentences.
pub(crate) fn powers(token: &str) -> Option<Claims> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
