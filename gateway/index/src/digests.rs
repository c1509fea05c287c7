//! Where digests are found: in a large table, and in a small one that takes what is new; see `digests.sql`.
//!
//! A filter in memory tells which digests the large table may hold, so that what is new is not looked for in it. Merging is done
//! in steps between which others write, and only while the filter is whole.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use fastbloom::AtomicBloomFilter;
use hayloft_store::Digest;
use sqlx::FromRow;
use sqlx::sqlite::SqliteRow;

use crate::apply::hex_list;
use crate::{Index, IndexError};

/// Bytes of a digest that both tables hold.
const PREFIX: usize = 8;
/// Digests that one step merges.
const STEP: i64 = 8_192;
/// Digests that are read at once for the filter.
const PAGE: i64 = 50_000;
/// This part of what is not in the large table is looked for in it all the same.
const IN_VAIN: f64 = 0.01;
/// The filter has room for at least so many more than there are, and for a quarter more.
const ROOM: u64 = 4_000_000;

/// How far one step of merging came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// So many digests were merged, and there may be more.
    Some(u64),
    /// All that was there when the first step began.
    All,
    /// The filter has to be made first, see [`Index::learn_digests`].
    NotLearnt,
}

struct Filter {
    bits: AtomicBloomFilter,
    /// How many more it takes.
    room: AtomicU64,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter")
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

/// What the large table may hold.
#[derive(Debug, Default)]
pub(crate) struct Large {
    /// None: that is not known, so it may hold anything.
    filter: RwLock<Option<Arc<Filter>>>,
    /// Counts merges. Whoever asked the filter before one and the tables after it has looked for too little.
    merges: AtomicU64,
    /// Where the next step of merging begins; empty: with the first digest.
    cursor: Mutex<Vec<u8>>,
}

impl Large {
    fn filter(&self) -> Option<Arc<Filter>> {
        self.filter.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those of `digests` that the large table may hold.
    pub(crate) fn may_hold(&self, digests: &[Digest]) -> Vec<Digest> {
        match self.filter() {
            None => digests.to_vec(),
            Some(filter) => digests
                .iter()
                .filter(|digest| filter.bits.contains_hash(number(digest.as_bytes())))
                .copied()
                .collect(),
        }
    }

    /// Before these are in the large table.
    fn coming(&self, filter: &Filter, digests: &[Vec<u8>]) {
        for digest in digests {
            filter.bits.insert_hash(number(digest));
        }
        let coming = u64::try_from(digests.len()).unwrap_or(u64::MAX);
        let room = filter.room.load(Ordering::Relaxed).saturating_sub(coming);
        filter.room.store(room, Ordering::Relaxed);
        if room == 0 {
            // It would let ever more through. Questions go to the table until it is made anew.
            *self.filter.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.merges.fetch_add(1, Ordering::SeqCst);
    }
}

/// The first bytes of a digest as a number; digests are random, so it needs no hashing.
fn number(digest: &[u8]) -> u64 {
    let mut bytes = [0; PREFIX];
    for (to, from) in bytes.iter_mut().zip(digest) {
        *to = *from;
    }
    u64::from_be_bytes(bytes)
}

impl Index {
    /// Asks about `digests`: `sql` looks for the digests of its first list in the large table, and for those of its second one in
    /// the small table.
    pub(crate) async fn ask_digests<R>(
        &self,
        what: &'static str,
        sql: &'static str,
        digests: &[Digest],
    ) -> Result<Vec<R>, IndexError>
    where
        R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let ask = |old: String, all: String| sqlx::query_as(sql).bind(old).bind(all).fetch_all(&self.readers);
        let before = self.large.merges.load(Ordering::SeqCst);
        let all = hex_list(digests.iter().copied());
        let some = hex_list(self.large.may_hold(digests).into_iter());
        let found = ask(some, all.clone()).await.map_err(IndexError::query(what))?;
        if self.large.merges.load(Ordering::SeqCst) == before {
            return Ok(found);
        }
        // What was merged meanwhile may have been in neither place where it was looked for.
        ask(all.clone(), all).await.map_err(IndexError::query(what))
    }

    /// Reads the large table into the filter, in pages; until it is done, every question goes to both tables. Gives how many
    /// digests there are: ten bits each are kept.
    ///
    /// # Errors
    /// When the index fails; then every question goes to both tables.
    pub async fn learn_digests(&self) -> Result<u64, IndexError> {
        let failed = IndexError::query("all digests");
        // Digests are random, so this is a 256th of them; a look at each would read the table twice.
        let (part,): (i64,) = sqlx::query_as("SELECT count(*) FROM digests WHERE digest < x'01'")
            .fetch_one(&self.readers)
            .await
            .map_err(&failed)?;
        let part = u64::try_from(part).map_err(|_| IndexError::Corrupt { what: "number" })?;
        let count = part * 256;
        let room = (count / 4).max(ROOM);
        let expected = usize::try_from(count + room).map_err(|_| IndexError::Corrupt { what: "number" })?;
        let filter = Filter {
            bits: AtomicBloomFilter::with_false_pos(IN_VAIN).expected_items(expected),
            room: AtomicU64::new(room),
        };
        let mut after: Vec<u8> = Vec::new();
        let mut read = 0;
        loop {
            // One text for many rows: rows one by one take twenty times as long.
            let (page, last): (Option<String>, Option<Vec<u8>>) = sqlx::query_as(
                "SELECT group_concat(hex(digest), ''), max(digest) FROM
                     (SELECT digest FROM digests WHERE digest > ? ORDER BY digest LIMIT ?)",
            )
            .bind(&after)
            .bind(PAGE)
            .fetch_one(&self.readers)
            .await
            .map_err(&failed)?;
            let (Some(page), Some(last)) = (page, last) else {
                break;
            };
            for digest in page.as_bytes().chunks(PREFIX * 2) {
                let digest = std::str::from_utf8(digest).ok();
                let digest = digest.and_then(|digest| u64::from_str_radix(digest, 16).ok());
                filter
                    .bits
                    .insert_hash(digest.ok_or(IndexError::Corrupt { what: "digest" })?);
                read += 1;
            }
            after = last;
        }
        // Nothing was merged meanwhile: that needs a filter.
        *self.large.filter.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(filter));
        Ok(read)
    }

    /// How many digests the small table holds.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn young_digests(&self) -> Result<u64, IndexError> {
        let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM young")
            .fetch_one(&self.readers)
            .await
            .map_err(IndexError::query("young digests"))?;
        u64::try_from(count).map_err(|_| IndexError::Corrupt { what: "number" })
    }

    /// Merges the next few thousand digests into the large table, in their order. A cut-off step changes nothing.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn merge_digests(&self) -> Result<Merged, IndexError> {
        let failed = IndexError::query("merge digests");
        let Some(filter) = self.large.filter() else {
            return Ok(Merged::NotLearnt);
        };
        let from = self
            .large
            .cursor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut tx = self.writer.begin().await.map_err(&failed)?;
        let digests: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT DISTINCT digest FROM young WHERE digest > ? ORDER BY digest LIMIT ?")
                .bind(&from)
                .bind(STEP)
                .fetch_all(&mut *tx)
                .await
                .map_err(&failed)?;
        let Some(last) = digests.last().cloned() else {
            self.large
                .cursor
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
            return Ok(Merged::All);
        };
        for sql in [
            "INSERT OR IGNORE INTO digests SELECT digest, pack, offset FROM young WHERE digest > ? AND digest <= ? ORDER BY digest, pack, offset",
            "DELETE FROM young WHERE digest > ? AND digest <= ?",
        ] {
            sqlx::query(sql)
                .bind(&from)
                .bind(&last)
                .execute(&mut *tx)
                .await
                .map_err(&failed)?;
        }
        self.large.coming(&filter, &digests);
        tx.commit().await.map_err(failed)?;
        *self.large.cursor.lock().unwrap_or_else(PoisonError::into_inner) = last;
        Ok(Merged::Some(u64::try_from(digests.len()).unwrap_or(u64::MAX)))
    }
}
