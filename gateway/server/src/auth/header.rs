//! The `Authorization` header: `bearer <token>`, or `basic <base64 of user:token>` as Nix sends it from a netrc.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What an `Authorization` header holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    /// A token.
    Token(String),
    /// Something that is no token: another scheme, bad base64, no colon.
    Unusable,
}

/// Reads the header's value. The scheme may be written in any case and is followed by exactly one space; of `basic`,
/// the user's name is ignored.
pub(super) fn parse(value: &str) -> Credentials {
    let Some((scheme, rest)) = value.split_once(' ') else {
        return Credentials::Unusable;
    };
    let token = if scheme.eq_ignore_ascii_case("bearer") {
        Some(rest.to_owned())
    } else if scheme.eq_ignore_ascii_case("basic") {
        password(rest)
    } else {
        None
    };
    token.map_or(Credentials::Unusable, Credentials::Token)
}

fn password(encoded: &str) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Credentials {
        Credentials::Token(text.to_owned())
    }

    #[test]
    fn bearer_and_basic_are_understood_in_any_case() {
        assert_eq!(parse("bearer a.b.c"), token("a.b.c"));
        assert_eq!(parse("Bearer a.b.c"), token("a.b.c"));
        assert_eq!(parse("BEARER a.b.c"), token("a.b.c"));
        for (scheme, pair) in [("basic", "user:a.b.c"), ("baSIC", ":a.b.c")] {
            let value = format!("{scheme} {}", STANDARD.encode(pair));
            assert_eq!(parse(&value), token("a.b.c"));
        }
        let colons = format!("basic {}", STANDARD.encode("u:a:b"));
        assert_eq!(parse(&colons), token("a:b"));
    }

    #[test]
    fn anything_else_is_unusable() {
        let no_colon = format!("basic {}", STANDARD.encode("abc"));
        let no_utf8 = format!("basic {}", STANDARD.encode([0xff, b':', 0xfe]));
        for value in [
            "",
            "bearer",
            "a.b.c",
            "digest x",
            "basic !!!",
            &no_colon,
            &no_utf8,
        ] {
            assert_eq!(parse(value), Credentials::Unusable, "{value}");
        }
    }
}
