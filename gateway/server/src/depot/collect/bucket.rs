//! The bucket's end: objects of packs that were given up are deleted, packs that no record names are given up.

use hayloft_store::key::{ObjectKey, PackName};
use hayloft_store::log::record::Record;

use super::report::{Amount, PackReport, Stage};
use super::{CollectError, Run};
use crate::depot::dying::may_die;
use crate::depot::error::sentence;

/// Objects that are deleted between two records.
const GROUP: u32 = 100;

impl Run<'_> {
    /// Deletes the objects whose time has come.
    pub(super) async fn delete_due(&self, report: &mut PackReport) -> Result<(), CollectError> {
        let collector = self.collector;
        let index = &collector.index;
        if !self.dry_run {
            index.set_due(self.later(collector.settings.grace)).await?;
        }
        loop {
            let due = index.due(self.now, GROUP).await?;
            if due.is_empty() || self.stop.is_cancelled() {
                break;
            }
            for (_, size) in &due {
                report.deleted.add(*size);
            }
            if self.dry_run {
                break;
            }
            let names: Vec<PackName> = due.into_iter().map(|(name, _)| name).collect();
            for name in &names {
                self.delete(*name).await?;
            }
            self.commit(Record::PacksDeleted(names)).await?;
            self.tell(Stage::Deleted(report.deleted.count));
        }
        let (count, bytes) = index.waiting().await?;
        report.waiting = Amount { count, bytes };
        Ok(())
    }

    /// Lists the bucket: gives up what no record has named for long, and deletes again what came back.
    pub(super) async fn strangers(&self, report: &mut PackReport) -> Result<(), CollectError> {
        let collector = self.collector;
        let index = &collector.index;
        let mut after: Option<String> = None;
        let mut listed = 0;
        loop {
            if self.stop.is_cancelled() {
                return Ok(());
            }
            let page = collector
                .store
                .list(ObjectKey::PACKS, after.as_deref())
                .await
                .map_err(|error| CollectError::Bucket(sentence(&error)))?;
            let names: Vec<PackName> = page
                .keys
                .iter()
                .filter_map(|key| match ObjectKey::parse(key) {
                    Some(ObjectKey::Pack(name)) => Some(name),
                    _ => None,
                })
                .collect();
            listed += names.len() as u64;
            let (strangers, back) = index.sort_packs(&names).await?;
            if self.dry_run {
                let before = self.earlier(collector.settings.abandoned_after);
                report.abandoned.count += index.old_strangers(&strangers, before).await?.len() as u64;
                report.deleted.count += back.len() as u64;
            } else {
                for name in back {
                    self.delete(name).await?;
                    report.deleted.count += 1;
                }
                let before = self.earlier(collector.settings.abandoned_after);
                let old = index.note_strangers(&strangers, self.now, before).await?;
                report.abandoned.count += old.len() as u64;
                for some in old.chunks(GROUP as usize) {
                    self.condemn_names(some.to_vec()).await?;
                }
            }
            after = page.keys.last().cloned().or(after);
            if !page.more || page.keys.is_empty() {
                return Ok(());
            }
            self.tell(Stage::Listed(listed));
        }
    }

    async fn delete(&self, name: PackName) -> Result<(), CollectError> {
        let key = ObjectKey::Pack(name).to_string();
        may_die!("collect.before-deleting");
        let deleted = self.collector.store.delete(&key).await;
        may_die!("collect.deleted");
        deleted.map_err(|error| CollectError::Bucket(sentence(&error)))
    }
}
