//! Join tokens, and the hosts that they let in.

use hayloft_api::HostName;
use hayloft_api::join::{
    Admission as Standing, Admitted, HostKey, JoinFacts, TokenId, TokenLimits, TokenSummary,
};
use hayloft_pki::{AuthorityRecord, Pin};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, StoreError};

/// The authority as it is kept, with what it replaced.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct KeptAuthority {
    /// The one that signs.
    pub(crate) current: AuthorityRecord,
    /// Roots that are trusted still, in PEM: certificates under them are about.
    #[serde(default)]
    pub(crate) former: Vec<String>,
    /// When the current one took over.
    pub(crate) since: Timestamp,
}

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptToken {
    pub(crate) summary: TokenSummary,
    pub(crate) hash: String,
}

/// What became of an attempt to spend a use of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spent {
    /// The host has one now.
    Now,
    /// It had one before.
    Before,
    /// There is none left: spent, expired or revoked meanwhile.
    None,
    /// Another host took the name meanwhile.
    NameTaken,
}

const fn standing_text(standing: Standing) -> &'static str {
    match standing {
        Standing::Waiting => "waiting",
        Standing::In | Standing::Leaving => "in",
        Standing::Out => "out",
    }
}

fn query(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError::Query { doing, source }
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged {
        what: what.to_owned(),
    }
}

fn json<T: Serialize>(value: &T, what: &str) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| damaged(what))
}

fn read_token(row: &SqliteRow) -> Option<KeptToken> {
    let text = |name| row.try_get::<String, _>(name).ok();
    let moment = |name| Timestamp::from_second(row.try_get::<i64, _>(name).ok()?).ok();
    let revoked: Option<i64> = row.try_get("revoked").ok()?;
    let limits: TokenLimits = serde_json::from_str(&text("limits")?).ok()?;
    Some(KeptToken {
        summary: TokenSummary {
            id: text("id")?.parse().ok()?,
            limits,
            created: moment("created")?,
            used: row.try_get("used").ok()?,
            revoked: revoked.map(Timestamp::from_second).transpose().ok()?,
            hosts: Vec::new(),
        },
        hash: text("hash")?,
    })
}

fn read_admitted(row: &SqliteRow) -> Option<(Admitted, Option<Pin>)> {
    let text = |name| row.try_get::<String, _>(name).ok();
    let standing = match text("standing")?.as_str() {
        "waiting" => Standing::Waiting,
        "in" if row.try_get("leaving").ok()? => Standing::Leaving,
        "in" => Standing::In,
        "out" => Standing::Out,
        _ => return None,
    };
    let signed_by: Option<String> = row.try_get("signed_by").ok()?;
    let admitted = Admitted {
        key: text("key")?.parse().ok()?,
        token: text("token")?.parse().ok()?,
        facts: serde_json::from_str(&text("facts")?).ok()?,
        standing,
        at: Timestamp::from_second(row.try_get("at").ok()?).ok()?,
        away: row
            .try_get::<Option<i64>, _>("away")
            .ok()?
            .map(Timestamp::from_second)
            .transpose()
            .ok()?,
    };
    Some((admitted, signed_by.map(|pin| pin.parse()).transpose().ok()?))
}

impl Store {
    /// Keeps a new token: its limits and the hash of its secret.
    pub(crate) async fn put_token(
        &self,
        id: TokenId,
        hash: &str,
        limits: &TokenLimits,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO token (id, hash, limits, uses, created, expires) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(id.to_string())
            .bind(hash)
            .bind(json(limits, "a join token's limits")?)
            .bind(limits.uses)
            .bind(now.as_second())
            .bind(limits.expires.as_second())
            .execute(&self.pool)
            .await
            .map(|_| ())
            .map_err(query("keep a join token"))
    }

    /// All tokens, the oldest first, with the hosts that came with each.
    pub(crate) async fn tokens(&self) -> Result<Vec<KeptToken>, StoreError> {
        let rows =
            sqlx::query("SELECT id, hash, limits, used, created, revoked FROM token ORDER BY created, id")
                .fetch_all(&self.pool)
                .await
                .map_err(query("read the join tokens"))?;
        let read = |row| read_token(row).ok_or_else(|| damaged("a join token"));
        let mut tokens: Vec<KeptToken> = rows.iter().map(read).collect::<Result<_, _>>()?;
        for (admitted, _) in self.admitted().await? {
            if let Some(token) = tokens.iter_mut().find(|token| token.summary.id == admitted.token) {
                token.summary.hosts.push(admitted.facts.name);
            }
        }
        Ok(tokens)
    }

    /// One token.
    pub(crate) async fn token(&self, id: TokenId) -> Result<Option<KeptToken>, StoreError> {
        let row = sqlx::query("SELECT id, hash, limits, used, created, revoked FROM token WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(query("read a join token"))?;
        row.map(|row| read_token(&row).ok_or_else(|| damaged("a join token")))
            .transpose()
    }

    /// Revokes a token; `false`: there is none with that id. One that was revoked before keeps its time.
    pub(crate) async fn revoke_token(&self, id: TokenId, now: Timestamp) -> Result<bool, StoreError> {
        sqlx::query("UPDATE token SET revoked = COALESCE(revoked, ?) WHERE id = ?")
            .bind(now.as_second())
            .bind(id.to_string())
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected() > 0)
            .map_err(query("revoke a join token"))
    }

    /// Revokes all tokens that were made before.
    pub(crate) async fn revoke_tokens_before(
        &self,
        when: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE token SET revoked = COALESCE(revoked, ?) WHERE created < ?")
            .bind(now.as_second())
            .bind(when.as_second())
            .execute(&self.pool)
            .await
            .map(|_| ())
            .map_err(query("revoke join tokens"))
    }

    /// Spends a use of a token for a host key, once for ever for each key. The counting is one conditional write, so that
    /// however many race for the last use, one gets it. `replaces`: the host that had the name until now is out.
    pub(crate) async fn spend(
        &self,
        token: TokenId,
        key: HostKey,
        facts: &JoinFacts,
        standing: Standing,
        replaces: bool,
        now: Timestamp,
    ) -> Result<Spent, StoreError> {
        let doing = "let a host in";
        let mut transaction = self.pool.begin().await.map_err(query(doing))?;
        // It writes first, so that two processes never both hold a read lock that neither can raise.
        let used = sqlx::query(
            "UPDATE token SET used = used + 1
             WHERE id = ? AND used < uses AND revoked IS NULL AND expires > ?
                 AND NOT EXISTS (SELECT 1 FROM admitted WHERE key = ?)",
        )
        .bind(token.to_string())
        .bind(now.as_second())
        .bind(key.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(query(doing))?
        .rows_affected();
        if used == 0 {
            let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM admitted WHERE key = ?")
                .bind(key.to_string())
                .fetch_optional(&mut *transaction)
                .await
                .map_err(query(doing))?;
            transaction.rollback().await.map_err(query(doing))?;
            return Ok(if known.is_some() {
                Spent::Before
            } else {
                Spent::None
            });
        }
        if replaces {
            sqlx::query("UPDATE admitted SET standing = 'out', at = ? WHERE name = ? AND standing <> 'out'")
                .bind(now.as_second())
                .bind(facts.name.as_str())
                .execute(&mut *transaction)
                .await
                .map_err(query(doing))?;
        }
        let inserted = sqlx::query(
            "INSERT INTO admitted (key, name, token, facts, standing, at) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(key.to_string())
        .bind(facts.name.as_str())
        .bind(token.to_string())
        .bind(json(facts, "a joiner's facts")?)
        .bind(standing_text(standing))
        .bind(now.as_second())
        .execute(&mut *transaction)
        .await;
        match inserted {
            Ok(_) => {
                transaction.commit().await.map_err(query(doing))?;
                Ok(Spent::Now)
            }
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                transaction.rollback().await.map_err(query(doing))?;
                Ok(Spent::NameTaken)
            }
            Err(error) => Err(query(doing)(error)),
        }
    }

    /// All hosts that ever spent a use, by name, and the authority that each one's newest certificate is of.
    pub(crate) async fn admitted(&self) -> Result<Vec<(Admitted, Option<Pin>)>, StoreError> {
        let rows = sqlx::query(
            "SELECT key, token, facts, standing, leaving, at, away, signed_by FROM admitted ORDER BY name, at",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(query("read the hosts that were let in"))?;
        rows.iter()
            .map(|row| read_admitted(row).ok_or_else(|| damaged("a host that was let in")))
            .collect()
    }

    /// One of them, by its key.
    pub(crate) async fn admitted_key(&self, key: HostKey) -> Result<Option<Admitted>, StoreError> {
        let row = sqlx::query(
            "SELECT key, token, facts, standing, leaving, at, away, signed_by FROM admitted WHERE key = ?",
        )
        .bind(key.to_string())
        .fetch_optional(&self.pool)
        .await
        .map_err(query("read a host that was let in"))?;
        row.map(|row| read_admitted(&row).ok_or_else(|| damaged("a host that was let in")))
            .transpose()
            .map(|found| found.map(|(admitted, _)| admitted))
    }

    /// Moves the host that has a name from one standing to another; `false`: none with that name stands so.
    pub(crate) async fn move_admitted(
        &self,
        name: &HostName,
        from: &[Standing],
        to: Standing,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut moved = 0;
        for from in from {
            moved += sqlx::query(
                "UPDATE admitted SET standing = ?, leaving = ?, at = ? WHERE name = ? AND standing = ? AND leaving = ?",
            )
                .bind(standing_text(to))
                .bind(to == Standing::Leaving)
                .bind(now.as_second())
                .bind(name.as_str())
                .bind(standing_text(*from))
                .bind(*from == Standing::Leaving)
                .execute(&self.pool)
                .await
                .map_err(query("change how a host stands"))?
                .rows_affected();
        }
        Ok(moved > 0)
    }

    /// Keeps until when a host that belongs is expected to be away; `false`: none with that name belongs.
    pub(crate) async fn put_away(
        &self,
        name: &HostName,
        until: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        sqlx::query("UPDATE admitted SET away = ? WHERE name = ? AND standing = 'in'")
            .bind(until.map(Timestamp::as_second))
            .bind(name.as_str())
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected() > 0)
            .map_err(query("keep until when a host is away"))
    }

    /// Keeps what a host that belongs says of itself now.
    pub(crate) async fn put_admitted_facts(&self, key: HostKey, facts: &JoinFacts) -> Result<(), StoreError> {
        sqlx::query("UPDATE admitted SET facts = ? WHERE key = ?")
            .bind(json(facts, "what a host says of itself")?)
            .bind(key.to_string())
            .execute(&self.pool)
            .await
            .map(|_| ())
            .map_err(query("keep what a host says of itself"))
    }

    /// Remembers which authority signed a host's newest certificate.
    pub(crate) async fn put_signed_by(&self, key: HostKey, pin: Pin) -> Result<(), StoreError> {
        sqlx::query("UPDATE admitted SET signed_by = ? WHERE key = ?")
            .bind(pin.to_string())
            .bind(key.to_string())
            .execute(&self.pool)
            .await
            .map(|_| ())
            .map_err(query("remember who signed a certificate"))
    }

    /// A secret beside those of Garage and the gateways.
    pub(crate) async fn own_secret(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar("SELECT value FROM secret WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(query("read a secret"))
    }

    /// Keeps such a secret.
    pub(crate) async fn put_own_secret(&self, name: &'static str, value: &str) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO secret (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
            .bind(name)
            .bind(value)
            .execute(&self.pool)
            .await
            .map(|_| ())
            .map_err(query("keep a secret"))
    }
}
