//! What is to be done so that systemd runs a unit as it shall: a function of what shall be and what is seen.

use super::render::Rendered;

/// What systemd says that a service is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Nothing, and it is not about to.
    Down,
    /// It died, and systemd will start it again after a while.
    Waiting,
    /// It was started and has not yet said that it serves.
    Starting,
    /// It runs.
    Up,
    /// It is being stopped.
    Stopping,
}

/// What is seen of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The service's file.
    pub service: Option<String>,
    /// The socket's file.
    pub socket: Option<String>,
    /// systemd has read other files than there are now.
    pub stale: bool,
    /// It is started at boot.
    pub enabled: bool,
    /// What it is doing.
    pub activity: Activity,
    /// What its process was started with, if there is one that tells.
    pub runs_as: Option<String>,
    /// What of its files its process has surely read; nothing, when that is not known.
    pub read: Option<String>,
}

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Write the service's file.
    WriteService,
    /// Write the socket's file.
    WriteSocket,
    /// Remove the socket's file, its socket closed before.
    RemoveSocket,
    /// Have systemd read its files.
    Reload,
    /// Have it started at boot.
    Enable,
    /// Close the socket, which stops the service too.
    CloseSocket,
    /// Start the service.
    Start,
    /// Stop the service, if it runs, and start it.
    Restart,
    /// Have the process read its files anew.
    HangUp,
}

/// The steps, in order; none when all is as it shall be.
#[must_use]
pub fn steps(wanted: &Rendered, seen: &Seen) -> Vec<Step> {
    let mut steps = Vec::new();
    let other_socket = seen.socket != wanted.socket;
    let other_service = seen.service.as_ref() != Some(&wanted.service);
    if other_socket && seen.socket.is_some() {
        steps.push(Step::CloseSocket);
    }
    if other_service {
        steps.push(Step::WriteService);
    }
    if other_socket {
        steps.push(match wanted.socket {
            Some(_) => Step::WriteSocket,
            None => Step::RemoveSocket,
        });
    }
    if other_service || other_socket || seen.stale {
        steps.push(Step::Reload);
    }
    if !seen.enabled || (other_socket && wanted.socket.is_some()) {
        steps.push(Step::Enable);
    }
    if other_socket && seen.socket.is_some() {
        steps.push(Step::Start);
        return steps;
    }
    match seen.activity {
        Activity::Down => steps.push(Step::Start),
        // What changed may be the remedy.
        Activity::Waiting if other_service => steps.push(Step::Restart),
        Activity::Waiting | Activity::Stopping => {}
        Activity::Starting | Activity::Up => {
            let other = seen
                .runs_as
                .as_ref()
                .is_some_and(|runs| *runs != wanted.fingerprint);
            let unread = wanted.live.is_some() && seen.read != wanted.live;
            match seen.activity {
                _ if other_socket || other => steps.push(Step::Restart),
                Activity::Up if unread => steps.push(Step::HangUp),
                // It may wait for ever for what its files no longer say, and serves nobody yet.
                Activity::Starting if unread && seen.read.is_some() => steps.push(Step::Restart),
                _ => {}
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::UnitName;

    fn wanted() -> Rendered {
        Rendered {
            name: UnitName::Gateway,
            service: "service".to_owned(),
            socket: Some("socket".to_owned()),
            fingerprint: "f1".to_owned(),
            live: Some("l1".to_owned()),
            folders: Vec::new(),
        }
    }

    fn as_wanted() -> Seen {
        Seen {
            service: Some("service".to_owned()),
            socket: Some("socket".to_owned()),
            stale: false,
            enabled: true,
            activity: Activity::Up,
            runs_as: Some("f1".to_owned()),
            read: Some("l1".to_owned()),
        }
    }

    #[test]
    fn a_unit_that_runs_as_it_shall_is_left_alone() {
        assert_eq!(steps(&wanted(), &as_wanted()), []);
    }

    #[test]
    fn on_a_fresh_host_all_is_laid_down_and_started() {
        let fresh = Seen {
            service: None,
            socket: None,
            stale: false,
            enabled: false,
            activity: Activity::Down,
            runs_as: None,
            read: None,
        };
        let expected = [
            Step::WriteService,
            Step::WriteSocket,
            Step::Reload,
            Step::Enable,
            Step::Start,
        ];
        assert_eq!(steps(&wanted(), &fresh), expected);
    }

    #[test]
    fn another_sandbox_is_written_and_holds_from_the_next_start_on() {
        let seen = Seen {
            service: Some("a former agent's".to_owned()),
            ..as_wanted()
        };
        assert_eq!(steps(&wanted(), &seen), [Step::WriteService, Step::Reload]);
    }

    #[test]
    fn another_start_is_a_restart_once() {
        let seen = Seen {
            service: Some("other".to_owned()),
            runs_as: Some("f0".to_owned()),
            ..as_wanted()
        };
        let expected = [Step::WriteService, Step::Reload, Step::Restart];
        assert_eq!(steps(&wanted(), &seen), expected);
        // Cut off after the file was written: the process still tells that it is another one.
        let cut_off = Seen {
            runs_as: Some("f0".to_owned()),
            ..as_wanted()
        };
        assert_eq!(steps(&wanted(), &cut_off), [Step::Restart]);
        assert_eq!(steps(&wanted(), &as_wanted()), []);
    }

    #[test]
    fn a_process_that_is_about_to_start_or_to_stop_is_waited_for() {
        for activity in [Activity::Starting, Activity::Stopping, Activity::Waiting] {
            let seen = Seen {
                activity,
                runs_as: None,
                read: None,
                ..as_wanted()
            };
            assert_eq!(steps(&wanted(), &seen), [], "{activity:?}");
        }
    }

    #[test]
    fn a_remedy_ends_the_wait_of_a_unit_that_died() {
        let seen = Seen {
            service: Some("other".to_owned()),
            activity: Activity::Waiting,
            runs_as: None,
            ..as_wanted()
        };
        assert!(steps(&wanted(), &seen).ends_with(&[Step::Restart]));
    }

    #[test]
    fn files_that_were_not_read_are_read_anew_by_a_running_unit_and_by_no_other() {
        let unread = Seen {
            read: None,
            ..as_wanted()
        };
        assert_eq!(steps(&wanted(), &unread), [Step::HangUp]);
        let starting = Seen {
            activity: Activity::Starting,
            ..unread.clone()
        };
        assert_eq!(steps(&wanted(), &starting), []);
        let with_former_files = Seen {
            read: Some("l0".to_owned()),
            ..starting
        };
        assert_eq!(steps(&wanted(), &with_former_files), [Step::Restart]);
        let rereads_nothing = Rendered {
            live: None,
            ..wanted()
        };
        assert_eq!(steps(&rereads_nothing, &unread), []);
    }

    #[test]
    fn another_address_closes_the_old_socket_before_the_new_one_opens() {
        let seen = Seen {
            service: Some("other".to_owned()),
            socket: Some("other".to_owned()),
            runs_as: Some("f0".to_owned()),
            ..as_wanted()
        };
        let expected = [
            Step::CloseSocket,
            Step::WriteService,
            Step::WriteSocket,
            Step::Reload,
            Step::Enable,
            Step::Start,
        ];
        assert_eq!(steps(&wanted(), &seen), expected);
    }
}
