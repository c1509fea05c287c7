//! What is new in a state that was shown before: lines for a place where nothing can be drawn over.

/// The lines of `now` that were not in `before`. Tables are left out: what their hosts do is told by conditions and
/// events, and their free space changes all the time.
pub(super) fn since<'a>(before: &str, now: &'a str) -> Vec<&'a str> {
    now.lines()
        .filter(|line| !before.lines().any(|old| old == *line))
        .filter(|line| !line.starts_with(['│', '┌', '╞', '└']))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_told_again() {
        let before = "Cluster laptop is ready\n┌──┐\n│ host-1 up │\n└──┘\nLayout   version 1";
        let now = "Cluster laptop is changing\n┌───┐\n│ host-1 up │\n└───┘\nLayout   version 2";
        assert_eq!(
            since(before, now),
            ["Cluster laptop is changing", "Layout   version 2"]
        );
        assert!(since(now, now).is_empty());
    }
}
