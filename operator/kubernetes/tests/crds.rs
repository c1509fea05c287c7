//! The chart's copy of the definitions is what these types say.

use std::fs;
use std::path::Path;

use hayloft_kubernetes::crd;

#[test]
#[expect(clippy::disallowed_methods, reason = "the test run's own configuration")]
fn the_chart_has_the_definitions_that_the_types_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../helm/hayloft/crds");
    let mut names = Vec::new();
    for definition in crd::definitions().unwrap() {
        let name = crd::file_name(&definition);
        let file = folder.join(&name);
        let text = serde_yaml::to_string(&definition).unwrap();
        if std::env::var_os("HAYLOFT_BLESS").is_some() {
            fs::write(&file, &text).unwrap();
        }
        assert!(
            fs::read_to_string(&file).unwrap_or_default() == text,
            "{name} is not what the types say: run this test with HAYLOFT_BLESS=1 and commit the file"
        );
        names.push(name);
    }
    let mut there: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    names.sort();
    assert_eq!(there, names);
}
