//! What a request would do or did, as a person reads it.

use jiff::Timestamp;

use crate::context::Context;
use crate::control::Outcome;
use crate::preview;

/// Shows what a request would do.
pub(crate) fn show(context: &Context, outcome: &Outcome) {
    for notice in &outcome.notices {
        context.note(notice);
    }
    context.say(&render(outcome));
}

/// That a document is one that was replaced before.
pub(crate) fn older(replaced: Timestamp) -> String {
    format!(
        "This document was in force before, and was replaced at {}.",
        replaced.strftime("%Y-%m-%d %H:%M:%SZ")
    )
}

/// Tells that it is done, where what it does was shown before.
pub(crate) fn tell_end(context: &Context, outcome: &Outcome) {
    for notice in &outcome.notices {
        context.note(notice);
    }
    context.say(closing(outcome));
}

/// The whole text, without a line break at its end.
fn render(outcome: &Outcome) -> String {
    let Outcome {
        changes,
        steps,
        waiting,
        notices: _,
        consequences,
        preview,
        unseen,
        replaced,
        applied: _,
    } = outcome;
    let mut lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
    if let Some(replaced) = replaced {
        lines.push(format!(
            "! {} Only `hayloft apply --older` follows it again.",
            older(*replaced)
        ));
    }
    lines.extend(consequences.iter().map(|sentence| format!("! {sentence}")));
    for (title, what) in [("To be done now:", steps), ("To be done later:", waiting)] {
        if !what.is_empty() {
            lines.push(title.to_owned());
            lines.extend(what.iter().map(|line| format!("  {line}")));
        }
    }
    if let Some(preview) = preview {
        lines.extend(preview::lines(preview));
    }
    if let Some(why) = unseen {
        lines.push(format!("What would move cannot be said now: {why}"));
    }
    lines.push(closing(outcome).to_owned());
    lines.join("\n")
}

fn closing(outcome: &Outcome) -> &'static str {
    match (outcome.applied, outcome.changes.is_empty()) {
        (true, _) => "Applied; `hayloft status --watch` shows how it goes.",
        (false, false) => "Nothing was changed yet.",
        (false, true) if !outcome.consequences.is_empty() => "Nothing was done yet.",
        (false, true) if outcome.is_something() => {
            "The document says this already; it is being brought about."
        }
        (false, true) => "Nothing changes.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::Change;

    #[test]
    fn a_change_is_shown_with_its_steps_and_what_waits() {
        let outcome = Outcome {
            changes: vec![Change {
                path: "spec.hosts[host-4].state".into(),
                from: None,
                to: Some("drained".into()),
            }],
            steps: vec!["change the layout: host-4 leaves".into()],
            waiting: vec!["stop host-4: waits for its blocks to lie elsewhere".into()],
            ..Outcome::default()
        };
        insta::assert_snapshot!(render(&outcome));
    }

    #[test]
    fn an_older_document_is_shown_as_one() {
        let outcome = Outcome {
            changes: vec![Change {
                path: "spec.hosts[host-4].state".into(),
                from: Some("drained".into()),
                to: None,
            }],
            replaced: Some("2026-03-04T05:06:07Z".parse().unwrap()),
            ..Outcome::default()
        };
        insta::assert_snapshot!(render(&outcome));
    }

    #[test]
    fn the_last_line_says_where_things_stand() {
        let nothing = Outcome::default();
        assert_eq!(render(&nothing), "Nothing changes.");
        let under_way = Outcome {
            steps: vec!["a step".into()],
            ..Outcome::default()
        };
        assert!(render(&under_way).ends_with("it is being brought about."));
        let applied = Outcome {
            applied: true,
            ..Outcome::default()
        };
        assert!(render(&applied).starts_with("Applied"));
    }
}
