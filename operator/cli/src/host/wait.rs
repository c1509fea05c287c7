//! `--wait`: until what was asked for has come about, and how it goes until then.

use std::time::{Duration, Instant};

use hayloft_api::HostName;
use hayloft_api::status::{ConditionType, HostStatus, Status};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use crate::context::Context;
use crate::control::HostAction;
use crate::control::client::{Control, ControlError};
use crate::signals;
use crate::status::news::Shown;
use crate::status::{moves, table};

/// It looks so often.
const EVERY: Duration = Duration::from_secs(1);

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The document holds, and all data lies where it shall.
    Converged,
    /// The host holds nothing any more.
    Empty(HostName),
    /// The host is not known any more.
    Gone(HostName),
    /// The host holds what it shall.
    Whole(HostName),
    /// The same, and it is proven.
    Mended(HostName),
    /// The layout can be written by.
    Settled,
}

impl Goal {
    /// What an action leads to.
    pub(crate) fn of(action: &HostAction) -> Self {
        match action {
            HostAction::Drain { host } => Self::Empty(host.clone()),
            HostAction::TakeBack { host } | HostAction::Readmit { host } => Self::Whole(host.clone()),
            HostAction::NewDisk { host } | HostAction::RestoreMetadata { host, .. } => {
                Self::Mended(host.clone())
            }
            HostAction::Remove { host } | HostAction::Leave { host } => Self::Gone(host.clone()),
            HostAction::Evict { .. } | HostAction::Away { .. } => Self::Converged,
            HostAction::AllowMissingData { .. } => Self::Settled,
        }
    }

    /// Whether it is reached, by a state that was observed after it was asked for.
    fn is_reached(&self, status: &Status) -> bool {
        let holds = |kind| status.condition(kind).is_some_and(|condition| condition.status);
        // That nothing moves is not enough: data must be proven to lie where it shall.
        let at_rest = status.moves.is_empty()
            && holds(ConditionType::LayoutSettled)
            && holds(ConditionType::Placed)
            && holds(ConditionType::Emptied);
        let host = |name: &HostName| status.hosts.iter().find(|host| host.name == *name);
        let holds_nothing =
            |host: &HostStatus| !host.in_layout && host.watch.blocks.is_none_or(|blocks| blocks == 0);
        match self {
            Self::Converged => at_rest && holds(ConditionType::Converged),
            Self::Empty(name) => at_rest && host(name).is_none_or(holds_nothing),
            Self::Gone(name) => at_rest && host(name).is_none(),
            Self::Whole(name) => at_rest && host(name).is_some_and(|host| host.in_layout && host.up),
            Self::Mended(name) => {
                at_rest
                    && holds(ConditionType::DisksSound)
                    && host(name).is_some_and(|host| host.in_layout && host.up)
            }
            Self::Settled => holds(ConditionType::LayoutSettled),
        }
    }
}

/// Somebody interrupted the waiting.
#[derive(Debug, thiserror::Error)]
#[error("no longer waited for; what was asked for goes on, `hayloft status --watch` shows how")]
pub(crate) struct Interrupted;

/// Waits for the goal, by states observed after `since`.
pub(crate) async fn until(
    context: &Context,
    control: &Control,
    goal: &Goal,
    since: Timestamp,
) -> anyhow::Result<()> {
    let mut interrupts = signals::interrupts()?;
    let mut screen = Screen::new(context);
    loop {
        let status = match control.status().await {
            Ok(status) => status,
            // It may be busy for a moment; one that is gone is an end.
            Err(ControlError::Refused(_)) => {
                tokio::time::sleep(EVERY).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if status.observed_at > since && goal.is_reached(&status) {
            screen.finish();
            context.say("Done.");
            return Ok(());
        }
        screen.show(context, &now(&status));
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = interrupts.next() => {
                screen.finish();
                return Err(Interrupted.into());
            }
        }
    }
}

/// What happens now, in lines.
fn now(status: &Status) -> Vec<String> {
    let mut lines = moves::lines(&status.moves);
    lines.extend(table::troubles(status));
    if lines.is_empty() {
        lines.push("Planning".to_owned());
    }
    lines
}

/// On a terminal lines that are drawn over, elsewhere what is new of them.
struct Screen {
    bar: Option<ProgressBar>,
    shown: Shown,
}

impl Screen {
    fn new(context: &Context) -> Self {
        let bar = context.terminal.stderr.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self {
            bar,
            shown: Shown::default(),
        }
    }

    fn show(&mut self, context: &Context, lines: &[String]) {
        match &self.bar {
            Some(bar) => bar.set_message(lines.join("\n  ")),
            None => {
                let news = self.shown.news(lines.iter().map(String::as_str), Instant::now());
                news.iter().for_each(|line| context.note(line));
            }
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::moves::tests::join;
    use crate::status::table::tests::status;

    fn settled(mut status: Status, holds: bool) -> Status {
        for kind in [
            ConditionType::LayoutSettled,
            ConditionType::Placed,
            ConditionType::Emptied,
        ] {
            status.conditions.push(hayloft_api::status::Condition {
                kind,
                status: holds,
                reason: hayloft_api::status::Reason::AsDeclared,
                message: String::new(),
                since: status.observed_at,
            });
        }
        status
    }

    #[test]
    fn a_drained_host_is_waited_for_until_its_own_disk_is_empty() {
        let name: HostName = "host-3".parse().unwrap();
        let goal = Goal::of(&HostAction::Drain { host: name.clone() });
        let mut now = settled(status(), true);
        assert!(!goal.is_reached(&now), "it has a role");
        now.hosts[2].in_layout = false;
        now.moves.push(join());
        assert!(!goal.is_reached(&now), "data moves");
        now.moves.clear();
        now.hosts[2].watch.blocks = Some(4);
        assert!(!goal.is_reached(&now), "blocks lie there");
        now.hosts[2].watch.blocks = Some(0);
        assert!(goal.is_reached(&now));
        let gone = Goal::of(&HostAction::Remove { host: name });
        assert!(!gone.is_reached(&now), "it is still known");
        now.hosts.pop();
        assert!(gone.is_reached(&now));
    }

    #[test]
    fn nothing_is_reached_while_the_layout_is_not_settled() {
        let now = settled(status(), false);
        for goal in [
            Goal::Converged,
            Goal::Settled,
            Goal::Gone("host-9".parse().unwrap()),
        ] {
            assert!(!goal.is_reached(&now), "{goal:?}");
        }
    }
}
