//! The document in force, those that were in force before it, and whether one that comes back is older.

use hayloft_api::{Document, rules};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::moves::Followed;

/// So many that were in force before are remembered.
const REMEMBERED: usize = 64;
/// Whoever takes back within this what changed nothing but hosts, and of which nothing came yet, undoes it on purpose.
const UNDO_WITHIN: SignedDuration = SignedDuration::from_hours(1);

const IN_FORCE: &str = "document";
const BEFORE: &str = "documents-before";
const HELD_BACK: &str = "document-held-back";

/// A document that was in force once, and was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Replaced {
    /// The BLAKE3 hash of its text, in hex.
    digest: String,
    /// When another took its place.
    at: Timestamp,
    /// The layout version that was followed then.
    layout: Option<u64>,
}

impl Store {
    /// The document in force, if one was ever applied.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn document(&self) -> Result<Option<Document>, StoreError> {
        let Some(text) = self.fact(IN_FORCE).await? else {
            return Ok(None);
        };
        match Document::from_yaml(&text) {
            Ok(document) => Ok(Some(document)),
            Err(_) => Err(StoreError::Damaged {
                what: "the document".to_owned(),
            }),
        }
    }

    /// Puts a document in force, if nothing that is immutable changes, also one that is older: see [`Store::replaced_at`]. None
    /// is held back any more after that. Whoever runs the coordinator then gives it to the coordinator too.
    ///
    /// # Errors
    /// [`StoreError::Immutable`], or when it cannot be written.
    pub async fn apply(&self, document: &Document, now: Timestamp) -> Result<(), StoreError> {
        let text = document.to_yaml().map_err(StoreError::Document)?;
        let mut facts = vec![(IN_FORCE, text.clone()), (HELD_BACK, "null".to_owned())];
        if let Some(old) = self.document().await? {
            rules::check_change(&old, document).map_err(StoreError::Immutable)?;
            if old != *document {
                let mut before = self.before().await?;
                let (old, new) = (digest(&old)?, blake3::hash(text.as_bytes()).to_hex());
                before.retain(|replaced| replaced.digest != old && replaced.digest != new.as_str());
                before.push(Replaced {
                    digest: old,
                    at: now,
                    layout: self.followed_version().await?,
                });
                let old_ones = before.len().saturating_sub(REMEMBERED);
                before.drain(..old_ones);
                facts.push((BEFORE, written(&before)?));
            }
        }
        self.put_facts(&facts).await
    }

    /// When a document that was in force was replaced, if this is one; `None` where it may come into force without a
    /// person's word: it is new, it is in force, or it undoes what was asked for just now and of which nothing came yet.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn replaced_at(
        &self,
        document: &Document,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let Some(current) = self.document().await? else {
            return Ok(None);
        };
        if current == *document {
            return Ok(None);
        }
        let wanted = digest(document)?;
        let before = self.before().await?;
        let Some(replaced) = before.iter().rev().find(|replaced| replaced.digest == wanted) else {
            return Ok(None);
        };
        let just_now = now.duration_since(replaced.at).abs() <= UNDO_WITHIN;
        let nothing_came = replaced.layout == self.followed_version().await?;
        if just_now && nothing_came && differ_in_hosts_only(&current, document) {
            return Ok(None);
        }
        Ok(Some(replaced.at))
    }

    /// Notes that an older document came back, which was replaced at `replaced`: it waits for a person until a document is
    /// applied.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn hold_back(&self, replaced: Timestamp) -> Result<(), StoreError> {
        self.put_json_fact(HELD_BACK, &Some(replaced)).await
    }

    /// When the document that is held back was replaced, if one is.
    pub(crate) async fn held_back(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.json_fact::<Option<Timestamp>>(HELD_BACK).await?.flatten())
    }

    async fn before(&self) -> Result<Vec<Replaced>, StoreError> {
        Ok(self.json_fact(BEFORE).await?.unwrap_or_default())
    }

    async fn followed_version(&self) -> Result<Option<u64>, StoreError> {
        let followed: Option<Followed> = self.json_fact("followed").await?;
        Ok(followed.map(|followed| followed.version))
    }
}

fn digest(document: &Document) -> Result<String, StoreError> {
    let text = document.to_yaml().map_err(StoreError::Document)?;
    Ok(blake3::hash(text.as_bytes()).to_hex().to_string())
}

fn written(before: &[Replaced]) -> Result<String, StoreError> {
    serde_json::to_string(before).map_err(|error| StoreError::Damaged {
        what: error.to_string(),
    })
}

fn differ_in_hosts_only(one: &Document, other: &Document) -> bool {
    let mut with_its_hosts = one.clone();
    with_its_hosts.spec.hosts = other.spec.hosts.clone();
    with_its_hosts == *other
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hayloft_api::Bytes;
    use hayloft_api::document::HostState;

    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minutes).unwrap()
    }

    async fn open(dir: &Path) -> Store {
        Store::open(&dir.join("store.sqlite"), [1; 32]).await.unwrap()
    }

    async fn follow(store: &Store, version: u64) {
        let followed = Followed {
            version,
            roles: Default::default(),
            split: false,
        };
        store.put_json_fact("followed", &followed).await.unwrap();
    }

    fn four() -> Document {
        Document::laptop(4, Bytes::gib(10)).unwrap()
    }

    fn drained() -> Document {
        let mut document = four();
        document.spec.hosts[3].state = HostState::Drained;
        document
    }

    #[tokio::test]
    async fn one_that_was_replaced_is_known_again_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        assert_eq!(store.replaced_at(&four(), at(0)).await.unwrap(), None);
        store.apply(&four(), at(0)).await.unwrap();
        follow(&store, 1).await;
        store.apply(&drained(), at(10)).await.unwrap();
        follow(&store, 2).await;
        store.close().await;
        let store = open(dir.path()).await;
        assert_eq!(store.replaced_at(&four(), at(11)).await.unwrap(), Some(at(10)));
        assert_eq!(store.replaced_at(&drained(), at(11)).await.unwrap(), None);
        let new = Document::laptop(5, Bytes::gib(10)).unwrap();
        assert_eq!(store.replaced_at(&new, at(11)).await.unwrap(), None);
        store.hold_back(at(10)).await.unwrap();
        assert_eq!(store.held_back().await.unwrap(), Some(at(10)));
        // A person's word puts it in force, and then the other is the older one.
        store.apply(&four(), at(12)).await.unwrap();
        assert_eq!(store.held_back().await.unwrap(), None);
        assert_eq!(store.replaced_at(&four(), at(13)).await.unwrap(), None);
        follow(&store, 3).await;
        assert_eq!(store.replaced_at(&drained(), at(13)).await.unwrap(), Some(at(12)));
    }

    #[tokio::test]
    async fn taking_back_what_was_asked_just_now_and_changed_nothing_needs_no_word() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        store.apply(&four(), at(0)).await.unwrap();
        follow(&store, 1).await;
        store.apply(&drained(), at(10)).await.unwrap();
        assert_eq!(store.replaced_at(&four(), at(20)).await.unwrap(), None);
        assert_eq!(
            store.replaced_at(&four(), at(10 + 61)).await.unwrap(),
            Some(at(10)),
            "after so long it is not an undo any more"
        );
        let mut other = drained();
        other.spec.caches[0].retention = Some(hayloft_api::Span::days(90));
        store.apply(&other, at(21)).await.unwrap();
        assert_eq!(
            store.replaced_at(&four(), at(22)).await.unwrap(),
            Some(at(10)),
            "what caches keep is acted upon at once"
        );
    }

    #[tokio::test]
    async fn the_memory_of_documents_has_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        for n in 0..80 {
            let mut document = four();
            document.spec.caches[0].priority = 30 + n;
            store.apply(&document, at(i64::from(n))).await.unwrap();
        }
        let before = store.before().await.unwrap();
        assert_eq!(before.len(), REMEMBERED);
        assert_eq!(before.last().unwrap().at, at(79));
    }
}
