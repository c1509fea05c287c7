//! What people say between two rounds.

use hayloft_api::HostName;
use hayloft_api::status::EventKind;
use hayloft_engine::{Asked, AskedFor};

use super::Loop;
use crate::memory::OlderMetadata;
use crate::store::Kind;
use crate::words::{Word, WordError};

impl Loop {
    pub(super) async fn hear(&mut self, word: Word) {
        // Whoever asked may have gone.
        match word {
            Word::Ask(host, what, reply) => drop(reply.send(self.take_ask(&host, what).await)),
            Word::Withdraw(host, reply) => {
                let dropped = self.store.drop_record(Kind::Asked, &host).await;
                self.memory.asked.remove(&host);
                let _ = reply.send(dropped.map_err(WordError::Store));
            }
            Word::Restored(host, reply) => drop(reply.send(self.take_restored(&host).await)),
            Word::MayLack(hosts, reply) => {
                let mut outcome = Ok(());
                for host in hosts {
                    if outcome.is_ok() {
                        outcome = self.may_lack(host).await;
                    }
                }
                let _ = reply.send(outcome);
            }
            Word::Preview(document, reply) => drop(reply.send(self.preview(&document).await)),
        }
    }

    async fn take_ask(&mut self, host: &HostName, what: AskedFor) -> Result<(), WordError> {
        if !self.memory.remembered.contains_key(host) {
            return Err(WordError::Unknown(host.clone()));
        }
        let now = (self.clock)();
        let asked = Asked { what, at: now };
        self.store
            .put_record(Kind::Asked, host, &asked)
            .await
            .map_err(WordError::Store)?;
        self.memory.asked.insert(host.clone(), asked);
        let text = match what {
            AskedFor::Drain => format!("{host} shall be drained, as a person asked"),
            AskedFor::Remove => format!("{host} shall leave, as a person asked"),
            AskedFor::Evict => format!("{host} shall be put out, as a person asked"),
            AskedFor::NewDisk => format!("the data disk of {host} was replaced, as a person said"),
        };
        self.memory.events.tell(now, EventKind::Host, text);
        Ok(())
    }

    async fn take_restored(&mut self, host: &HostName) -> Result<(), WordError> {
        let Some(known) = self.memory.remembered.get(host) else {
            return Err(WordError::Unknown(host.clone()));
        };
        let now = (self.clock)();
        let older = OlderMetadata {
            node: known.id,
            versions: None,
            heard: now,
            begun: false,
        };
        self.store
            .put_record(Kind::RolledBack, host, &older)
            .await
            .map_err(WordError::Store)?;
        self.memory.rolled_back.insert(host.clone(), older);
        // What was heard of it was before that.
        self.memory.heard.remove(host);
        let text = format!("the metadata of {host} was put back from a snapshot, as a person asked");
        self.memory.events.tell(now, EventKind::Host, text);
        Ok(())
    }

    async fn may_lack(&mut self, host: HostName) -> Result<(), WordError> {
        let known = self.memory.remembered.get(&host);
        let id = known
            .map(|known| known.id)
            .ok_or_else(|| WordError::Unknown(host.clone()))?;
        let snapshot = self.snapshot.borrow().clone();
        let up = snapshot.cluster.as_ref().is_some_and(|cluster| cluster.is_up(id));
        if up && !self.memory.barred.contains_key(&id) {
            return Err(WordError::Up(host));
        }
        self.store
            .put_record(Kind::MayLack, &host, &true)
            .await
            .map_err(WordError::Store)?;
        let text = format!("what only {host} held may be given up, as a person said");
        let now = (self.clock)();
        self.memory.events.tell(now, EventKind::Host, text);
        self.memory.may_lack.insert(host);
        Ok(())
    }
}
