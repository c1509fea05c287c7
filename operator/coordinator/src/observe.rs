//! Looking: at what agents report and at what one member of Garage says. No judgement.

mod access;
mod ask;
mod facts;

use std::time::Duration;

use hayloft_api::agent::{GARAGE_UNIT, UnitState};
use hayloft_api::{Document, HostName, Secret};
use hayloft_engine::{Access, ClusterFacts};
use hayloft_garage::admin::{AdminError, BucketInfo, Health, Layout};
use jiff::{SignedDuration, Timestamp};

pub(crate) use ask::staged;
pub(crate) use facts::snapshot;

use crate::memory::{Heard, Memory};
use crate::store::{Attempt, Remembered};
use crate::tell::chain;
use crate::token::OwnToken;
use crate::{Links, Store, StoreError};

/// So long after a member was told to apply a layout, it may still be at it.
const APPLYING: SignedDuration = SignedDuration::from_secs(60);

/// What one member said, in full.
#[derive(Debug, Clone)]
pub(crate) struct Observation {
    /// What plans are made from.
    pub(crate) facts: ClusterFacts,
    /// For status.
    pub(crate) layout: Layout,
    /// For status.
    pub(crate) health: Health,
    /// For status.
    pub(crate) bucket: Option<BucketInfo>,
}

/// A member that does not even say that it is there within this is not asked in a round.
const THERE: Duration = Duration::from_secs(3);
/// One that did not answer is asked after all others for so long.
const SHUNNED: SignedDuration = SignedDuration::from_secs(60);
/// How long one member may take to answer all questions of a round before another one is asked.
const ONE_MEMBER: Duration = Duration::from_secs(12);

/// Takes in what agents report, and remembers whom it heard of.
pub(crate) async fn hear(
    memory: &mut Memory,
    links: &mut Links,
    document: &Document,
    store: &Store,
    now: Timestamp,
) -> Result<(), StoreError> {
    for heard in memory.heard.values_mut() {
        heard.agent = false;
    }
    for (name, link) in links {
        let report = link.report.borrow_and_update().clone();
        // A closed channel is an agent that is gone; its last words still count.
        let agent = link.report.has_changed().is_ok();
        if report.host != *name {
            tracing::warn!(host = %name, reports = %report.host, "an agent reports under another name; ignored");
            continue;
        }
        let id = report.garage_id;
        let news = memory
            .heard
            .get(name)
            .is_none_or(|heard| heard.report.seq != report.seq);
        if news && agent {
            // What comes just now was written just now.
            memory
                .skews
                .insert(name.clone(), report.clock.duration_since(now));
        }
        match report.unit(GARAGE_UNIT).map(|unit| &unit.state) {
            Some(UnitState::Running { pid } | UnitState::Starting { pid }) => {
                let known = memory.daemons.get(name).is_some_and(|(known, _)| known == pid);
                if !known {
                    memory.daemons.insert(name.clone(), (*pid, now));
                }
            }
            Some(UnitState::BackingOff { .. } | UnitState::Failed { .. } | UnitState::Stopped) | None => {
                memory.daemons.remove(name);
            }
        }
        // An agent that started anew has another link, on which nothing was said yet.
        let said = link
            .desired
            .borrow()
            .as_ref()
            .map(|desired| desired.generation.clone());
        if memory
            .told
            .get(name)
            .is_some_and(|(generation, _)| Some(generation) != said.as_ref())
        {
            memory.told.remove(name);
        }
        memory.heard.insert(
            name.clone(),
            Heard {
                report,
                at: now,
                agent,
            },
        );
        let spec = document.host(name);
        let known = memory.remembered.get(name);
        if known.is_none() && spec.is_none() {
            continue;
        }
        if let Some(known) = known.filter(|known| known.id != id) {
            tracing::warn!(host = %name, was = %known.id.short(), is = %id.short(), "the host is another node now");
            store.put_former(known.id, name).await?;
            memory.former.insert(known.id, name.clone());
        }
        let mut host = match known {
            // Another node key is another node: what the old one had and did is not its own.
            Some(known) if known.id == id => known.clone(),
            _ => Remembered {
                id,
                zone: None,
                had_role: false,
                left: None,
            },
        };
        if let Some(spec) = spec {
            host.zone = Some(spec.zone.clone());
        }
        if known != Some(&host) {
            store.put_host(name, &host).await?;
            memory.remembered.insert(name.clone(), host);
        }
    }
    Ok(())
}

fn had_role(memory: &Memory, name: &HostName) -> bool {
    memory.remembered.get(name).is_some_and(|host| host.had_role)
}

/// Asks one member. The one asked last is asked again as long as it answers, for all writes go to one.
///
/// # Errors
/// What the last member asked said, when none answered; `Ok(None)` when there is none to ask.
pub(crate) async fn look(
    memory: &mut Memory,
    token: &Secret,
    key_id: &str,
    now: Timestamp,
) -> Result<Option<Observation>, String> {
    let mut candidates: Vec<HostName> = memory
        .heard
        .iter()
        .filter(|(_, heard)| heard.agent && heard.report.runs(GARAGE_UNIT))
        .map(|(name, _)| name.clone())
        .collect();
    // Whoever was told to apply a layout knows best what became of it.
    let told = memory.attempt.as_ref().map(|attempt| attempt.through.clone());
    // An evicted host is asked nothing.
    candidates.retain(|name| {
        memory
            .remembered
            .get(name)
            .is_none_or(|host| !memory.barred.contains_key(&host.id))
    });
    memory
        .silent
        .retain(|_, at| now.duration_since(*at).abs() < SHUNNED);
    candidates.sort_by_key(|name| {
        (
            memory.silent.contains_key(name),
            told.as_ref() != Some(name),
            memory.through.as_ref() != Some(name),
            !had_role(memory, name),
        )
    });
    let mut last = None;
    for name in candidates {
        let has_role = had_role(memory, &name);
        let client = match memory.client(&name, token, has_role) {
            None => continue,
            Some(Ok(client)) => client,
            Some(Err(error)) => {
                last = Some(chain(&error));
                continue;
            }
        };
        // One that was just started refuses, which is an answer; one that hangs says nothing.
        let hangs = tokio::time::timeout(THERE, client.answers()).await.is_err();
        let asked = if hangs {
            None
        } else {
            tokio::time::timeout(ONE_MEMBER, ask::ask(memory, &client, &name, key_id, now))
                .await
                .ok()
        };
        let Some(asked) = asked else {
            memory.silent.insert(name.clone(), now);
            last = Some(format!("{name} takes too long to answer"));
            continue;
        };
        match asked {
            // It is new, or came back as another node, and has not heard of the others yet. Whoever believed it would
            // make a first layout beside the one that there is.
            Ok(observation) if observation.facts.layout.version == 0 && memory.knows_a_layout() => {
                last = Some(format!("{name} has not heard of the layout yet"));
            }
            Ok(observation) => {
                memory.through = Some(name);
                return Ok(Some(observation));
            }
            Err(AdminError::Forbidden { .. })
                if has_role && memory.token.as_ref().is_some_and(OwnToken::is_usable) =>
            {
                // The token is gone, or this member does not know it yet: the static one is good everywhere.
                if let Some(token) = &mut memory.token {
                    token.refused = true;
                }
            }
            Err(error) => {
                tracing::debug!(host = %name, %error, "a member could not be asked");
                last = Some(format!("{name}: {}", chain(&error)));
            }
        }
    }
    match last {
        Some(error) => Err(error),
        None => Ok(None),
    }
}

/// Draws from an observation what must be remembered: who had a role, who lost it, that the bucket was made, and that
/// what was staged is applied.
pub(crate) async fn remember(
    memory: &mut Memory,
    observation: &Observation,
    store: &Store,
    now: Timestamp,
) -> Result<(), StoreError> {
    let facts = &observation.facts;
    for (name, host) in &mut memory.remembered {
        let has_role = facts.layout.roles.contains_key(&host.id);
        let before = host.clone();
        if has_role {
            host.had_role = true;
            host.left = None;
        } else if host.had_role && host.left.is_none() {
            host.left = Some(now);
        }
        if *host != before {
            store.put_host(name, host).await?;
        }
    }
    if !memory.bucket_made && facts.access.as_ref().is_some_and(Access::ready) {
        store.put_bucket_made().await?;
        memory.bucket_made = true;
    }
    if let Some(bucket) = &observation.bucket
        && memory.bucket_id.as_ref() != Some(&bucket.id)
        && bucket.global_aliases.iter().any(|alias| alias == crate::BUCKET)
    {
        store.put_json_fact("bucket-id", &bucket.id).await?;
        memory.bucket_id = Some(bucket.id.clone());
    }
    if memory
        .attempt
        .as_ref()
        .is_some_and(|attempt| concluded(attempt, facts, now))
    {
        store.put_attempt(None).await?;
        memory.attempt = None;
    }
    Ok(())
}

/// Whether it is known what became of an attempt: its version is there, or the member itself, when it cannot be at it any
/// more, says that it is not.
fn concluded(attempt: &Attempt, facts: &ClusterFacts, now: Timestamp) -> bool {
    if !facts.layout.staged.is_empty() {
        return false;
    }
    let at = Timestamp::from_second(attempt.at).unwrap_or(now);
    let itself = facts.through == attempt.through;
    let over = !attempt.sent || now.duration_since(at).abs() > APPLYING;
    facts.layout.version >= attempt.version || (itself && over)
}

#[cfg(test)]
mod tests;
