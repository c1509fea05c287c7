//! All conditions and reasons, what each means, and what a person does about it. The page for operators is made from this.

use super::{ConditionType, Reason};

impl ConditionType {
    /// All of them, in the order of declaration.
    pub const ALL: [Self; 26] = [
        Self::Serving,
        Self::Converged,
        Self::HostsUp,
        Self::LayoutSettled,
        Self::StagingClean,
        Self::Observed,
        Self::Acting,
        Self::Leading,
        Self::Agreed,
        Self::Placed,
        Self::Emptied,
        Self::Fits,
        Self::PledgesKept,
        Self::Redundant,
        Self::OwnersApart,
        Self::NobodyMissed,
        Self::DisksSound,
        Self::ClocksAgree,
        Self::GarageFit,
        Self::Admitted,
        Self::SecretsKept,
        Self::Upkept,
        Self::AccessSound,
        Self::KeysKnown,
        Self::DocumentCurrent,
        Self::Reached,
    ];

    /// What holds when it is true.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Serving => "clients can push and pull",
            Self::Converged => "all is as the document declares",
            Self::HostsUp => "all hosts report, and all members reach each other",
            Self::LayoutSettled => "metadata is synced to the current layout; it says nothing about blocks",
            Self::StagingClean => "nobody else has staged a layout change",
            Self::Observed => "the last look at the cluster succeeded",
            Self::Acting => "the last steps succeeded, and no plan broke a rule",
            Self::Leading => "this coordinator leads, and no other does",
            Self::Agreed => "all members have the same layout",
            Self::Placed => "every block lies where the layouts want it, which was proven",
            Self::Emptied => "every host that left holds no block any more, by its own disk",
            Self::Fits => "what is to move fits the disks, with the reserve left free",
            Self::PledgesKept => "every disk has room for what its host pledges",
            Self::Redundant => "there are as many copies, in as many zones, as are declared",
            Self::OwnersApart => "no owner alone could make data unwritable, or holds all copies of any",
            Self::NobodyMissed => "nobody is away for so long that somebody must decide",
            Self::DisksSound => "data disks and metadata are as they should be",
            Self::ClocksAgree => "the clocks of all hosts agree",
            Self::GarageFit => "every host's Garage may be used",
            Self::Admitted => "every declared host that is there is let in",
            Self::SecretsKept => "nobody who was put out knows secrets that are in use",
            Self::Upkept => "repairs, scrubs and snapshots are done in time",
            Self::AccessSound => "bucket, key and tokens are as they should be",
            Self::KeysKnown => "no access key but Hayloft's own may use the bucket",
            Self::DocumentCurrent => "the document in force is the newest one",
            Self::Reached => "every host reaches every other one's ports",
        }
    }

    /// What a person does when it is false.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Serving => {
                "start the hosts that are down; the message says whether it is the gateway or the quorum"
            }
            Self::Converged => {
                "usually nothing: it is being brought about, or `waiting` says what it waits for"
            }
            Self::HostsUp => "start what is down, or look at its log, which the message names",
            Self::LayoutSettled => {
                "nothing for some seconds; if it lasts, a member is down: start it, or remove or evict it"
            }
            Self::StagingClean => {
                "apply or revert what was staged by hand (`garage layout show`); Hayloft never applies what it did not stage"
            }
            Self::Observed => "start a host; while none answers, nothing is changed",
            Self::Acting => {
                "read the message; a step is tried again by itself, a plan that breaks a rule is a bug worth reporting"
            }
            Self::Leading => "stop the other coordinator, or this one; only the one that hosts follow acts",
            Self::Agreed => {
                "nothing: a split history is healed by the next version, a member that is behind catches up; if it lasts, restart that member"
            }
            Self::Placed => {
                "nothing while data moves; if blocks stay missing, start the hosts that held them, or push their paths again"
            }
            Self::Emptied => {
                "nothing: Garage keeps blocks for 610 s after a layout change. Do not stop the host"
            }
            Self::Fits => "lower the pledge of the host that is named, give it a larger disk, or add hosts",
            Self::PledgesKept => {
                "make room on the disk of the host that is named, or lower its pledge to what the message says"
            }
            Self::Redundant => {
                "add hosts, in further zones if the message says so, or lower `zoneRedundancy`, which is consent"
            }
            Self::OwnersApart => "put the hosts of each owner into one zone, or raise `zoneRedundancy`",
            Self::NobodyMissed => {
                "start the host, announce its absence (`away.until`), or put it out with `hayloft host evict`"
            }
            Self::DisksSound => {
                "mount the disk; if it was replaced, `hayloft host new-disk NAME`; restore rolled-back metadata, or evict the host"
            }
            Self::ClocksAgree => "set the clock of the host that is named, and keep it set (NTP)",
            Self::GarageFit => "install a Garage that fits; the message names the versions",
            Self::Admitted => "change `admission`, or the pledge or zone of the host that is named",
            Self::SecretsKept => "start the hosts that do not have the new secrets yet, or remove them",
            Self::Upkept => "nothing: it is done when it is due, within `rebalance.windows`",
            Self::AccessSound => "nothing: it is mended, and the event says what somebody else had changed",
            Self::KeysKnown => {
                "look at each key that is named with `garage key info ID`, and delete it with `garage key delete ID` unless you made it and need it"
            }
            Self::Reached => {
                "open the port that is named in the firewall or router of the host that is not reached, or mend the route to it"
            }
            Self::DocumentCurrent => "apply the document that shall hold once more, to confirm it",
        }
    }
}

impl Reason {
    /// All of them, in the order of declaration.
    pub const ALL: [Self; 43] = [
        Self::AsDeclared,
        Self::InProgress,
        Self::Waiting,
        Self::HostDown,
        Self::UnitFailing,
        Self::GatewayDown,
        Self::NoLayout,
        Self::Syncing,
        Self::ForeignStaging,
        Self::PlanRefused,
        Self::Unreachable,
        Self::StepFailed,
        Self::QuorumLost,
        Self::Unpromised,
        Self::OtherCoordinator,
        Self::SplitHistory,
        Self::Behind,
        Self::Unanswered,
        Self::Stuck,
        Self::Moving,
        Self::BlocksMissing,
        Self::RepairErrors,
        Self::GarageDelay,
        Self::DiskTooSmall,
        Self::OverPledged,
        Self::TooFewHosts,
        Self::TooFewZones,
        Self::OwnerHoldsTooMuch,
        Self::Away,
        Self::SeveralDead,
        Self::Flapping,
        Self::DataLost,
        Self::OlderMetadata,
        Self::Corruption,
        Self::ClockSkew,
        Self::GarageUnfit,
        Self::NotAdmitted,
        Self::SecretsKnown,
        Self::Due,
        Self::Drift,
        Self::ForeignKeys,
        Self::OlderDocument,
        Self::HostUnreached,
    ];

    /// The same in words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::AsDeclared => "it is as it should be",
            Self::InProgress => "there is something to do, and it is being done",
            Self::Waiting => "something must happen first; `waiting` says what",
            Self::HostDown => "a host is down",
            Self::UnitFailing => "something that a host runs ends again and again, or cannot be started",
            Self::GatewayDown => "the gateway does not run",
            Self::NoLayout => "there is no layout yet",
            Self::Syncing => "metadata is still being synced",
            Self::ForeignStaging => "the staging area holds changes that Hayloft did not stage",
            Self::PlanRefused => "the plan broke a rule and was not followed",
            Self::Unreachable => "no member could be asked",
            Self::StepFailed => "a step failed; it is tried again",
            Self::QuorumLost => "partitions have no write quorum",
            Self::Unpromised => "too few agents promised to follow this coordinator",
            Self::OtherCoordinator => "another coordinator leads",
            Self::SplitHistory => "members have different layouts of one version",
            Self::Behind => "a member has another version than the others",
            Self::Unanswered => "an apply's answer was not heard",
            Self::Stuck => "no quorum can say that a version is complete, because of who is gone",
            Self::Moving => "data moves",
            Self::BlocksMissing => "blocks that should be there are not",
            Self::RepairErrors => "repairs found errors",
            Self::GarageDelay => "Garage's fixed delay runs",
            Self::DiskTooSmall => "a disk is too small for what would lie on it",
            Self::OverPledged => "more is pledged than the disk has room for",
            Self::TooFewHosts => "fewer hosts than copies",
            Self::TooFewZones => "fewer zones than declared",
            Self::OwnerHoldsTooMuch => "one owner holds too much of something",
            Self::Away => "a host is away",
            Self::SeveralDead => "several hosts are taken for dead: a person decides",
            Self::Flapping => "a host comes and goes",
            Self::DataLost => "a data disk is empty or not mounted",
            Self::OlderMetadata => "a host's metadata went back to an earlier state",
            Self::Corruption => "a scrub found damaged blocks",
            Self::ClockSkew => "a clock is wrong",
            Self::GarageUnfit => "a Garage is too old, or of a series that this Hayloft does not know",
            Self::NotAdmitted => "the document does not let a host in",
            Self::SecretsKnown => "evicted hosts know secrets that are in use",
            Self::Due => "something is due",
            Self::Drift => "somebody else changed what Hayloft keeps",
            Self::ForeignKeys => "somebody else made an access key that may use the bucket",
            Self::OlderDocument => "an older document came back",
            Self::HostUnreached => "a host does not reach another one",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_one_is_listed_once_and_in_order() {
        let in_order = |numbers: Vec<usize>| numbers == (0..numbers.len()).collect::<Vec<_>>();
        assert!(in_order(
            ConditionType::ALL.iter().map(|kind| *kind as usize).collect()
        ));
        assert!(in_order(
            Reason::ALL.iter().map(|reason| *reason as usize).collect()
        ));
        // The last ones: whoever adds one after them finds this.
        assert_eq!(ConditionType::ALL.last(), Some(&ConditionType::Reached));
        assert_eq!(Reason::ALL.last(), Some(&Reason::HostUnreached));
        let meanings: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.meaning()).collect();
        assert_eq!(meanings.len(), Reason::ALL.len());
    }
}
