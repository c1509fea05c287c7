//! Edits of a user's `nix.conf`: words are added to list settings, nothing that stands there is dropped.
//!
//! What Nix does with the file decides the edits: `#` starts a comment anywhere, a later line wins over an earlier one,
//! `extra-X` adds to what `X` has so far (so an `extra-X` before a line `X` is lost), and of several trusted keys with one
//! name only the first counts.

use std::fmt::Write as _;

/// Why an edit was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    /// A key of this name is trusted already, with other key material; Nix would go on using that one.
    #[error("another key named {name} is trusted already ({present})")]
    OtherKeyOfThatName {
        /// The part of the key before the colon.
        name: String,
        /// The key that stands in the file.
        present: String,
    },
}

/// The text of a `nix.conf` with the edits made so far. Lines that no edit touches stay as they are, byte by byte.
#[derive(Debug, Clone)]
pub(crate) struct NixConf {
    lines: Vec<String>,
}

/// One `name = words` line, cut at the places that matter for an edit.
struct Setting<'a> {
    name: &'a str,
    value: &'a str,
    /// Byte offset of the end of the value in the line, before spaces and a comment.
    value_end: usize,
}

impl NixConf {
    /// Takes the file's text; an absent file is an empty text.
    pub(crate) fn parse(text: &str) -> NixConf {
        NixConf {
            lines: text.lines().map(str::to_owned).collect(),
        }
    }

    /// The text to write: every line ends in a line feed.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// Adds a binary cache to `extra-substituters`, unless it is listed already.
    pub(crate) fn add_substituter(&mut self, url: &str) {
        let same = |word: &str| bare_url(word) == bare_url(url);
        self.add_word("substituters", url, same);
    }

    /// Adds a key (`name:base64`) to `extra-trusted-public-keys`, unless it is listed already.
    ///
    /// # Errors
    /// Another key of the same name is listed, and `replace` is not set.
    pub(crate) fn add_trusted_key(&mut self, key: &str, replace: bool) -> Result<(), EditError> {
        let name = key_name(key);
        while let Some((line, present)) = self.other_key(name, key) {
            if !replace {
                return Err(EditError::OtherKeyOfThatName {
                    name: name.to_owned(),
                    present,
                });
            }
            if let Some(text) = self.lines.get_mut(line) {
                *text = replace_word(text, &present, key);
            }
        }
        self.add_word("trusted-public-keys", key, |word| word == key);
        Ok(())
    }

    /// The last value of a setting that is not a list.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.lines
            .iter()
            .rev()
            .filter_map(|line| setting(line))
            .find(|found| found.name == name)
            .map(|found| found.value)
    }

    /// Adds `name = value` at the end.
    pub(crate) fn push(&mut self, name: &str, value: &str) {
        self.lines.push(format!("{name} = {value}"));
    }

    /// Adds a word to the list that `list` and `extra-list` make together, where Nix will count it.
    fn add_word(&mut self, list: &str, word: &str, same: impl Fn(&str) -> bool) {
        let extra = format!("extra-{list}");
        // Only what comes after the last plain line counts: that line starts the list anew.
        let start = self.last_line_of(list).unwrap_or(0);
        let counted = self.lines.iter().skip(start).filter_map(|line| setting(line));
        if counted
            .filter(|found| found.name == list || found.name == extra)
            .any(|found| found.value.split_whitespace().any(&same))
        {
            return;
        }
        let place = self.last_line_of(&extra).filter(|place| *place >= start);
        match place.and_then(|place| self.lines.get_mut(place)) {
            Some(line) => {
                let Some(found) = setting(line) else { return };
                let (gap, end) = (
                    if found.value.is_empty()
                        && line
                            .get(..found.value_end)
                            .is_some_and(|head| head.ends_with(' '))
                    {
                        ""
                    } else {
                        " "
                    },
                    found.value_end,
                );
                line.insert_str(end, &format!("{gap}{word}"));
            }
            None => self.push(&extra, word),
        }
    }

    fn last_line_of(&self, name: &str) -> Option<usize> {
        self.lines
            .iter()
            .rposition(|line| setting(line).is_some_and(|found| found.name == name))
    }

    /// The first listed key of that name which is not `key`: its line and the key.
    fn other_key(&self, name: &str, key: &str) -> Option<(usize, String)> {
        self.lines.iter().enumerate().find_map(|(place, line)| {
            let found = setting(line)
                .filter(|found| matches!(found.name, "trusted-public-keys" | "extra-trusted-public-keys"))?;
            let other = found
                .value
                .split_whitespace()
                .find(|word| key_name(word) == name && *word != key)?;
            Some((place, other.to_owned()))
        })
    }
}

/// The part of a key before the colon.
pub(crate) fn key_name(key: &str) -> &str {
    key.split_once(':').map_or(key, |(name, _)| name)
}

/// `https://h/c/` and `https://h/c?priority=1` are the cache `https://h/c`.
fn bare_url(url: &str) -> &str {
    url.split_once('?')
        .map_or(url, |(head, _)| head)
        .trim_end_matches('/')
}

fn setting(line: &str) -> Option<Setting<'_>> {
    let code = line.split_once('#').map_or(line, |(code, _)| code);
    let (name, value) = code.split_once('=')?;
    let name = name.trim();
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    let trimmed = code.trim_end();
    // `name =` has its value after the equals sign, also when there is none yet.
    let value_end = trimmed.len().max(code.len() - value.len());
    let value_end = if value.trim().is_empty() && value.starts_with(' ') {
        value_end + 1
    } else {
        value_end
    };
    Some(Setting {
        name,
        value: value.trim(),
        value_end,
    })
}

fn replace_word(line: &str, old: &str, new: &str) -> String {
    let (code, comment) = match line.find('#') {
        Some(at) => line.split_at(at),
        None => (line, ""),
    };
    let code: Vec<&str> = code
        .split(' ')
        .map(|word| if word == old { new } else { word })
        .collect();
    format!("{}{comment}", code.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, url: &str, key: &str) -> String {
        let mut conf = NixConf::parse(text);
        conf.add_substituter(url);
        conf.add_trusted_key(key, false)
            .expect("no other key of that name");
        conf.render()
    }

    #[test]
    fn an_empty_file_gets_two_extra_lines() {
        assert_eq!(
            edited("", "http://h/main", "main:AAAA="),
            "extra-substituters = http://h/main\nextra-trusted-public-keys = main:AAAA=\n"
        );
    }

    #[test]
    fn words_are_added_before_a_comment_and_everything_else_stays() {
        let before = "# mine\nmax-jobs = 4\nextra-substituters = https://a.example https://b.example   # friends\n\ninclude extra.conf\nextra-trusted-public-keys = a:AA= b:BB=\n";
        let after = "# mine\nmax-jobs = 4\nextra-substituters = https://a.example https://b.example http://h/main   # friends\n\ninclude extra.conf\nextra-trusted-public-keys = a:AA= b:BB= main:AAAA=\n";
        assert_eq!(edited(before, "http://h/main", "main:AAAA="), after);
    }

    #[test]
    fn doing_it_twice_changes_nothing_more() {
        let once = edited(
            "experimental-features = nix-command\n",
            "http://h/main",
            "main:AAAA=",
        );
        assert_eq!(edited(&once, "http://h/main", "main:AAAA="), once);
        assert_eq!(
            edited(&once, "http://h/main/", "main:AAAA="),
            once,
            "a slash at the end is the same cache"
        );
    }

    #[test]
    fn an_extra_line_that_a_later_plain_line_resets_does_not_count() {
        let before = "extra-substituters = http://h/main\nsubstituters = https://cache.nixos.org\n";
        let after = "extra-substituters = http://h/main\nsubstituters = https://cache.nixos.org\nextra-substituters = http://h/main\n";
        let mut conf = NixConf::parse(before);
        conf.add_substituter("http://h/main");
        assert_eq!(conf.render(), after);
    }

    #[test]
    fn a_cache_in_the_plain_list_is_not_listed_again() {
        let mut conf = NixConf::parse("substituters = http://h/main https://cache.nixos.org\n");
        conf.add_substituter("http://h/main");
        assert_eq!(
            conf.render(),
            "substituters = http://h/main https://cache.nixos.org\n"
        );
    }

    #[test]
    fn a_commented_line_is_not_a_setting() {
        let mut conf = NixConf::parse("# extra-substituters = http://h/main\n");
        conf.add_substituter("http://h/main");
        assert_eq!(
            conf.render(),
            "# extra-substituters = http://h/main\nextra-substituters = http://h/main\n"
        );
    }

    #[test]
    fn an_empty_list_is_filled_without_a_double_space() {
        for before in [
            "extra-substituters =",
            "extra-substituters = ",
            "extra-substituters = # none yet",
        ] {
            let mut conf = NixConf::parse(before);
            conf.add_substituter("http://h/main");
            let after = conf.render();
            assert!(
                after.starts_with("extra-substituters = http://h/main"),
                "{before:?} became {after:?}"
            );
            assert_eq!(after.contains("none yet"), before.contains("none yet"));
        }
    }

    #[test]
    fn another_key_of_the_same_name_is_refused_because_nix_would_use_the_first() {
        let mut conf = NixConf::parse("extra-trusted-public-keys = x:XX= main:OLD= y:YY=\n");
        let refused = conf.add_trusted_key("main:NEW=", false);
        assert_eq!(
            refused,
            Err(EditError::OtherKeyOfThatName {
                name: "main".to_owned(),
                present: "main:OLD=".to_owned()
            })
        );
        conf.add_trusted_key("main:NEW=", true).expect("replaces");
        assert_eq!(
            conf.render(),
            "extra-trusted-public-keys = x:XX= main:NEW= y:YY=\n"
        );
    }

    #[test]
    fn the_last_value_of_a_setting_wins() {
        let conf = NixConf::parse("netrc-file = /a\nnetrc-file = /b # newer\n");
        assert_eq!(conf.value("netrc-file"), Some("/b"));
        assert_eq!(conf.value("max-jobs"), None);
    }
}

#[cfg(test)]
mod properties {
    use proptest::prelude::*;

    use super::*;

    /// The words that Nix would have in a list after reading the file.
    fn effective<'a>(text: &'a str, list: &str) -> Vec<&'a str> {
        let extra = format!("extra-{list}");
        let mut words = Vec::new();
        for found in text.lines().filter_map(setting) {
            if found.name == list {
                words.clear();
            }
            if found.name == list || found.name == extra {
                words.extend(found.value.split_whitespace());
            }
        }
        words
    }

    fn line() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            Just("substituters"),
            Just("extra-substituters"),
            Just("trusted-public-keys"),
            Just("extra-trusted-public-keys"),
            Just("max-jobs"),
            Just("# extra-substituters"),
        ];
        let words = prop::collection::vec("[a-c]{1,2}:[A-C]{1,2}", 0..4);
        let setting = (name, "[ ]{0,2}", "[ ]{0,2}", words, "([ ]{0,2}#[a-z ]{0,5})?").prop_map(
            |(name, before, after, words, comment)| {
                format!("{name}{before}={after}{}{comment}", words.join(" "))
            },
        );
        prop_oneof![4 => setting, 1 => "[ a-z#=!]{0,12}"]
    }

    proptest! {
        #[test]
        fn an_edit_adds_its_words_keeps_all_others_and_touches_no_other_line(lines in prop::collection::vec(line(), 0..8)) {
            let before = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            let mut conf = NixConf::parse(&before);
            conf.add_substituter("http://h/main");
            conf.add_trusted_key("main:KEY=", false).expect("no key of that name is generated");
            let after = conf.render();

            for (list, added) in [("substituters", "http://h/main"), ("trusted-public-keys", "main:KEY=")] {
                let mut expected = effective(&before, list);
                expected.push(added);
                prop_assert_eq!(effective(&after, list), expected, "{} in\n{}", list, after);
            }
            let kept = before.lines().zip(after.lines()).filter(|(old, new)| old == new).count();
            prop_assert!(kept + 2 >= before.lines().count(), "{}", after);
            let comments = |text: &str| text.lines().filter_map(|line| line.split_once('#').map(|(_, comment)| comment.to_owned())).collect::<Vec<_>>();
            prop_assert_eq!(comments(&after), comments(&before));

            conf.add_substituter("http://h/main");
            conf.add_trusted_key("main:KEY=", false).expect("it is there already");
            prop_assert_eq!(conf.render(), after);
        }
    }
}
