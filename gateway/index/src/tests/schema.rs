//! Which indexes questions use, and files of other versions.

use std::path::Path;

use hayloft_store::Digest;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::{HELLO, cache, frame, fresh, names, pack, path, position};
use crate::synthetic::UNDO;
use crate::{Index, SCHEMA, can_open};

/// All that asks.
const SOURCES: [&str; 8] = [
    include_str!("../apply.rs"),
    include_str!("../ask.rs"),
    include_str!("../check.rs"),
    include_str!("../collect.rs"),
    include_str!("../condemning.rs"),
    include_str!("../digests.rs"),
    include_str!("../known.rs"),
    include_str!("../retire.rs"),
];

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .connect()
        .await
        .unwrap()
}

/// The statements in these sources.
fn statements() -> Vec<String> {
    let mut found = Vec::new();
    for source in SOURCES {
        let source = source.replace("'\"'", "").replace("\\\"", "");
        found.extend(
            source
                .split('"')
                .skip(1)
                .step_by(2)
                .map(str::trim)
                .filter(|sql| {
                    ["SELECT", "INSERT", "DELETE"]
                        .iter()
                        .any(|verb| sql.starts_with(verb))
                })
                .map(str::to_owned),
        );
    }
    found
}

/// How SQLite finds what a statement asks for.
async fn plan(db: &mut SqliteConnection, sql: &str) -> Vec<String> {
    let plan: Vec<(i64, i64, i64, String)> =
        sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
            .fetch_all(db)
            .await
            .unwrap();
    plan.into_iter().map(|(_, _, _, step)| step).collect()
}

#[tokio::test]
async fn what_is_asked_page_by_page_is_not_sorted_for_each_page() {
    let (dir, index) = fresh().await;
    let mut db = connect(&dir.path().join("index.sqlite")).await;
    let mut pages = statements();
    pages.retain(|sql| sql.contains(" LIMIT "));
    assert!(pages.len() >= 7, "{pages:#?}");
    for sql in pages {
        let plan = plan(&mut db, &sql).await;
        assert!(
            !plan.iter().any(|step| step.contains("TEMP B-TREE")),
            "{sql}\n{plan:#?}"
        );
    }
    db.close().await.unwrap();
    index.close().await;
}

#[tokio::test]
async fn no_question_reads_all_frames() {
    let (dir, index) = fresh().await;
    let mut db = connect(&dir.path().join("index.sqlite")).await;
    let mut statements = statements();
    statements.retain(|sql| sql.contains(" frames") && !sql.starts_with("INSERT INTO frames"));
    assert!(statements.len() >= 15, "{statements:#?}");
    let mut by_digest = 0;
    for sql in statements {
        let plan = plan(&mut db, &sql).await;
        let slow = |step: &String| step.starts_with("SCAN f") || step.contains("AUTOMATIC");
        assert!(!plan.iter().any(slow), "{sql}\n{plan:#?}");
        let digest = |step: &&String| step.starts_with("SEARCH d USING PRIMARY KEY (digest=?");
        by_digest += plan.iter().filter(digest).count();
    }
    assert!(by_digest >= 18, "{by_digest}");
    db.close().await.unwrap();
    index.close().await;
}

async fn tables(path: &Path) -> Vec<(String, Option<String>)> {
    let mut db = connect(path).await;
    let rows = sqlx::query_as("SELECT name, sql FROM sqlite_master ORDER BY name")
        .fetch_all(&mut db)
        .await
        .unwrap();
    db.close().await.unwrap();
    rows
}

/// Makes a closed file what the version before would have made of it.
async fn make_old(path: &Path, schema: i64) {
    let mut db = connect(path).await;
    sqlx::raw_sql(UNDO).execute(&mut db).await.unwrap();
    sqlx::query("UPDATE meta SET value = ? WHERE key = 'schema'")
        .bind(schema.to_le_bytes().to_vec())
        .execute(&mut db)
        .await
        .unwrap();
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_file_of_the_version_before_is_migrated_and_keeps_all() {
    let (dir, index) = fresh().await;
    let file = dir.path().join("index.sqlite");
    let records = [cache("main"), pack(1, &[1, 2]), path("main", HELLO, &[1, 2])];
    index.apply(&records, position(2)).await.unwrap();
    index.close().await;
    let new = tables(&file).await;
    make_old(&file, SCHEMA - 1).await;
    assert_ne!(tables(&file).await, new);

    let index = Index::open(&file).await.unwrap();
    assert_eq!(index.position().await.unwrap(), Some(position(2)));
    let (main, hello, _) = names();
    assert!(index.path(&main, &hello).await.unwrap().is_some());
    assert_eq!(index.frames_of(&[Digest::of(&[1])]).await.unwrap().len(), 1);
    assert_eq!(
        index.places(&[frame(2).frame]).await.unwrap()[&frame(2).frame].offset,
        22
    );
    index.apply(&[pack(2, &[3])], position(3)).await.unwrap();
    index.close().await;
    assert_eq!(tables(&file).await, new);
    // And it is of this version from now on.
    let index = Index::open(&file).await.unwrap();
    assert_eq!(index.position().await.unwrap(), Some(position(3)));
    index.close().await;
}

#[tokio::test]
async fn a_file_of_any_other_version_is_made_again() {
    assert!(can_open(SCHEMA) && can_open(SCHEMA - 1) && !can_open(SCHEMA - 2) && !can_open(SCHEMA + 1));
    for other in [1, SCHEMA + 1] {
        let (dir, index) = fresh().await;
        let file = dir.path().join("index.sqlite");
        index.apply(&[cache("main")], position(1)).await.unwrap();
        index.close().await;
        make_old(&file, other).await;
        let index = Index::open(&file).await.unwrap();
        assert_eq!(index.position().await.unwrap(), None);
        index.close().await;
    }
}
