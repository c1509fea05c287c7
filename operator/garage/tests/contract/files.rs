//! The files of a member that are read beside its API.

use std::collections::BTreeMap;

use hayloft_garage::admin::{RoleChange, ZoneRedundancy};
use hayloft_garage::data_mark::{self, Expected};
use hayloft_garage::layout_file;
use hayloft_garage_fixture::Garage;

use crate::support::{client, until};

#[tokio::test]
async fn every_members_layout_file_says_the_same_and_what_the_api_says() {
    let garage = Garage::start(3).await.unwrap();
    let admin = client(&garage, 0);
    let files = |with_map| {
        let garage = &garage;
        (0..3).map(move |index| layout_file::read(&garage.dir(index).unwrap().join("meta"), with_map))
    };
    let facts = until("all members have version 1", || async {
        let facts: Option<Vec<_>> = files(true).map(|file| file.ok().flatten()).collect();
        facts.filter(|facts| facts.iter().all(|facts| facts.digest().is_some()))
    })
    .await;
    assert_eq!(facts[0].digest(), facts[1].digest());
    assert_eq!(facts[0].digest(), facts[2].digest());
    let map = facts[0].versions[0].map.clone().unwrap();
    let layout = admin.layout().await.unwrap();
    assert_eq!(facts[0].digest().unwrap().version, layout.version);
    for role in &layout.roles {
        assert_eq!(map.zones[&role.id], role.zone);
        assert_eq!(
            u64::try_from(map.partitions_of(&role.id)).ok(),
            role.stored_partitions
        );
    }

    // Another zone redundancy, and a capacity that moves nothing: another version, which all hear of.
    let change = RoleChange::Assign {
        zone: layout.roles[0].zone.clone(),
        tags: vec!["a tag".to_owned()],
        capacity: Some(200_000_000_000),
    };
    let changes = BTreeMap::from([(layout.roles[0].id, change)]);
    admin
        .stage(&changes, Some(ZoneRedundancy::AtLeast(2)))
        .await
        .unwrap();
    admin.apply(2).await.unwrap();
    let later = until("all members have version 2", || async {
        let facts: Option<Vec<_>> = files(false).map(|file| file.ok().flatten()).collect();
        facts.filter(|facts| {
            facts
                .iter()
                .all(|facts| facts.digest().is_some_and(|digest| digest.version == 2))
        })
    })
    .await;
    assert!(later.iter().all(|facts| facts.digest() == later[0].digest()));
    assert_ne!(
        later[0].digest().unwrap().digest,
        facts[0].digest().unwrap().digest
    );
    assert!(
        later[0].versions.iter().all(|version| version.map.is_none()),
        "maps only when asked for"
    );
    assert!(
        later[0].version(1).is_some(),
        "the version before is remembered, live or not"
    );
}

#[tokio::test]
async fn the_mark_of_the_data_folder_is_known_from_the_metadata() {
    let garage = Garage::start(1).await.unwrap();
    let dir = garage.dir(0).unwrap();
    let expected = data_mark::expected(&dir.join("meta"), &dir.join("data")).unwrap();
    let found = data_mark::found(&dir.join("data")).unwrap().unwrap();
    assert_eq!(expected, Expected::Mark(found));
    let elsewhere = dir.join("elsewhere");
    assert_eq!(
        data_mark::expected(&dir.join("meta"), &elsewhere).unwrap(),
        Expected::Elsewhere
    );
    assert_eq!(
        data_mark::expected(&elsewhere, &elsewhere).unwrap(),
        Expected::Nothing
    );
    assert_eq!(data_mark::found(&elsewhere).unwrap(), None);
}
