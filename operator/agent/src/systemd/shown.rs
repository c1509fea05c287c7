//! What `systemctl show` says, as values.

use std::collections::BTreeMap;
use std::time::Duration;

/// What is asked of each service.
pub(super) const PROPERTIES: &str = "Id,ActiveState,SubState,Result,MainPID,NRestarts,ExecMainCode,ExecMainStatus,InvocationID,\
NeedDaemonReload,RestartUSecNext,UnitFileState";

/// One service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) active: String,
    pub(super) sub: String,
    pub(super) result: String,
    pub(super) pid: Option<u32>,
    pub(super) restarts: u32,
    /// 1: it exited; 2 and 3: a signal ended it. See waitid(2).
    pub(super) exit_code: i32,
    pub(super) exit_status: i32,
    /// One life of the service.
    pub(super) invocation: String,
    pub(super) stale: bool,
    pub(super) next_wait: Duration,
    pub(super) enabled: bool,
}

/// Reads the answer: blocks of `Name=value`, parted by empty lines, one for each service.
pub(super) fn parse(text: &str) -> BTreeMap<String, Shown> {
    let mut all = BTreeMap::new();
    for block in text.split("\n\n") {
        let mut shown = Shown::default();
        let mut id = None;
        for (key, value) in block.lines().filter_map(|line| line.split_once('=')) {
            match key {
                "Id" => id = Some(value.to_owned()),
                "ActiveState" => shown.active = value.to_owned(),
                "SubState" => shown.sub = value.to_owned(),
                "Result" => shown.result = value.to_owned(),
                "MainPID" => shown.pid = value.parse().ok().filter(|pid| *pid != 0),
                "NRestarts" => shown.restarts = value.parse().unwrap_or(0),
                "ExecMainCode" => shown.exit_code = value.parse().unwrap_or(0),
                "ExecMainStatus" => shown.exit_status = value.parse().unwrap_or(0),
                "InvocationID" => shown.invocation = value.to_owned(),
                "NeedDaemonReload" => shown.stale = value == "yes",
                "RestartUSecNext" => shown.next_wait = timespan(value),
                "UnitFileState" => shown.enabled = value.starts_with("enabled"),
                _ => {}
            }
        }
        if let Some(id) = id {
            all.insert(id, shown);
        }
    }
    all
}

/// A time span as systemd writes it, such as `1min 2.5s`; what cannot be read counts as nothing.
fn timespan(text: &str) -> Duration {
    let mut total = Duration::ZERO;
    for word in text.split_whitespace() {
        let digits = word
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(word.len());
        let (number, unit) = word.split_at(digits);
        let seconds = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "min" => 60.0,
            "h" => 3600.0,
            _ => continue,
        };
        let part = number.parse::<f64>().unwrap_or(0.0) * seconds;
        total = total.saturating_add(Duration::try_from_secs_f64(part).unwrap_or_default());
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_for_two_services_is_read() {
        let text = "Id=hayloft-garage.service\nActiveState=activating\nSubState=auto-restart\nResult=exit-code\nMainPID=0\n\
                    NRestarts=4\nExecMainCode=1\nExecMainStatus=101\nInvocationID=ab\nNeedDaemonReload=no\n\
                    RestartUSecNext=2.297s\nUnitFileState=enabled\n\nMainPID=17\nId=hayloft-gateway.service\n\
                    ActiveState=active\nNeedDaemonReload=yes\nUnitFileState=\n";
        let all = parse(text);
        let garage = &all["hayloft-garage.service"];
        assert_eq!((garage.pid, garage.restarts, garage.exit_status), (None, 4, 101));
        assert_eq!(garage.next_wait, Duration::from_millis(2297));
        assert!(garage.enabled && !garage.stale);
        let gateway = &all["hayloft-gateway.service"];
        assert_eq!(gateway.pid, Some(17));
        assert!(!gateway.enabled && gateway.stale);
    }

    #[test]
    fn time_spans_are_read() {
        assert_eq!(timespan("1min 2s 500ms"), Duration::from_millis(62_500));
        assert_eq!(timespan("infinity"), Duration::ZERO);
        assert_eq!(timespan("30s"), Duration::from_secs(30));
    }
}
