//! What a gateway tells those who watch it, and what the dashboard and the alerts ask for.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hayloft_server::metrics::names::{ALL, STAGES};

use crate::support::program::World;
use crate::support::{FOR_MAIN, free_port};
use crate::{BASE_NAME, client, hello, pull, push};

const DASHBOARD: &str = include_str!("../../../../monitoring/gateway/dashboard.json");
const ALERTS: &str = include_str!("../../../../monitoring/gateway/alerts.yaml");

/// The metrics that a text names.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("hayloft_gateway_"))
        .collect()
}

/// Values of labels that a text asks for: `label="value"`, and each of `label=~"one|two"`.
fn labels_in(text: &str) -> BTreeSet<(String, String)> {
    let text = text.replace("\\\"", "\"");
    let mut labels = BTreeSet::new();
    for label in ["status", "endpoint", "stage", "found", "answer"] {
        for (sign, many) in [("=\"", false), ("=~\"", true)] {
            for part in text.split(&format!("{label}{sign}")).skip(1) {
                let values = part.split('"').next().unwrap();
                let values = values.split(if many { '|' } else { '\0' });
                labels.extend(values.map(|value| (label.to_owned(), value.to_owned())));
            }
        }
    }
    labels
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_ask_for_what_a_gateway_serves() {
    let world = World::new("hs256").await;
    let address = format!("127.0.0.1:{}", free_port());
    let with = format!("metrics: {{ listen: '{address}' }}\ntokens:\n");
    let gateway = world.serve_with(&[("tokens:\n", &with)]).await;
    let token = world.token(&FOR_MAIN);
    let nar = hello();
    assert!(push(&gateway.url, &token, &nar).await.status().is_success());
    assert_eq!(pull(&gateway.url).await, nar);
    let missing = format!(
        "{}main/{}.narinfo",
        gateway.url,
        BASE_NAME[..32].replace('3', "4")
    );
    assert_eq!(client().get(missing).send().await.unwrap().status(), 404);

    let begin = Instant::now();
    let served = loop {
        let answer = client()
            .get(format!("http://{address}/metrics"))
            .send()
            .await
            .unwrap();
        let text = answer.text().await.unwrap();
        if text.contains("hayloft_gateway_ready 1") {
            break text;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "never ready:\n{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let there = metrics_in(&served);
    for metric in ALL {
        let shown = there.contains(metric.name) || there.contains(format!("{}_count", metric.name).as_str());
        assert!(shown, "{} is not served:\n{served}", metric.name);
    }
    for text in [DASHBOARD, ALERTS] {
        let asked = metrics_in(text);
        assert!(asked.len() >= 5, "{asked:?}");
        let unknown: Vec<_> = asked.difference(&there).collect();
        assert!(unknown.is_empty(), "asked for, but not served: {unknown:?}");
        for (label, value) in labels_in(text) {
            let shown = served.contains(&format!("{label}=\"{value}\""));
            // A stage that did not happen here shows when it does.
            assert!(
                shown || (label == "stage" && STAGES.contains(&value.as_str())),
                "{label}={value} is asked for, but not served:\n{served}"
            );
        }
    }
    for stage in STAGES.iter().filter(|stage| **stage != "disk") {
        let count = format!("hayloft_gateway_stage_seconds_count{{stage=\"{stage}\"}}");
        let line = served.lines().find(|line| line.starts_with(&count));
        assert!(
            line.is_some_and(|line| !line.ends_with(" 0")),
            "{stage}: {line:?}"
        );
    }
    gateway.terminate();
}
