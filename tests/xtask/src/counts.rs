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
    /// Takes a line of nextest, if it is its closing line. Tests that it left out belong to other rungs and are not counted.
    pub(crate) fn read_nextest(&mut self, line: &str) {
        if let Some((_, counted)) = line
            .split_once("Summary [")
            .and_then(|(_, rest)| rest.split_once(" run: "))
        {
            self.add(counted.split(", "), "passed", "skipped");
        }
    }

    /// Takes a line of `cargo test`, if it closes one binary's tests. nextest prints such lines too, of single tests that
    /// failed.
    pub(crate) fn read_cargo_test(&mut self, line: &str) {
        if let Some((_, counted)) = line
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

    fn told(counts: Counts) -> (u64, u64, u64) {
        (counts.passed, counts.failed, counts.skipped)
    }

    #[test]
    fn the_closing_line_of_nextest_is_counted_and_those_of_single_tests_are_not() {
        let mut counts = Counts::default();
        for line in [
            "        PASS [   0.005s] xtask rungs::tests::x",
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out",
            "     Summary [   2.147s] 87 tests run: 84 passed (1 slow), 2 failed, 1 timed out, 5 skipped",
        ] {
            counts.read_nextest(line);
        }
        assert_eq!(told(counts), (84, 3, 0));
    }

    #[test]
    fn the_closing_lines_of_cargo_test_are_added_up() {
        let mut counts = Counts::default();
        for line in [
            "test result: FAILED. 11 passed; 2 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.1s",
            "test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s",
        ] {
            counts.read_cargo_test(line);
        }
        assert_eq!(told(counts), (15, 2, 0));
    }
}
