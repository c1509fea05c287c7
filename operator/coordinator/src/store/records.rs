//! Values kept by kind and key, and the events.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;

use super::{Store, StoreError};

/// So many events are kept.
const EVENTS: i64 = 500;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A move, by its key.
    Move,
    /// Whether a host is there, by its name.
    Presence,
    /// What a person asked of a host, by its name.
    Asked,
    /// What was done for a host's upkeep, by its name.
    Upkeep,
    /// Nodes that were evicted, by their id; the value is the host.
    Barred,
    /// Bytes a second that a host received, by its name.
    Rate,
    /// Hosts of which a person said that what only they held may be given up.
    MayLack,
    /// Hosts whose metadata went back, by their name; the value is what they are repaired for.
    RolledBack,
    /// Hosts that were evicted, and know secrets that are still in use.
    Known,
    /// Hosts that were told to run a gateway at some time, and so know what gateways know.
    Gateway,
    /// Hosts that were evicted and of whose metadata a snapshot is still kept; the value is where.
    Leftover,
    /// What hosts held, served and moved, by month.
    Month,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Move => "move",
            Self::Presence => "presence",
            Self::Asked => "asked",
            Self::Upkeep => "upkeep",
            Self::Barred => "barred",
            Self::Rate => "rate",
            Self::MayLack => "may-lack",
            Self::RolledBack => "rolled-back",
            Self::Known => "known",
            Self::Gateway => "gateway",
            Self::Leftover => "leftover",
            Self::Month => "month",
        }
    }
}

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptEvent {
    pub(crate) at: Timestamp,
    pub(crate) kind: String,
    pub(crate) sentence: String,
}

impl Store {
    /// All records of a kind.
    pub(crate) async fn records<K, V>(&self, kind: Kind) -> Result<BTreeMap<K, V>, StoreError>
    where
        K: FromStr + Ord,
        V: DeserializeOwned,
    {
        let rows = sqlx::query("SELECT key, value FROM record WHERE kind = ?")
            .bind(kind.as_str())
            .fetch_all(&self.pool)
            .await
            .map_err(|source| StoreError::Query {
                doing: "read records",
                source,
            })?;
        let damaged = || StoreError::Damaged {
            what: format!("a record of kind `{}`", kind.as_str()),
        };
        rows.iter()
            .map(|row| {
                let key: String = row.try_get(0).ok()?;
                let value: String = row.try_get(1).ok()?;
                Some((key.parse().ok()?, serde_json::from_str(&value).ok()?))
            })
            .map(|record| record.ok_or_else(damaged))
            .collect()
    }

    /// Keeps a record, in place of an earlier one.
    pub(crate) async fn put_record<V: Serialize>(
        &self,
        kind: Kind,
        key: &impl ToString,
        value: &V,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_string(value).map_err(|error| StoreError::Damaged {
            what: error.to_string(),
        })?;
        sqlx::query(
            "INSERT INTO record (kind, key, value) VALUES (?, ?, ?)
             ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value",
        )
        .bind(kind.as_str())
        .bind(key.to_string())
        .bind(text)
        .execute(&self.pool)
        .await
        .map(|_| ())
        .map_err(|source| StoreError::Query {
            doing: "keep a record",
            source,
        })
    }

    /// Forgets a record.
    pub(crate) async fn drop_record(&self, kind: Kind, key: &impl ToString) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM record WHERE kind = ? AND key = ?")
            .bind(kind.as_str())
            .bind(key.to_string())
            .execute(&self.pool)
            .await
            .map(|_| ())
            .map_err(|source| StoreError::Query {
                doing: "forget a record",
                source,
            })
    }

    /// The newest events, oldest first.
    pub(crate) async fn events(&self) -> Result<Vec<KeptEvent>, StoreError> {
        let rows = sqlx::query("SELECT at, kind, sentence FROM event ORDER BY seq DESC LIMIT ?")
            .bind(EVENTS)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| StoreError::Query {
                doing: "read the events",
                source,
            })?;
        let damaged = || StoreError::Damaged {
            what: "an event".to_owned(),
        };
        let read = rows.iter().rev().map(|row| {
            Some(KeptEvent {
                at: Timestamp::from_millisecond(row.try_get(0).ok()?).ok()?,
                kind: row.try_get(1).ok()?,
                sentence: row.try_get(2).ok()?,
            })
        });
        read.map(|event| event.ok_or_else(damaged)).collect()
    }

    /// Keeps events, and forgets the oldest beyond the bound.
    pub(crate) async fn put_events(&self, events: &[KeptEvent]) -> Result<(), StoreError> {
        let failed = |source| StoreError::Query {
            doing: "keep an event",
            source,
        };
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        for KeptEvent { at, kind, sentence } in events {
            sqlx::query("INSERT INTO event (at, kind, sentence) VALUES (?, ?, ?)")
                .bind(at.as_millisecond())
                .bind(kind)
                .bind(sentence)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        sqlx::query("DELETE FROM event WHERE seq <= (SELECT MAX(seq) FROM event) - ?")
            .bind(EVENTS)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }
}
