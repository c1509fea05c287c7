//! How many tests passed: read from the closing lines of nextest and of `cargo test`.

/// Tests that ran, and tests that did not.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Ran and passed.
    pub(crate) passed: u64,
    /// Ran and failed, or never ended.
    pub(crate) failed: u64,
    /// Did not run.
    pub(crate) skipped: u64,
}

impl Counts {
    /// Takes what one line of output says, if it is a closing line. Skipped tests of nextest belong to other rungs and
    /// are not counted.
    pub(crate) fn read(&mut self, line: &str) {
        if let Some((_, counted)) = line
            .split_once("Summary [")
            .and_then(|(_, rest)| rest.split_once(" run: "))
        {
            self.add(counted.split(", "), "passed", "skipped");
        } else if let Some((_, counted)) = line
            .split_once("test result: ")
            .and_then(|(_, rest)| rest.split_once(". "))
        {
            self.add(counted.split("; ").take(2), "passed", "ignored");
        }
    }

    fn add<'a>(&mut self, parts: impl Iterator<Item = &'a str>, passed: &str, left_out: &str) {
        for part in parts {
            let mut words = part.split_whitespace();
            let (Some(number), Some(what)) = (words.next().and_then(|n| n.parse::<u64>().ok()), words.next())
            else {
                continue;
            };
            if what == passed {
                self.passed += number;
            } else if what != left_out {
                // failed, timed out, exec failed …
                self.failed += number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    fn read(line: &str) -> (u64, u64, u64) {
        let mut counts = Counts::default();
        counts.read(line);
        (counts.passed, counts.failed, counts.skipped)
    }

    #[test]
    fn the_closing_line_of_nextest_is_counted() {
        let line =
            "     Summary [   2.147s] 87 tests run: 84 passed (1 slow), 2 failed, 1 timed out, 5 skipped";
        assert_eq!(read(line), (84, 3, 0));
    }

    #[test]
    fn the_closing_line_of_cargo_test_is_counted() {
        let line = "test result: FAILED. 11 passed; 2 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.1s";
        assert_eq!(read(line), (11, 2, 0));
    }

    #[test]
    fn other_lines_are_not_counted() {
        assert_eq!(read("        PASS [   0.005s] xtask rungs::tests::x"), (0, 0, 0));
    }
}
