//! What was measured: runs, medians, ratios, the table and the JSON.

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;

/// One number of one column, measured several times.
#[derive(Clone, Debug, Serialize)]
pub struct Measure {
    /// What was measured.
    pub row: &'static str,
    /// Whether Garage flushed to disk before it acknowledged.
    pub fsync: bool,
    /// Who was measured.
    pub column: String,
    /// Of `runs`.
    pub unit: &'static str,
    /// In the order they were made.
    pub runs: Vec<f64>,
}

impl Measure {
    /// The middle run.
    #[must_use]
    pub fn median(&self) -> f64 {
        median(&self.runs)
    }
}

/// The middle of some numbers; of an even count the mean of the two in the middle.
#[must_use]
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (
        sorted.len() % 2,
        sorted.get(middle),
        sorted.get(middle.wrapping_sub(1)),
    ) {
        (1, Some(one), _) => *one,
        (_, Some(high), Some(low)) => f64::midpoint(*high, *low),
        _ => f64::NAN,
    }
}

/// A promise: our median against somebody's.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The row.
    pub row: &'static str,
    /// Ours.
    pub column: &'static str,
    /// Theirs; empty: a plain limit.
    pub against: &'static str,
    /// The bound.
    pub bound: Bound,
}

/// How a promise is kept.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// Ours is at least this many times theirs.
    AtLeast(f64),
    /// Ours is at most this many times theirs.
    AtMost(f64),
    /// Ours is at most theirs and this much.
    AtMostMore(f64),
    /// Ours is at most this.
    Limit(f64),
}

/// Everything that was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Results {
    /// About the machine and the run.
    pub notes: Vec<String>,
    /// Every number.
    pub measures: Vec<Measure>,
}

/// A promise and how it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The row.
    pub row: &'static str,
    /// With Garage's fsync.
    pub fsync: bool,
    /// Such as `5.9 × atticd`.
    pub reached: String,
    /// Such as `≥ 5 × atticd`.
    pub wanted: String,
    /// Whether it is kept.
    pub kept: bool,
}

impl Results {
    /// Adds a run.
    pub fn add(&mut self, row: &'static str, fsync: bool, column: &str, unit: &'static str, value: f64) {
        let known = self
            .measures
            .iter_mut()
            .find(|m| m.row == row && m.fsync == fsync && m.column == column);
        match known {
            Some(measure) => measure.runs.push(value),
            None => self.measures.push(Measure {
                row,
                fsync,
                column: column.to_owned(),
                unit,
                runs: vec![value],
            }),
        }
    }

    fn find(&self, row: &str, fsync: bool, column: &str) -> Option<f64> {
        let measure = self
            .measures
            .iter()
            .find(|m| m.row == row && m.fsync == fsync && m.column == column)?;
        Some(measure.median())
    }

    /// How the promises stand, as far as both sides were measured.
    #[must_use]
    pub fn verdicts(&self, wanted: &[Wanted]) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for want in wanted {
            for fsync in [false, true] {
                let Some(ours) = self.find(want.row, fsync, want.column) else {
                    continue;
                };
                let theirs = match want.bound {
                    Bound::Limit(_) => 0.0,
                    _ => match self.find(want.row, fsync, want.against) {
                        Some(theirs) => theirs,
                        None => continue,
                    },
                };
                let against = want.against;
                let (reached, bound, kept) = match want.bound {
                    Bound::AtLeast(least) => (
                        format!("{:.2} × {against}", ours / theirs),
                        format!("≥ {least} × {against}"),
                        ours >= least * theirs,
                    ),
                    Bound::AtMost(most) => (
                        format!("{:.2} × {against}", ours / theirs),
                        format!("≤ {most} × {against}"),
                        ours <= most * theirs,
                    ),
                    Bound::AtMostMore(more) => (
                        format!("{against} + {:.1}", ours - theirs),
                        format!("≤ {against} + {more}"),
                        ours <= theirs + more,
                    ),
                    Bound::Limit(most) => (format!("{ours:.1}"), format!("≤ {most}"), ours <= most),
                };
                verdicts.push(Verdict {
                    row: want.row,
                    fsync,
                    reached,
                    wanted: bound,
                    kept,
                });
            }
        }
        verdicts
    }

    /// The table of medians, and the promises.
    #[must_use]
    pub fn table(&self, wanted: &[Wanted]) -> String {
        let mut columns: Vec<&str> = Vec::new();
        let mut rows: Vec<(&str, bool, &str)> = Vec::new();
        for measure in &self.measures {
            if !columns.contains(&measure.column.as_str()) {
                columns.push(&measure.column);
            }
            let row = (measure.row, measure.fsync, measure.unit);
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        let head = ["what", "fsync", "unit"]
            .into_iter()
            .chain(columns.iter().copied());
        table.set_header(head);
        for (row, fsync, unit) in rows {
            let mut cells = vec![Cell::new(row), Cell::new(on(fsync)), Cell::new(unit)];
            for column in &columns {
                let text = self.find(row, fsync, column).map_or("–".to_owned(), number);
                cells.push(Cell::new(text).set_alignment(CellAlignment::Right));
            }
            table.add_row(cells);
        }
        let mut promises = Table::new();
        promises.load_style(presets::ASCII_MARKDOWN);
        promises.set_header(["what", "fsync", "reached", "wanted", ""]);
        for verdict in self.verdicts(wanted) {
            promises.add_row([
                verdict.row,
                on(verdict.fsync),
                &verdict.reached,
                &verdict.wanted,
                if verdict.kept { "kept" } else { "MISSED" },
            ]);
        }
        let notes = self.notes.join("\n");
        format!("{notes}\n\n{table}\n\n{promises}\n")
    }
}

fn on(fsync: bool) -> &'static str {
    if fsync { "on" } else { "off" }
}

fn number(value: f64) -> String {
    if value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_that_is_missed_is_said_to_be_missed() {
        let mut results = Results::default();
        for (column, value) in [
            ("hayloft", 40.0),
            ("hayloft", 44.0),
            ("hayloft", 42.0),
            ("atticd", 10.0),
        ] {
            results.add("push", false, column, "MB/s", value);
        }
        let want = |least| Wanted {
            row: "push",
            column: "hayloft",
            against: "atticd",
            bound: Bound::AtLeast(least),
        };
        let verdicts = results.verdicts(&[want(4.0), want(5.0)]);
        assert_eq!(verdicts[0].reached, "4.20 × atticd");
        assert_eq!((verdicts[0].kept, verdicts[1].kept), (true, false));
    }

    #[test]
    fn a_column_that_was_not_measured_makes_no_promise() {
        let mut results = Results::default();
        results.add("push", false, "hayloft", "MB/s", 40.0);
        let want = Wanted {
            row: "push",
            column: "hayloft",
            against: "atticd",
            bound: Bound::AtLeast(5.0),
        };
        assert!(results.verdicts(&[want]).is_empty());
    }
}
