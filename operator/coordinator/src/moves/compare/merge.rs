//! The sorted names of several hosts side by side, a page of each in memory.

use std::collections::VecDeque;

use hayloft_api::HostName;
use hayloft_api::question::{Answer, BlockName, Question};

use super::Parties;
use crate::ask_agent::{AskError, WITHIN, ask};
use crate::{AgentLink, Links};

/// Names in one page.
const PAGE: u32 = 4096;
/// Absent names that are kept of one partition.
const MOST: usize = 10_000;

/// What a partition's lists say.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Distinct names that anybody lists.
    pub(super) compared: u64,
    /// Names that somebody lists and a new holder does not.
    pub(super) absent: Vec<BlockName>,
}

struct Lister<'a> {
    host: &'a HostName,
    link: &'a AgentLink,
    holds: bool,
    page: VecDeque<BlockName>,
    last: Option<BlockName>,
    more: bool,
}

impl Lister<'_> {
    async fn head(&mut self, partition: u8) -> Result<Option<BlockName>, AskError> {
        if self.page.is_empty() && self.more {
            let question = Question::Names {
                partition,
                after: self.last,
                limit: PAGE,
            };
            match ask(self.host, self.link, question, WITHIN * 4).await? {
                Answer::Names { names, more } => {
                    // A host that says that there is more and shows none would be asked for ever.
                    self.more = more && !names.is_empty();
                    self.last = names.last().copied().or(self.last);
                    self.page = names.into();
                }
                _ => return Err(AskError::Misfit(self.host.clone())),
            }
        }
        Ok(self.page.front().copied())
    }
}

/// Lists one partition of all parties.
///
/// # Errors
/// When one of them cannot be asked.
pub(super) async fn absences(partition: u8, parties: &Parties, links: &Links) -> Result<Found, AskError> {
    let mut listers = Vec::new();
    for host in parties.former.union(&parties.holders) {
        let link = links.get(host).ok_or_else(|| AskError::Gone(host.clone()))?;
        listers.push(Lister {
            host,
            link,
            holds: parties.holders.contains(host),
            page: VecDeque::new(),
            last: None,
            more: true,
        });
    }
    let mut found = Found::default();
    loop {
        let mut least: Option<BlockName> = None;
        for lister in &mut listers {
            if let Some(head) = lister.head(partition).await? {
                least = Some(least.map_or(head, |least| least.min(head)));
            }
        }
        let Some(name) = least else {
            return Ok(found);
        };
        found.compared += 1;
        let mut absent = false;
        for lister in &mut listers {
            if lister.page.front() == Some(&name) {
                lister.page.pop_front();
            } else {
                absent |= lister.holds;
            }
        }
        if absent && found.absent.len() < MOST {
            found.absent.push(name);
        }
    }
}
