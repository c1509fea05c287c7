//! The unit files of our own daemons, as values. Those of what an agent runs are the agent's: see `hayloft_agent::systemd`.

use std::path::{Path, PathBuf};

/// Which daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Daemon {
    Agent,
    Coordinator,
}

impl Daemon {
    /// The name of its service, without `.service`.
    pub(crate) fn service(self) -> &'static str {
        match self {
            Self::Agent => "hayloft-agent",
            Self::Coordinator => "hayloft-coordinator",
        }
    }

    /// Where it keeps what it knows.
    pub(crate) fn usual_dir(self) -> PathBuf {
        match self {
            Self::Agent => "/var/lib/hayloft/agent".into(),
            Self::Coordinator => "/var/lib/hayloft/coordinator".into(),
        }
    }

    /// The users it needs, for systemd-sysusers(8).
    pub(super) fn users(self) -> &'static str {
        match self {
            Self::Agent => {
                "u hayloft-garage - \"Garage, as a host of Hayloft\"\nu hayloft-gateway - \"Hayloft's gateway\"\n"
            }
            Self::Coordinator => "u hayloft-coordinator - \"Hayloft's coordinator\"\n",
        }
    }

    /// What is in its folder once it can start.
    pub(super) fn condition(self, dir: &Path) -> PathBuf {
        match self {
            Self::Agent => dir.join("agent.json"),
            Self::Coordinator => dir.join("."),
        }
    }
}

/// What holds for both: neither gains rights, neither touches the kernel, devices or other people's folders.
const SANDBOX: &str = "\
NoNewPrivileges=yes
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077
";

/// The agent's service. It is root's: it writes units, gives folders to their users and tells systemd; of root's powers it keeps
/// those that this takes.
pub(super) fn agent(program: &Path, garage: &Path, dir: &Path) -> String {
    let named = if dir == Daemon::Agent.usual_dir() {
        String::new()
    } else {
        format!(" --dir {}", dir.display())
    };
    format!(
        "[Unit]\n\
         Description=Hayloft's agent on this host\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         # Until the host has joined, there is nothing to do.\n\
         ConditionPathExists={condition}\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={program} agent run{named}\n\
         Environment=HAYLOFT_GARAGE={garage}\n\
         Restart=always\n\
         RestartSec=1s\n\
         RestartSteps=5\n\
         RestartMaxDelaySec=30s\n\
         # Garage and the gateway are services of their own: they go on while this one stops and starts.\n\
         TimeoutStopSec=30s\n\
         LimitNOFILE=65536\n\
         CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_SYS_PTRACE\n\
         # /etc and /usr are closed except where units are written; data may lie on any disk.\n\
         ProtectSystem=full\n\
         ReadWritePaths=-/etc/systemd/system\n\
         {SANDBOX}\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        condition = Daemon::Agent.condition(dir).display(),
        program = program.display(),
        garage = garage.display(),
    )
}

/// The coordinator's service, as a user of its own with one folder.
pub(super) fn coordinator(program: &Path) -> String {
    format!(
        "[Unit]\n\
         Description=Hayloft's coordinator\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         # Until `hayloft coordinator init` there is nothing to do.\n\
         ConditionDirectoryNotEmpty={dir}\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={program} coordinator run --dir {dir}\n\
         User=hayloft-coordinator\n\
         Group=hayloft-coordinator\n\
         # systemd gives it to the user, with all that `init` wrote there as root.\n\
         StateDirectory=hayloft/coordinator\n\
         StateDirectoryMode=0700\n\
         RuntimeDirectory=hayloft-coordinator\n\
         RuntimeDirectoryMode=0700\n\
         WorkingDirectory={dir}\n\
         Restart=always\n\
         RestartSec=1s\n\
         RestartSteps=5\n\
         RestartMaxDelaySec=30s\n\
         LimitNOFILE=65536\n\
         CapabilityBoundingSet=\n\
         ProtectSystem=strict\n\
         ProtectProc=invisible\n\
         ProcSubset=pid\n\
         RemoveIPC=yes\n\
         {SANDBOX}\
         SystemCallFilter=~@privileged\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        dir = Daemon::Coordinator.usual_dir().display(),
        program = program.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "/usr/local/bin/hayloft";
    const GARAGE: &str = "/usr/local/lib/hayloft/garage-2.5.0/garage";

    #[test]
    fn the_units_of_the_daemons() {
        let dir = Daemon::Agent.usual_dir();
        insta::assert_snapshot!("agent", agent(PROGRAM.as_ref(), GARAGE.as_ref(), &dir));
        insta::assert_snapshot!("coordinator", coordinator(PROGRAM.as_ref()));
    }

    #[test]
    fn another_folder_is_named_to_the_agent() {
        let text = agent(PROGRAM.as_ref(), GARAGE.as_ref(), "/srv/hayloft".as_ref());
        assert!(text.contains("agent run --dir /srv/hayloft\n"), "{text}");
        assert!(
            text.contains("ConditionPathExists=/srv/hayloft/agent.json\n"),
            "{text}"
        );
    }
}
