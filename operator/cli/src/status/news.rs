//! What is new in lines that were shown before: for a place where nothing can be drawn over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A line of which only numbers change is told again so often.
const AGAIN: Duration = Duration::from_secs(30);

/// What was shown.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// By what stays of a line when its numbers change, and the how-manieth of those it is: the line, and when it was
    /// told.
    lines: BTreeMap<(String, usize), (String, Instant)>,
}

impl Shown {
    /// The lines that are worth telling now. What is not there any more is news when it comes again.
    pub(crate) fn news<'a>(
        &mut self,
        lines: impl IntoIterator<Item = &'a str>,
        now: Instant,
    ) -> Vec<&'a str> {
        let mut kept: BTreeMap<(String, usize), (String, Instant)> = BTreeMap::new();
        let mut news = Vec::new();
        for line in lines.into_iter().filter(|line| !is_table(line)) {
            let shape: String = line.chars().filter(|c| !c.is_ascii_digit()).collect();
            let nth = kept.keys().filter(|(known, _)| *known == shape).count();
            let key = (shape, nth);
            let told = self.lines.remove(&key);
            let known = told.filter(|(old, at)| old == line || now.duration_since(*at) < AGAIN);
            let known = known.unwrap_or_else(|| {
                news.push(line);
                (line.to_owned(), now)
            });
            kept.insert(key, known);
        }
        self.lines = kept;
        news
    }
}

/// Tables are not told again: what their hosts do is told by conditions and events, and their numbers change all the time.
fn is_table(line: &str) -> bool {
    line.starts_with(['│', '┌', '╞', '└'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_told_again() {
        let now = Instant::now();
        let mut shown = Shown::default();
        let before = ["Cluster laptop is ready", "│ host-1 up │", "Layout   version 1"];
        assert_eq!(
            shown.news(before, now),
            ["Cluster laptop is ready", "Layout   version 1"]
        );
        assert!(shown.news(before, now).is_empty());
        let after = [
            "Cluster laptop is changing",
            "│ host-1 down │",
            "Layout   version 1",
        ];
        assert_eq!(shown.news(after, now), ["Cluster laptop is changing"]);
        assert_eq!(
            shown.news(before, now),
            ["Cluster laptop is ready"],
            "it came again"
        );
    }

    #[test]
    fn a_clock_that_runs_down_is_told_now_and_then() {
        let now = Instant::now();
        let mut shown = Shown::default();
        let told: Vec<u64> = (0..=90)
            .filter(|second| {
                let line = format!("{} s left", 600 - second);
                !shown
                    .news([line.as_str()], now + Duration::from_secs(*second))
                    .is_empty()
            })
            .collect();
        assert_eq!(told, [0, 30, 60, 90]);
    }
}
