//! What a person reads when the cache is ready.

use std::path::Path;

use super::ready::Ready;
use crate::words;

/// The text, ready to paste from.
pub(crate) fn render(ready: &Ready, dir: &Path, is_default_dir: bool, took: &str) -> String {
    let Ready {
        gateway,
        cache,
        public_key,
        token,
        s3: _,
        hosts,
    } = ready;
    let dir_flag = if is_default_dir {
        String::new()
    } else {
        format!(" --dir {}", quote(&dir.display().to_string()))
    };
    let mut text = format!(
        "\nHayloft is ready ({}, {took}): {gateway}\n",
        words::count(hosts.len(), "host")
    );
    match (cache, public_key) {
        (Some(cache), key) => {
            text.push_str("\nTo pull, in nix.conf (or run `hayloft use ");
            text.push_str(&format!("{cache}{dir_flag} --write`):\n"));
            text.push_str(&format!("  extra-substituters = {gateway}/{cache}\n"));
            if let Some(key) = key {
                text.push_str(&format!("  extra-trusted-public-keys = {key}\n"));
            }
            text.push_str("  fallback = true    # build what cannot be fetched while the cache is away\n");
            text.push_str("\nTo push:\n");
            text.push_str(&format!("  hayloft push{dir_flag} --cache {cache} ./result\n"));
            text.push_str("\nThe same with attic's client:\n");
            text.push_str(&format!("  attic login hayloft {gateway} {token}\n"));
            text.push_str(&format!("  attic push hayloft:{cache} ./result\n"));
        }
        (None, _) => text.push_str(
            "\nThe document declares no cache; make one with attic's client, or add one and apply.\n",
        ),
    }
    text.push_str(&format!("\nToken (may do everything, one year):\n  {token}\n"));
    text.push_str(&format!("\nData and logs are in {}\n", dir.display()));
    text.push_str(&format!(
        "State: hayloft status{dir_flag}    Stop: Ctrl-C (all data stays)\n"
    ));
    text
}

/// A word as a shell takes it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ready::tests::ready;
    use super::*;

    #[test]
    fn what_a_person_reads_when_the_cache_is_ready() {
        insta::assert_snapshot!(render(
            &ready(),
            Path::new("/home/mia/.local/share/hayloft"),
            true,
            "2.9 s"
        ));
    }

    #[test]
    fn another_folder_is_named_in_every_command() {
        insta::assert_snapshot!(render(&ready(), Path::new("/srv/cache"), false, "2.9 s"));
    }

    #[test]
    fn a_folder_with_a_space_can_still_be_pasted() {
        let text = render(&ready(), Path::new("/srv/Mia's cache"), false, "2.9 s");
        assert!(
            text.contains(r"hayloft push --dir '/srv/Mia'\''s cache' --cache"),
            "{text}"
        );
    }

    #[test]
    fn a_document_without_caches_says_what_to_do() {
        let ready = Ready {
            cache: None,
            public_key: None,
            ..ready()
        };
        assert!(render(&ready, Path::new("/srv/cache"), false, "2.9 s").contains("declares no cache"));
    }
}
