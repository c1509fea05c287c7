//! What happened, for people: a bounded ring that survives restarts.

use std::collections::VecDeque;

use hayloft_api::status::{Event, EventKind};
use jiff::Timestamp;

use crate::store::KeptEvent;
use crate::{Store, StoreError};

/// So many events are shown.
const SHOWN: usize = 100;

/// The newest events, and those that are not kept yet.
#[derive(Debug, Default)]
pub(crate) struct Events {
    ring: VecDeque<Event>,
    unkept: Vec<Event>,
}

fn word(kind: EventKind) -> String {
    serde_json::to_value(kind)
        .ok()
        .and_then(|value| value.as_str().map(ToOwned::to_owned))
        .unwrap_or_default()
}

impl Events {
    /// With what was kept. Kinds that this version does not know are left out.
    pub(crate) fn new(kept: Vec<KeptEvent>) -> Self {
        let known = kept.into_iter().filter_map(|event| {
            let KeptEvent { at, kind, sentence } = event;
            let kind = serde_json::from_value(serde_json::Value::String(kind)).ok()?;
            Some(Event {
                at,
                kind,
                text: sentence,
            })
        });
        let mut events = Self::default();
        for event in known {
            events.push(event);
        }
        events
    }

    fn push(&mut self, event: Event) {
        self.ring.push_back(event);
        while self.ring.len() > SHOWN {
            self.ring.pop_front();
        }
    }

    /// Something happened. The same thing again and again is told once.
    pub(crate) fn tell(&mut self, at: Timestamp, kind: EventKind, text: impl Into<String>) {
        let text = text.into();
        let again = self
            .ring
            .iter()
            .rev()
            .take(5)
            .any(|event| event.kind == kind && event.text == text);
        if again {
            return;
        }
        tracing::info!(kind = word(kind), "{text}");
        let event = Event { at, kind, text };
        self.unkept.push(event.clone());
        self.push(event);
    }

    /// For status, oldest first.
    pub(crate) fn shown(&self) -> Vec<Event> {
        self.ring.iter().cloned().collect()
    }

    /// Writes down what is not kept yet.
    pub(crate) async fn keep(&mut self, store: &Store) -> Result<(), StoreError> {
        if self.unkept.is_empty() {
            return Ok(());
        }
        let kept: Vec<KeptEvent> = self
            .unkept
            .iter()
            .map(|event| KeptEvent {
                at: event.at,
                kind: word(event.kind),
                sentence: event.text.clone(),
            })
            .collect();
        store.put_events(&kept).await?;
        self.unkept.clear();
        Ok(())
    }
}
