//! A follower's way to the committer: what waits in the queue is asked for in groups, in order, and asked for again while
//! nobody answers.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::committer::{CommitError, Request};
use super::error::sentence;
use super::fleet::Fleet;
use super::fleet::wire::{Answer, Asked};
use super::office::{answer, gather};
use super::random::Random;

/// How long requests wait for a committer before they are refused.
const HOLD: Duration = Duration::from_secs(15);
/// How long an acknowledgement waits until this gateway shows what was ordered.
const SHOWN: Duration = Duration::from_secs(5);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(300);

/// Forwards what is queued until `stop` is cancelled and the queue is empty. What is in flight lies in `group`, so that
/// it is not lost when this is dropped.
pub(super) async fn forward(
    fleet: &Fleet,
    random: &Random,
    requests: &mut mpsc::Receiver<Request>,
    group: &mut Vec<Request>,
    stop: &CancellationToken,
) {
    loop {
        if group.is_empty() {
            let first = tokio::select! {
                biased;
                first = requests.recv() => first,
                () = stop.cancelled() => {
                    requests.close();
                    requests.recv().await
                }
            };
            let Some(first) = first else { return };
            *group = gather(first, requests).await;
        }
        see_to(fleet, random, group, stop).await;
    }
}

/// Asks until each request of the group is answered.
async fn see_to(fleet: &Fleet, random: &Random, group: &mut Vec<Request>, stop: &CancellationToken) {
    let deadline = Instant::now() + HOLD;
    let mut body = None;
    while !group.is_empty() {
        let asked = match &body {
            Some(body) => Bytes::clone(body),
            None => match encode(group, random) {
                Ok(new) => body.insert(new).clone(),
                Err(_) => return answer(std::mem::take(group), || CommitError::Stopped),
            },
        };
        match fleet.ask(asked).await {
            Ok(Answer::Done { position, verdicts }) if verdicts.len() == group.len() => {
                if let Some(position) = position {
                    // Whoever pushed here asks here. It will be shown in any case, so that is not waited for for ever.
                    let _ = tokio::time::timeout(SHOWN, fleet.reached(position)).await;
                }
                // What failed was in flight when the committer was deposed: it is asked for anew.
                body = None;
                for (request, verdict) in std::mem::take(group).into_iter().zip(verdicts) {
                    match verdict.result() {
                        Some(result) => {
                            let _ = request.answer.send(result);
                        }
                        None => group.push(request),
                    }
                }
                if group.is_empty() {
                    return;
                }
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(error = sentence(&error), "the committer does not answer"),
        }
        if Instant::now() >= deadline || stop.is_cancelled() {
            return answer(std::mem::take(group), || CommitError::Vacant);
        }
        tokio::time::sleep(PAUSE.mul_f64(random.jitter())).await;
    }
}

/// The requests with a fresh id each, as they are sent: the same bytes at each try.
fn encode(group: &[Request], random: &Random) -> Result<Bytes, postcard::Error> {
    let asked: Vec<Asked> = group
        .iter()
        .map(|request| Asked {
            id: random.bytes(),
            records: request.records.clone(),
        })
        .collect();
    postcard::to_stdvec(&asked).map(Bytes::from)
}
