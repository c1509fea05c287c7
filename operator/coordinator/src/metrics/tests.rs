use super::text::Text;

#[test]
fn labels_are_escaped_and_families_are_declared() {
    let mut text = Text::default();
    text.gauge("a_thing", "What it is.");
    text.value(&[("host", "a\"b\\c\nd"), ("unit", "x")], 3);
    text.counter("another", "Grows.");
    text.float(&[], 0.5);
    assert_eq!(
        text.finish(),
        "# HELP a_thing What it is.\n# TYPE a_thing gauge\na_thing{host=\"a\\\"b\\\\c\\nd\",unit=\"x\"} 3\n\
         # HELP another Grows.\n# TYPE another counter\nanother 0.5\n"
    );
}

#[test]
fn the_classes_of_a_histogram_hold_all_that_is_below_their_bound() {
    let mut text = Text::default();
    let classes = vec![(5, 2), (250, 0), (1_000, 1)];
    text.histogram(
        "took_seconds",
        "How long.",
        [(vec![("operation", "GetX")], classes, 4, 61.5)],
    );
    insta::assert_snapshot!(text.finish());
}
