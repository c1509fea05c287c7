//! What would be lost for good if some hosts never came back, by the layout that the others have on disk.

use std::collections::BTreeSet;
use std::time::Duration;

use hayloft_api::NodeId;
use hayloft_api::question::{Answer, LayoutFacts, LayoutMap, Loss, Question, loss_without};
use hayloft_coordinator::Links;

/// A member that runs answers sooner.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Asks every host in turn until one knows the layout. `None` when none does.
pub(super) async fn without(links: &Links, gone: &BTreeSet<NodeId>) -> Option<Loss> {
    for questions in links.values().map(|link| &link.questions) {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let asked = async {
            questions
                .send((Question::Layout { with_map: true }, reply))
                .await
                .ok()?;
            answer.await.ok()?.ok()
        };
        if let Ok(Some(Answer::Layout(facts))) = tokio::time::timeout(ANSWER_WITHIN, asked).await
            && let Some(loss) = of(&facts, gone)
        {
            return Some(loss);
        }
    }
    None
}

/// The same by one member's file. Blocks are taken to lie where the oldest version wants them that is not over: newer ones
/// may not have theirs yet.
fn of(facts: &LayoutFacts, gone: &BTreeSet<NodeId>) -> Option<Loss> {
    let live: Vec<&LayoutMap> = facts
        .versions
        .iter()
        .filter_map(|version| version.map.as_ref())
        .collect();
    let oldest = live.first()?;
    Some(loss_without(&live, oldest, |id| gone.contains(id)))
}

/// The same as sentences.
pub(super) fn sentences(loss: Option<Loss>) -> Vec<String> {
    let Some(Loss { unwritable, lost, .. }) = loss else {
        return vec!["what has no copy left cannot be told: no host knows the layout".to_owned()];
    };
    let mut sentences = vec![if lost == 0 {
        "of all 256 partitions a copy lies on another host; only what had not reached that yet is given up"
            .to_owned()
    } else {
        format!("{lost} of 256 partitions have no copy on any other host: all blocks in them are given up")
    }];
    if unwritable > 0 {
        sentences.push(format!(
            "{unwritable} of 256 partitions cannot be written without them; afterwards they can"
        ));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use hayloft_api::question::{Digest, LayoutVersion};

    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId::from_public_key([number; 32])
    }

    /// Three of `hosts` hold each partition, in turn.
    fn facts(hosts: u8) -> LayoutFacts {
        let holders = (0..=u8::MAX)
            .map(|partition| (0..3).map(|n| node((partition % hosts + n) % hosts)).collect())
            .collect();
        LayoutFacts {
            versions: vec![LayoutVersion {
                version: 7,
                digest: Digest::new([0; 32]),
                replication_factor: 3,
                map: Some(LayoutMap {
                    zones: (0..hosts).map(|n| (node(n), format!("zone-{n}"))).collect(),
                    holders,
                }),
            }],
            old_versions: vec![],
        }
    }

    #[test]
    fn two_of_five_hosts_leave_a_copy_of_everything_and_three_do_not() {
        let two = of(&facts(5), &[node(0), node(1)].into()).unwrap();
        assert_eq!(two.lost, 0);
        assert!(two.unwritable > 0);
        assert!(sentences(Some(two))[0].contains("a copy lies on another host"));
        let three = of(&facts(5), &[node(0), node(1), node(2)].into()).unwrap();
        assert!(three.lost > 0);
        assert!(sentences(Some(three))[0].contains("have no copy on any other host"));
    }
}
