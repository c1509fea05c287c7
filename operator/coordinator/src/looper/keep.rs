//! Writing down what a restart must not forget: only what changed, and what changes all the time not in every round.

use std::collections::BTreeMap;

use hayloft_api::HostName;
use hayloft_engine::{MoveKey, Presence};
use jiff::{SignedDuration, Timestamp};

use super::Loop;
use crate::StoreError;
use crate::moves::{Followed, MoveRecord};
use crate::store::Kind;

/// Absences grow in every round; so much of one may be forgotten by a crash.
const PRESENCE: SignedDuration = SignedDuration::from_secs(30);

/// What the store has.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    records: BTreeMap<MoveKey, MoveRecord>,
    followed: Option<Followed>,
    presence: BTreeMap<HostName, Presence>,
    presence_at: Option<Timestamp>,
}

impl Kept {
    /// As it was loaded.
    pub(crate) fn new(memory: &crate::memory::Memory) -> Self {
        Self {
            records: memory.moves.records.clone(),
            followed: memory.moves.followed.clone(),
            presence: memory.presence.clone(),
            presence_at: None,
        }
    }
}

impl Loop {
    /// Gives whether it was written down.
    pub(super) async fn keep(&mut self, now: Timestamp, all: bool) -> bool {
        let kept = self.try_keep(now, all).await;
        if let Err(error) = &kept {
            tracing::error!(error = %crate::tell::chain(error), "what was seen was not written down; it is tried again");
        }
        kept.is_ok()
    }

    async fn try_keep(&mut self, now: Timestamp, all: bool) -> Result<(), StoreError> {
        let moves = &self.memory.moves;
        // The move first: without its record, the version that it belongs to would be taken for known.
        for (key, record) in &moves.records {
            if self.kept.records.get(key) != Some(record) {
                self.store.put_record(Kind::Move, key, record).await?;
                self.kept.records.insert(*key, record.clone());
            }
        }
        if self.kept.followed != moves.followed {
            self.store.put_json_fact("followed", &moves.followed).await?;
            self.kept.followed.clone_from(&moves.followed);
        }
        let over: Vec<MoveKey> = self.kept.records.keys().copied().collect();
        for key in over.into_iter().filter(|key| !moves.records.contains_key(key)) {
            self.store.drop_record(Kind::Move, &key).await?;
            self.kept.records.remove(&key);
        }
        let due = all
            || self
                .kept
                .presence_at
                .is_none_or(|at| now.duration_since(at).abs() >= PRESENCE);
        for (host, presence) in &self.memory.presence {
            let known = self.kept.presence.get(host);
            let flipped = known.is_none_or(|known| {
                known.absent.is_some() != presence.absent.is_some() || known.returns != presence.returns
            });
            if flipped || (due && known != Some(presence)) {
                self.store.put_record(Kind::Presence, host, presence).await?;
                self.kept.presence.insert(host.clone(), presence.clone());
            }
        }
        if due {
            self.memory.accounts.keep(&self.store).await?;
            self.kept.presence_at = Some(now);
        }
        self.memory.events.keep(&self.store).await
    }
}
