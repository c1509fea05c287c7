//! Layout versions: staged, previewed, judged, applied; through one member, under a record that survives a crash.

use std::collections::{BTreeMap, BTreeSet};

use hayloft_api::Bytes;
use hayloft_api::status::EventKind;
use hayloft_api::{HostName, NodeId};
use hayloft_engine::{Forecast, NodeForecast, Snapshot, Staged, judge_forecast, preview};
use hayloft_garage::admin::{AdminError, Client, Layout, Outlook, Preview, RoleChange, ZoneRedundancy};

use super::{ActError, Actor, may_die};
use crate::detail::bounded;
use crate::observe::staged;
use crate::store::{Attempt, Kind};

impl Actor<'_> {
    pub(super) async fn change_layout(
        &mut self,
        through: &HostName,
        version: u64,
        change: Staged,
    ) -> Result<(), ActError> {
        let client = self.client(through)?;
        let mut attempt = Attempt {
            through: through.clone(),
            version,
            staged: change.clone(),
            at: self.now.as_second(),
            sent: false,
        };
        // Written down first: after a crash, what is found staged is known to be ours.
        self.put_attempt(Some(attempt.clone())).await?;
        may_die!("before-stage");
        let layout = if change.is_empty() {
            self.at(through, client.layout().await)?
        } else {
            let redundancy = change.zone_redundancy.flatten().map(ZoneRedundancy::AtLeast);
            self.at(through, client.stage(&role_changes(&change), redundancy).await)?
        };
        may_die!("after-stage");
        let from = layout.version;
        if let Err(error) = self.judge(&client, through, version, &change, &layout).await {
            self.revert(&client, through).await?;
            return Err(error);
        }
        attempt.sent = true;
        attempt.at = (self.clock)().as_second();
        self.put_attempt(Some(attempt)).await?;
        if !self.leadership.leads() {
            self.revert(&client, through).await?;
            return Err(ActError::NotLeading);
        }
        may_die!("before-apply");
        // Numbers that others have, or may have, are passed over: no number ever means two things.
        for number in from + 1..=version {
            match client.apply(number).await {
                Ok(applied) => {
                    may_die!("after-apply");
                    let version = applied.layout.version;
                    self.tell(
                        EventKind::Move,
                        format!("layout version {version} is applied, through {through}"),
                    );
                }
                Err(source) => {
                    if !source.is_uncertain() {
                        self.revert(&client, through).await?;
                    }
                    return Err(ActError::Garage {
                        host: through.clone(),
                        source,
                    });
                }
            }
        }
        self.put_attempt(None).await
    }

    /// The last look before applying: that nothing else is staged, and what Garage would make of it.
    async fn judge(
        &mut self,
        client: &Client,
        through: &HostName,
        version: u64,
        change: &Staged,
        layout: &Layout,
    ) -> Result<(), ActError> {
        if layout.version >= version || !staged(layout).is_within(change) {
            return Err(ActError::Staging);
        }
        if change.is_empty() {
            return Ok(());
        }
        match self.at(through, client.preview().await)? {
            Preview::Impossible { error } => Err(ActError::Impossible(error)),
            Preview::Possible(outlook) => {
                let Some(forecast) = forecast(&outlook) else {
                    return Ok(());
                };
                let snapshot = with_bytes_of_now(self.snapshot, client).await;
                // What is remembered for the move shall be as new.
                self.memory.forget_access();
                let objections = judge_forecast(self.document, &snapshot, &forecast);
                if !objections.is_empty() {
                    return Err(ActError::Refused(objections));
                }
                let map = self.memory.moves.placed_map(layout.version);
                let preview = preview(self.document, &snapshot, version, change, &forecast, map);
                self.tell(EventKind::Move, in_words(&preview));
                Ok(())
            }
        }
    }

    pub(super) async fn revert(&mut self, client: &Client, through: &HostName) -> Result<(), ActError> {
        self.at(through, client.revert().await)?;
        may_die!("after-revert");
        self.put_attempt(None).await
    }

    async fn put_attempt(&mut self, attempt: Option<Attempt>) -> Result<(), ActError> {
        self.store
            .put_attempt(attempt.as_ref())
            .await
            .map_err(ActError::Store)?;
        self.memory.attempt = attempt;
        Ok(())
    }

    pub(super) async fn skip_gone(&mut self, through: &HostName, version: u64) -> Result<(), ActError> {
        let client = self.client(through)?;
        match client.skip_dead(version).await {
            // It settled meanwhile, or everyone is counted already.
            Ok(_) | Err(AdminError::Refused { status: 400, .. }) => Ok(()),
            Err(source) => Err(ActError::Garage {
                host: through.clone(),
                source,
            }),
        }
    }

    /// By a person's word, which is used up.
    pub(super) async fn allow_missing(
        &mut self,
        through: &HostName,
        version: u64,
        hosts: &BTreeSet<HostName>,
    ) -> Result<(), ActError> {
        let client = self.client(through)?;
        match client.allow_missing_data(version).await {
            Ok(_) | Err(AdminError::Refused { status: 400, .. }) => {}
            Err(source) => {
                return Err(ActError::Garage {
                    host: through.clone(),
                    source,
                });
            }
        }
        may_die!("after-allow-missing");
        for record in self.memory.moves.records.values_mut() {
            if record.facts.placed.is_none() && record.facts.version <= version {
                record.facts.missing_allowed = Some(self.now);
            }
        }
        for host in hosts {
            self.store
                .drop_record(Kind::MayLack, host)
                .await
                .map_err(ActError::Store)?;
            self.memory.may_lack.remove(host);
        }
        let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
        let names = names.join(", ");
        let text =
            format!("layout version {version} settles without what only {names} held, as a person said");
        self.tell(EventKind::Move, text);
        Ok(())
    }
}

/// The snapshot with the bucket's bytes as they are now: those in it may be from before the last pushes.
pub(crate) async fn with_bytes_of_now(snapshot: &Snapshot, client: &Client) -> Snapshot {
    let mut snapshot = snapshot.clone();
    let access = snapshot
        .cluster
        .as_mut()
        .and_then(|cluster| cluster.access.as_mut());
    if let Some(bucket) = access.and_then(|access| access.bucket.as_mut())
        && let Some(Some(now)) = bounded(client.bucket(crate::BUCKET)).await
    {
        bucket.bytes = Bytes(now.bytes);
    }
    snapshot
}

pub(crate) fn role_changes(change: &Staged) -> BTreeMap<NodeId, RoleChange> {
    let garage = |change: &hayloft_engine::RoleChange| match change {
        hayloft_engine::RoleChange::Remove => RoleChange::Remove { remove: true },
        hayloft_engine::RoleChange::Assign(role) => RoleChange::Assign {
            zone: role.zone.clone(),
            tags: role.tags.clone(),
            capacity: role.capacity,
        },
    };
    change
        .roles
        .iter()
        .map(|(id, change)| (*id, garage(change)))
        .collect()
}

pub(crate) fn forecast(outlook: &Outlook) -> Option<Forecast> {
    let statistics = outlook.statistics.as_ref()?;
    let nodes = statistics.zones.iter().flat_map(|zone| &zone.nodes);
    Some(Forecast {
        replication_factor: statistics.replication_factor,
        zone_redundancy: statistics.effective_zone_redundancy,
        tiny_partitions: statistics.low_partition_size,
        partition_size: Some(statistics.partition_size),
        partition_size_before: statistics.previous_partition_size,
        nodes: nodes
            .map(|node| {
                let forecast = NodeForecast {
                    partitions: node.stored_partitions,
                    incoming: node.new_partitions,
                };
                (node.id, forecast)
            })
            .collect(),
    })
}

/// A preview as a sentence, for what is about to be done.
fn in_words(preview: &hayloft_api::status::Preview) -> String {
    let mut text = format!(
        "layout version {} is about to be applied: {}",
        preview.version, preview.what
    );
    if let Some(partitions) = preview.partitions {
        text.push_str(&format!("; {partitions} copies of partitions move"));
    }
    if let Some(bytes) = preview.bytes {
        text.push_str(&format!(", about {}", Bytes(bytes).about()));
    }
    if let Some(seconds) = preview.seconds {
        text.push_str(&format!(", which takes about {seconds} s at the measured rate"));
    }
    for zone in preview.zones.iter().filter(|zone| zone.lost.most > 0) {
        let (least, most) = (zone.lost.least, zone.lost.most);
        text.push_str(&format!(
            "; if all of {} vanished meanwhile, {least} to {most} of 256 partitions would be lost",
            zone.zone
        ));
    }
    for price in &preview.prices {
        text.push_str("; ");
        text.push_str(price);
    }
    text
}
