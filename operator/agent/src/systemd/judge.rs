//! From what systemd shows to what the agent reports. Pure.

use super::plan::Activity;
use super::shown::Shown;
use crate::death::How;
use crate::driver::Phase;

/// What a service is doing.
pub(super) fn activity(shown: &Shown) -> Activity {
    match (shown.active.as_str(), shown.sub.as_str()) {
        ("activating", "auto-restart" | "auto-restart-queued") => Activity::Waiting,
        ("activating", _) => Activity::Starting,
        ("active" | "reloading" | "refreshing", _) => Activity::Up,
        ("deactivating", _) => Activity::Stopping,
        _ => Activity::Down,
    }
}

/// The same as a phase.
pub(super) fn phase(shown: &Shown) -> Phase {
    let pid = shown.pid.unwrap_or_default();
    match activity(shown) {
        Activity::Down => Phase::Stopped,
        Activity::Waiting => Phase::BackingOff {
            wait: shown.next_wait,
        },
        Activity::Starting => Phase::Starting { pid },
        Activity::Up => Phase::Running { pid },
        Activity::Stopping => Phase::Stopping { pid },
    }
}

/// How its last process ended.
pub(super) fn how(shown: &Shown) -> How {
    match (shown.result.as_str(), shown.exit_code) {
        // systemd's own codes, see "Process Exit Codes" in systemd.exec(5).
        (_, 1) if (200..=245).contains(&shown.exit_status) => How::Unknown(format!(
            "systemd could not start it (code {}; `journalctl` tells more)",
            shown.exit_status
        )),
        ("oom-kill", _) => How::Unknown("killed by the system because memory ran out".to_owned()),
        ("timeout", _) => How::Unknown("it did not get ready in time".to_owned()),
        ("dependency", _) => How::Unknown("something it needs is missing, such as a disk".to_owned()),
        ("exit-code" | "success", 1) => How::Exited(shown.exit_status),
        (_, 2 | 3) => How::Killed(shown.exit_status),
        (result, _) => How::Unknown(format!("systemd says: {result}")),
    }
}

/// How a process ended, by what systemd wrote about it in the journal; `None`: the line says something else.
pub(super) fn ended(line: &str) -> Option<How> {
    let (_, rest) = line.split_once("Main process exited, code=")?;
    let (code, status) = rest.split_once(", status=")?;
    let number = status.split(['/', ' ']).next()?.parse().ok()?;
    match code {
        "exited" => Some(How::Exited(number)),
        "killed" | "dumped" => Some(How::Killed(number)),
        _ => None,
    }
}

/// Counts deaths over starts by hand, at which systemd begins anew.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// What systemd counted last, and what it had counted when it was first looked at.
    seen: Option<(u32, u32)>,
    before: u32,
    total: u32,
    invocation: String,
}

impl Tally {
    /// Takes a look. Gives the life that ended, if one did since the last look.
    pub(super) fn look(&mut self, shown: &Shown) -> Option<String> {
        let waiting = activity(shown) == Activity::Waiting;
        let (last, base) = self.seen.unwrap_or((shown.restarts, shown.restarts));
        let base = if shown.restarts < last {
            self.before += last - base;
            0
        } else {
            base
        };
        self.seen = Some((shown.restarts, base));
        let total = self.before + (shown.restarts - base) + u32::from(waiting);
        let died = (total > self.total).then(|| {
            if waiting {
                shown.invocation.clone()
            } else {
                self.invocation.clone()
            }
        });
        self.total = self.total.max(total);
        self.invocation.clone_from(&shown.invocation);
        died.filter(|invocation| !invocation.is_empty())
    }

    /// How often it died since the first look.
    pub(super) fn deaths(&self) -> u32 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(active: &str, sub: &str, restarts: u32, invocation: &str) -> Shown {
        Shown {
            active: active.to_owned(),
            sub: sub.to_owned(),
            restarts,
            invocation: invocation.to_owned(),
            ..Shown::default()
        }
    }

    #[test]
    fn the_journal_tells_how_a_process_ended_that_runs_again_already() {
        let of = |line: &str| ended(&format!("hayloft-garage.service: {line}"));
        assert_eq!(
            of("Main process exited, code=killed, status=9/KILL"),
            Some(How::Killed(9))
        );
        assert_eq!(
            of("Main process exited, code=dumped, status=6/ABRT"),
            Some(How::Killed(6))
        );
        assert_eq!(
            of("Main process exited, code=exited, status=1/FAILURE"),
            Some(How::Exited(1))
        );
        assert_eq!(of("Scheduled restart job, restart counter is at 1."), None);
    }

    #[test]
    fn a_death_is_counted_once_whether_its_wait_was_seen_or_not() {
        let mut tally = Tally::default();
        assert_eq!(tally.look(&shown("active", "running", 7, "a")), None);
        assert_eq!(tally.deaths(), 0, "deaths before the agent started are not its");
        let waits = shown("activating", "auto-restart", 7, "a");
        assert_eq!(tally.look(&waits).as_deref(), Some("a"));
        assert_eq!(tally.look(&waits), None);
        assert_eq!(tally.look(&shown("active", "running", 8, "b")), None);
        assert_eq!(tally.deaths(), 1);
        assert_eq!(
            tally.look(&shown("active", "running", 9, "c")).as_deref(),
            Some("b")
        );
        assert_eq!(tally.deaths(), 2);
    }

    #[test]
    fn a_start_by_hand_forgets_no_death() {
        let mut tally = Tally::default();
        tally.look(&shown("active", "running", 0, "a"));
        tally.look(&shown("active", "running", 3, "b"));
        tally.look(&shown("active", "running", 0, "c"));
        assert_eq!(tally.deaths(), 3);
        tally.look(&shown("activating", "auto-restart", 0, "c"));
        assert_eq!(tally.deaths(), 4);
    }

    #[test]
    fn ends_are_told_apart() {
        let ended = |result: &str, exit_code, exit_status| {
            how(&Shown {
                result: result.to_owned(),
                exit_code,
                exit_status,
                ..Shown::default()
            })
        };
        assert_eq!(ended("exit-code", 1, 1), How::Exited(1));
        assert_eq!(ended("signal", 2, 9), How::Killed(9));
        assert!(matches!(ended("exit-code", 1, 203), How::Unknown(why) if why.contains("203")));
        assert!(matches!(ended("oom-kill", 2, 9), How::Unknown(why) if why.contains("memory")));
    }
}
