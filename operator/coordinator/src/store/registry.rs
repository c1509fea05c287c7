//! Hosts that were ever heard of.

use std::collections::BTreeMap;

use hayloft_api::{HostName, NodeId, ZoneName};
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, StoreError};

/// What is remembered of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// Its Garage node.
    pub(crate) id: NodeId,
    /// The zone it was last declared in.
    pub(crate) zone: Option<ZoneName>,
    /// Whether it was seen with a role in the layout.
    pub(crate) had_role: bool,
    /// When it was first seen without its role again.
    pub(crate) left: Option<Timestamp>,
}

fn read(row: &SqliteRow) -> Option<(HostName, Remembered)> {
    let name: String = row.try_get("name").ok()?;
    let id: String = row.try_get("garage_id").ok()?;
    let zone: Option<String> = row.try_get("zone").ok()?;
    let left: Option<i64> = row.try_get("left_at").ok()?;
    let remembered = Remembered {
        id: id.parse().ok()?,
        zone: zone.map(|zone| zone.parse()).transpose().ok()?,
        had_role: row.try_get("had_role").ok()?,
        left: left.map(Timestamp::from_second).transpose().ok()?,
    };
    Some((name.parse().ok()?, remembered))
}

impl Store {
    /// All hosts remembered.
    pub(crate) async fn hosts(&self) -> Result<BTreeMap<HostName, Remembered>, StoreError> {
        let rows = sqlx::query("SELECT name, garage_id, zone, had_role, left_at FROM host")
            .fetch_all(&self.pool)
            .await
            .map_err(|source| StoreError::Query {
                doing: "read the hosts",
                source,
            })?;
        let damaged = || StoreError::Damaged {
            what: "a host's row".to_owned(),
        };
        rows.iter().map(|row| read(row).ok_or_else(damaged)).collect()
    }

    /// Nodes that hosts were before.
    pub(crate) async fn former(&self) -> Result<BTreeMap<NodeId, HostName>, StoreError> {
        let rows = sqlx::query("SELECT garage_id, host FROM former")
            .fetch_all(&self.pool)
            .await
            .map_err(|source| StoreError::Query {
                doing: "read the former nodes",
                source,
            })?;
        let read = |row: &SqliteRow| {
            let id: String = row.try_get("garage_id").ok()?;
            let host: String = row.try_get("host").ok()?;
            Some((id.parse().ok()?, host.parse().ok()?))
        };
        let damaged = || StoreError::Damaged {
            what: "a former node's row".to_owned(),
        };
        rows.iter().map(|row| read(row).ok_or_else(damaged)).collect()
    }

    /// Remembers that a host was another node before.
    pub(crate) async fn put_former(&self, id: NodeId, host: &HostName) -> Result<(), StoreError> {
        sqlx::query("INSERT OR REPLACE INTO former (garage_id, host) VALUES (?, ?)")
            .bind(id.to_string())
            .bind(host.as_str())
            .execute(&self.pool)
            .await
            .map(|_| ())
            .map_err(|source| StoreError::Query {
                doing: "remember a former node",
                source,
            })
    }

    /// Remembers a host as it is now.
    pub(crate) async fn put_host(&self, name: &HostName, host: &Remembered) -> Result<(), StoreError> {
        let Remembered {
            id,
            zone,
            had_role,
            left,
        } = host;
        sqlx::query(
            "INSERT INTO host (name, garage_id, zone, had_role, left_at) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (name) DO UPDATE SET garage_id = excluded.garage_id, zone = excluded.zone,
                 had_role = excluded.had_role, left_at = excluded.left_at",
        )
        .bind(name.as_str())
        .bind(id.to_string())
        .bind(zone.as_ref().map(ZoneName::as_str))
        .bind(had_role)
        .bind(left.map(Timestamp::as_second))
        .execute(&self.pool)
        .await
        .map(|_| ())
        .map_err(|source| StoreError::Query {
            doing: "remember a host",
            source,
        })
    }
}
