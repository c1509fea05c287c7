//! Edits of a netrc file: one machine's password is set, every other entry, comment and macro stays as it is.
//!
//! curl, which reads the file for Nix, takes the first entry whose machine matches, and a `default` entry matches every
//! machine: entries after it are dead. Nix asks with no login of its own, so one host has one password.

use std::ops::Range;

/// What an edit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The machine had that password already.
    Unchanged,
    /// The machine had no entry and got one.
    Added,
    /// The machine had another password, which is returned so that it can be compared; it is never shown.
    Replaced {
        /// The password that stood there.
        before: String,
    },
}

/// Why an edit was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    /// The machine has an entry that somebody else made.
    #[error("there is an entry for {machine} with the login {login} already")]
    Foreign {
        /// The machine's name.
        machine: String,
        /// Its login, or `(none)`.
        login: String,
    },
}

/// The login written into entries, by which an entry of ours is known; the gateway ignores it.
pub(crate) const LOGIN: &str = "hayloft";

#[derive(Debug, Default)]
struct Entry {
    login: Option<Range<usize>>,
    password: Option<Range<usize>>,
    /// End of the entry's last word.
    end: usize,
}

/// Sets the password of `machine` in the text of a netrc file and returns the new text.
///
/// An entry that has another login than [`LOGIN`] is replaced only with `replace_foreign`.
///
/// # Errors
/// There is a foreign entry.
pub(crate) fn set_password(
    text: &str,
    machine: &str,
    password: &str,
    replace_foreign: bool,
) -> Result<(String, Outcome), EditError> {
    let scan = scan(text, machine);
    let Some(entry) = scan.entry else {
        let new = format!("machine {machine}\nlogin {LOGIN}\npassword {password}\n");
        let (head, tail) = text.split_at(scan.default_at.unwrap_or(text.len()));
        let gap = if head.is_empty() || head.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        return Ok((format!("{head}{gap}{new}{tail}"), Outcome::Added));
    };
    let word = |range: &Range<usize>| text.get(range.clone()).map(unquote);
    let before = entry.password.as_ref().and_then(word);
    if before.as_deref() == Some(password) {
        return Ok((text.to_owned(), Outcome::Unchanged));
    }
    let login = entry.login.as_ref().and_then(word);
    // Attic's client writes entries without a login; a token for a token is no clobbering.
    let ours = login.as_deref().is_none_or(|login| login == LOGIN);
    if !ours && !replace_foreign {
        return Err(EditError::Foreign {
            machine: machine.to_owned(),
            login: login.unwrap_or_else(|| "(none)".to_owned()),
        });
    }
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    match entry.password {
        Some(range) => edits.push((range, password.to_owned())),
        None => edits.push((entry.end..entry.end, format!("\npassword {password}"))),
    }
    match entry.login {
        Some(range) if !ours => edits.push((range, LOGIN.to_owned())),
        _ => {}
    }
    edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut new = text.to_owned();
    for (range, with) in edits {
        new.replace_range(range, &with);
    }
    Ok((
        new,
        Outcome::Replaced {
            before: before.unwrap_or_default(),
        },
    ))
}

struct Scan {
    /// The first entry of the machine.
    entry: Option<Entry>,
    /// Where a `default` entry begins.
    default_at: Option<usize>,
}

/// Finds the machine's first entry that curl would reach.
fn scan(text: &str, machine: &str) -> Scan {
    let mut words = words(text).into_iter().peekable();
    let mut found: Option<Entry> = None;
    let mut inside = false;
    while let Some(range) = words.next() {
        match &text[range.clone()] {
            "machine" => {
                if found.is_some() {
                    break;
                }
                let Some(name) = words.next() else { break };
                inside = unquote(&text[name.clone()]).eq_ignore_ascii_case(machine);
                if inside {
                    found = Some(Entry {
                        end: name.end,
                        ..Entry::default()
                    });
                }
            }
            "default" if found.is_none() => {
                return Scan {
                    entry: None,
                    default_at: Some(range.start),
                };
            }
            "default" => break,
            key @ ("login" | "password" | "account") => {
                let key_is_password = key == "password";
                let key_is_login = key == "login";
                let Some(value) = words.next() else { break };
                if let Some(entry) = found.as_mut().filter(|_| inside) {
                    entry.end = value.end;
                    if key_is_password {
                        entry.password = Some(value);
                    } else if key_is_login {
                        entry.login = Some(value);
                    }
                }
            }
            "macdef" => {
                // A macro goes on to the next blank line; its words mean nothing here.
                let end = text[range.end..]
                    .find("\n\n")
                    .map_or(text.len(), |at| range.end + at);
                while words.next_if(|word| word.start < end).is_some() {}
            }
            _ => {}
        }
    }
    Scan {
        entry: found,
        default_at: None,
    }
}

/// The words of the file: separated by white space, quoted ones whole, comments left out.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            byte if byte.is_ascii_whitespace() => at += 1,
            b'#' => at = text[at..].find('\n').map_or(text.len(), |end| at + end),
            b'"' => {
                let start = at;
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at = (at + 1).min(bytes.len());
                words.push(start..at);
            }
            _ => {
                let start = at;
                while at < bytes.len() && !bytes[at].is_ascii_whitespace() {
                    at += 1;
                }
                words.push(start..at);
            }
        }
    }
    words
}

fn unquote(word: &str) -> String {
    let Some(inner) = word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return word.to_owned();
    };
    let mut out = String::new();
    let mut escaped = false;
    for letter in inner.chars() {
        if letter == '\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            out.push(letter);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, password: &str) -> (String, Outcome) {
        set_password(text, "cache.example.org", password, false).expect("edits")
    }

    #[test]
    fn an_empty_file_gets_one_entry() {
        assert_eq!(
            set("", "jwt"),
            (
                "machine cache.example.org\nlogin hayloft\npassword jwt\n".to_owned(),
                Outcome::Added
            )
        );
    }

    #[test]
    fn a_renewed_token_takes_the_old_ones_place_and_nothing_else_moves() {
        let before = "# work\nmachine git.example.org login me password \"a b\"\n\nmachine cache.example.org\n  login hayloft\n  password old # from May\nmachine z.example.org password z\n";
        let (after, outcome) = set(before, "new");
        assert_eq!(after, before.replace("password old", "password new"));
        assert_eq!(
            outcome,
            Outcome::Replaced {
                before: "old".to_owned()
            }
        );
        assert_eq!(set(&after, "new"), (after.clone(), Outcome::Unchanged));
    }

    #[test]
    fn an_entry_comes_before_default_because_nothing_after_it_is_read() {
        let (after, _) = set(
            "machine a password x\ndefault login anonymous password me\n",
            "jwt",
        );
        assert_eq!(
            after,
            "machine a password x\nmachine cache.example.org\nlogin hayloft\npassword jwt\ndefault login anonymous password me\n"
        );
    }

    #[test]
    fn a_file_without_a_last_line_feed_is_not_glued() {
        let (after, _) = set("machine a password x", "jwt");
        assert_eq!(
            after,
            "machine a password x\nmachine cache.example.org\nlogin hayloft\npassword jwt\n"
        );
    }

    #[test]
    fn an_entry_of_somebody_else_is_refused_until_asked() {
        let before = "machine cache.example.org login alice password hers\n";
        let refused = set_password(before, "cache.example.org", "jwt", false);
        assert!(matches!(refused, Err(EditError::Foreign { ref login, .. }) if login == "alice"));
        let (after, _) = set_password(before, "cache.example.org", "jwt", true).expect("replaces");
        assert_eq!(after, "machine cache.example.org login hayloft password jwt\n");
    }

    #[test]
    fn an_entry_that_attic_made_has_no_login_and_is_renewed() {
        let (after, _) = set("machine cache.example.org\npassword old\n", "new");
        assert_eq!(after, "machine cache.example.org\npassword new\n");
    }

    #[test]
    fn words_in_a_macro_are_not_an_entry() {
        let before = "machine ftp.example.org login a password b\nmacdef init\nmachine cache.example.org password no\n\n";
        let (after, outcome) = set(before, "jwt");
        assert_eq!(outcome, Outcome::Added);
        assert!(after.starts_with(before), "{after}");
    }

    #[test]
    fn the_last_entry_of_a_file_may_lack_a_password() {
        let (after, _) = set("machine cache.example.org login hayloft", "jwt");
        assert_eq!(after, "machine cache.example.org login hayloft\npassword jwt");
    }

    #[test]
    fn odd_files_are_edited_without_a_panic() {
        for odd in [
            "machine",
            "machine cache.example.org password",
            "\"",
            "\"\\",
            "password x",
            "machine \"cache.example.org\" password \"o\\\"ld\"",
            "macdef",
            "ü machine ü",
        ] {
            let (after, _) = set(odd, "jwt");
            assert!(after.contains("jwt"), "{odd:?} became {after:?}");
        }
    }
}

#[cfg(test)]
mod properties {
    use proptest::prelude::*;

    use super::*;

    /// The password that curl would send, which asks without a login.
    fn lookup(text: &str, machine: &str) -> Option<String> {
        let scanned = scan(text, machine);
        scanned.entry?.password.map(|range| unquote(&text[range]))
    }

    fn entry() -> impl Strategy<Value = String> {
        let machine = prop_oneof![Just("a.example"), Just("b.example"), Just("cache.example")];
        let gap = prop_oneof![Just(" "), Just("\n"), Just("\n  "), Just(" # a comment\n")];
        let login = prop_oneof![Just(None), Just(Some("hayloft")), Just(Some("\"somebody else\""))];
        (machine, gap, login, "[a-z]{1,4}", prop::bool::ANY).prop_map(
            |(machine, gap, login, password, last)| {
                let login = login.map_or_else(String::new, |login| format!("{gap}login {login}"));
                let end = if last { "\n" } else { "\n\n# next\n" };
                format!("machine {machine}{login}{gap}password {password}{end}")
            },
        )
    }

    proptest! {
        #[test]
        fn an_edit_sets_one_password_and_leaves_all_others(entries in prop::collection::vec(entry(), 0..5), default: bool) {
            let mut before = entries.concat();
            if default {
                before.push_str("default login anonymous password me\n");
            }
            let (after, _) = set_password(&before, "cache.example", "new.jwt", true).expect("edits");
            prop_assert_eq!(lookup(&after, "cache.example"), Some("new.jwt".to_owned()), "{}", after);
            for other in ["a.example", "b.example"] {
                prop_assert_eq!(lookup(&after, other), lookup(&before, other), "{}", after);
            }
            prop_assert_eq!(after.contains("default"), default);
            let again = set_password(&after, "cache.example", "new.jwt", false).expect("is ours now");
            prop_assert_eq!(again, (after, Outcome::Unchanged));
        }
    }
}
