//! The documents for users, held to what the program does: its help, and the examples that it must accept.
#![expect(clippy::unwrap_used, reason = "what fails in a test shall fail the test")]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn hayloft(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hayloft"))
        .args(args)
        .env("COLUMNS", "100")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// A section for a command, then one for each of its own commands.
fn describe(command: &[&str], text: &mut String) {
    let output = hayloft(&[command, &["--help"]].concat(), "");
    assert!(output.status.success(), "{command:?} --help failed");
    let help = String::from_utf8(output.stdout).unwrap();
    let name = ["hayloft"].iter().chain(command).copied().collect::<Vec<_>>();
    write!(text, "\n## `{}`\n\n```text\n", name.join(" ")).unwrap();
    for line in help.trim_end().lines() {
        writeln!(text, "{}", line.trim_end()).unwrap();
    }
    text.push_str("```\n");
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next());
    for inner in names.filter(|name| *name != "help") {
        describe(&[command, &[inner]].concat(), text);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test run's own configuration")]
fn the_commands_are_described_as_they_are() {
    let mut text = String::from(
        "# All commands\n\nWhat each says when it is asked with `--help`. A test keeps this page as the program is.\n",
    );
    describe(&[], &mut text);
    let page = docs().join("cli.md");
    if std::env::var_os("HAYLOFT_BLESS").is_some() {
        fs::write(&page, &text).unwrap();
    }
    let written = fs::read_to_string(&page).unwrap_or_default();
    assert!(
        written == text,
        "docs/cli.md is not what the commands say: run this test with HAYLOFT_BLESS=1 and commit the page"
    );
}

/// Replaces what stands between two marks of a page, when pages are renewed; then holds the page to it.
#[expect(clippy::disallowed_methods, reason = "the test run's own configuration")]
fn hold_part(page: &str, mark: &str, wanted: &str) {
    let path = docs().join(page);
    let text = fs::read_to_string(&path).unwrap();
    let (begin, end) = (
        format!("<!-- {mark}: begin -->\n"),
        format!("<!-- {mark}: end -->"),
    );
    let (before, rest) = text.split_once(&begin).unwrap();
    let (found, after) = rest.split_once(&end).unwrap();
    if std::env::var_os("HAYLOFT_BLESS").is_some() {
        if found != wanted {
            fs::write(&path, [before, &begin, wanted, &end, after].concat()).unwrap();
        }
        return;
    }
    assert!(
        found == wanted,
        "docs/{page} is not what the program says: run this test with HAYLOFT_BLESS=1 and commit the page"
    );
}

#[test]
fn every_condition_is_described_as_it_is() {
    use hayloft_api::status::{ConditionType, Reason};
    let mut text = String::from("\n| condition | holds when | when it does not |\n|---|---|---|\n");
    for kind in ConditionType::ALL {
        writeln!(text, "| `{kind:?}` | {} | {} |", kind.meaning(), kind.remedy()).unwrap();
    }
    text.push_str("\n| reason | means |\n|---|---|\n");
    for reason in Reason::ALL {
        writeln!(text, "| `{reason:?}` | {} |", reason.meaning()).unwrap();
    }
    text.push('\n');
    hold_part("rebalancing.md", "conditions", &text);
}

/// The blocks of a page in that language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(docs().join(page)).unwrap();
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("```") {
            let block: Vec<&str> = lines
                .by_ref()
                .take_while(|line| !line.trim_start().starts_with("```"))
                .collect();
            if line.trim_start().trim_start_matches('`') == language {
                found.push(block.join("\n"));
            }
        }
    }
    found
}

#[test]
fn the_example_documents_are_sound() {
    let examples = blocks("document.md", "yaml");
    assert_eq!(examples.len(), 2, "a long one and a short one");
    for example in examples {
        let output = hayloft(&["check", "-f", "-"], &example);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}\n{example}");
    }
}

#[test]
fn the_example_configuration_of_a_gateway_is_good() {
    let temp = tempfile::tempdir().unwrap();
    let example = blocks("gateway.md", "yaml").concat();
    let dir = temp.path().to_str().unwrap();
    let config = example.replace("/etc/hayloft", dir);
    assert_ne!(config, example, "the example names its files in /etc/hayloft");
    for (name, text) in [
        (
            "cluster.key",
            "hlk1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n",
        ),
        ("token-hs256", "c2VjcmV0\n"),
        ("s3-secret", "secret\n"),
        ("gateway.yaml", &config),
    ] {
        fs::write(temp.path().join(name), text).unwrap();
    }
    let config = temp.path().join("gateway.yaml");
    let output = hayloft(
        &["gateway", "check-config", "--config", config.to_str().unwrap()],
        "",
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
}

#[test]
fn links_between_pages_lead_somewhere() {
    for page in fs::read_dir(docs()).unwrap() {
        let page = page.unwrap().path();
        if page.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&page).unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
            .filter(|link| !link.contains("://") && !link.contains(char::is_whitespace))
        {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                docs().join(file)
            };
            let there = fs::read_to_string(&target)
                .unwrap_or_else(|error| panic!("{} leads to {link}: {error}", page.display()));
            let known = heading.is_empty() || headings(&there).any(|known| known == heading);
            assert!(
                known,
                "{} leads to {link}, which has no such heading",
                page.display()
            );
        }
    }
}

/// The headings of a page as links name them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let plain = line.trim_start_matches('#').trim().to_lowercase();
        plain
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    })
}

/// All Rust source below a folder, put together.
fn source(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let page = fs::read_to_string(docs().join("threat-model.md")).unwrap();
    let mut text = String::new();
    for part in ["operator", "gateway", "tests"] {
        source(&docs().join("..").join(part), &mut text);
    }
    let quoted = page.split('`').skip(1).step_by(2);
    let names: Vec<&str> = quoted.filter(|name| name.matches('_').count() > 2).collect();
    let missing: Vec<&&str> = names
        .iter()
        .filter(|name| !text.contains(&format!("fn {name}(")))
        .collect();
    assert!(names.len() > 30, "{names:?}");
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}
