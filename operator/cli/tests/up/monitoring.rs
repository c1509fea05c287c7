//! The dashboard and the alerts, held to what a running cluster really says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use promql_parser::parser::{self, Expr};
use promql_parser::util::{ExprVisitor, walk_expr};
use rustix::process::Signal;
use serde_json::Value;

use super::support::{Up, get_url, run, until};

fn file(name: &str) -> String {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../monitoring/operator");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// The names of all metrics in a query.
fn metrics(query: &str) -> BTreeSet<String> {
    struct Names(BTreeSet<String>);
    impl ExprVisitor for Names {
        type Error = String;
        fn pre_visit(&mut self, expr: &Expr) -> Result<bool, String> {
            let selector = match expr {
                Expr::VectorSelector(selector) => selector,
                Expr::MatrixSelector(matrix) => &matrix.vs,
                _ => return Ok(true),
            };
            self.0.extend(selector.name.clone());
            Ok(true)
        }
    }
    let expr = parser::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let mut names = Names(BTreeSet::new());
    walk_expr(&mut names, &expr).unwrap();
    assert!(!names.0.is_empty(), "no metric in {query}");
    names.0
}

/// The queries of all panels.
fn of_dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&file("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut queries = Vec::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels of one id");
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        assert!(
            panel["type"] == "row" || !targets.is_empty(),
            "{} asks nothing",
            panel["title"]
        );
        queries.extend(
            targets
                .iter()
                .map(|target| target["expr"].as_str().unwrap().to_owned()),
        );
    }
    queries
}

/// The queries of all alerts.
fn of_alerts() -> Vec<String> {
    let rules: serde_yaml::Value = serde_yaml::from_str(&file("alerts.yaml")).unwrap();
    let groups = rules["groups"].as_sequence().unwrap();
    let mut names = BTreeSet::new();
    let mut queries = Vec::new();
    for rule in groups
        .iter()
        .flat_map(|group| group["rules"].as_sequence().unwrap())
    {
        let name = rule["alert"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "two alerts are called {name}");
        for part in ["summary", "description"] {
            assert!(rule["annotations"][part].is_string(), "{name} has no {part}");
        }
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        queries.push(rule["expr"].as_str().unwrap().to_owned());
    }
    queries
}

#[test]
fn every_metric_that_dashboard_and_alerts_ask_for_exists() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    let up = Up::start(&dir, &["--hosts", "1", "--metrics-listen", "127.0.0.1:0"]);
    up.ready();
    let line = up.line(&["Metrics are at "]);
    let url = line.split_whitespace().last().unwrap();
    let text = until(
        || {
            get_url(url)
                .ok()
                .filter(|text| text.contains("hayloft_condition{"))
        },
        || format!("no metrics at {url}: {}", up.text()),
    );
    let there: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .flat_map(|(name, kind)| {
            let parts: &[&str] = match kind {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            parts.iter().map(move |part| format!("{name}{part}"))
        })
        .collect();
    for query in of_dashboard().into_iter().chain(of_alerts()) {
        for metric in metrics(&query) {
            assert!(
                there.contains(metric.as_str()),
                "{query}: nothing is called {metric}"
            );
        }
    }
    let conditions = |line: &&str| line.starts_with("hayloft_condition{");
    assert!(text.lines().filter(conditions).count() > 5, "{text}");
    assert!(
        text.contains("hayloft_host_up{host=\"host-1\",zone=\"zone-1\"} 1"),
        "{text}"
    );
    // What is asked for by the name of a condition is one, too.
    let kinds: Vec<String> = hayloft_api::status::ConditionType::ALL
        .iter()
        .map(|kind| format!("{{type=\"{kind:?}\"}}"))
        .collect();
    for query in of_dashboard().into_iter().chain(of_alerts()) {
        if query.contains("{type=") {
            assert!(
                kinds.iter().any(|kind| query.contains(kind)),
                "{query}: no such condition"
            );
        }
    }
    let taken = run(&[
        "up",
        "--dir",
        temp.path().join("other").to_str().unwrap(),
        "--port",
        "0",
        "--metrics-listen",
        url.trim_start_matches("http://").trim_end_matches("/metrics"),
    ]);
    let said = super::support::one_line(&taken);
    assert!(said.contains("--metrics-listen"), "{said}");
    assert!(up.end(Signal::TERM).0.success());
}
