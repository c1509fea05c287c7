//! Prometheus' text format, version 0.0.4.

use std::fmt::Write as _;
use std::time::Duration;

/// What a family counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows, until the process starts anew.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A text as it grows: first a family, then its values.
#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
    name: &'static str,
}

impl Text {
    fn family(&mut self, name: &'static str, help: &str, kind: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        self.name = name;
    }

    /// Begins a family that only grows.
    pub(super) fn counter(&mut self, name: &'static str, help: &str) {
        self.family(name, help, "counter");
    }

    /// Begins a family that goes up and down.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str) {
        self.family(name, help, "gauge");
    }

    /// A value of the family.
    pub(super) fn value(&mut self, labels: &[(&str, &str)], value: u64) {
        self.line(labels, &value.to_string());
    }

    /// A value of the family with a fraction.
    pub(super) fn float(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line(labels, &value.to_string());
    }

    fn line(&mut self, labels: &[(&str, &str)], value: &str) {
        self.named("", labels, value);
    }

    fn named(&mut self, suffix: &str, labels: &[(&str, &str)], value: &str) {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        for (n, (name, value)) in labels.iter().enumerate() {
            self.out.push(if n == 0 { '{' } else { ',' });
            let escaped = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.out, "{name}=\"{escaped}\"");
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    /// A histogram in seconds: for each set of labels the upper bounds in milliseconds with how many samples are within them and
    /// within none before, how many samples there are, and their sum in seconds.
    pub(super) fn histogram<'a>(
        &mut self,
        name: &'static str,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, Vec<(u64, u64)>, u64, f64)>,
    ) {
        self.family(name, help, "histogram");
        for (labels, classes, count, sum) in samples {
            let mut within = 0;
            for (bound, more) in classes {
                within += more;
                let seconds = Duration::from_millis(bound).as_secs_f64().to_string();
                let mut labels = labels.clone();
                labels.push(("le", &seconds));
                self.named("_bucket", &labels, &within.to_string());
            }
            let mut all = labels.clone();
            all.push(("le", "+Inf"));
            self.named("_bucket", &all, &count.to_string());
            self.named("_sum", &labels, &sum.to_string());
            self.named("_count", &labels, &count.to_string());
        }
    }

    /// A whole family: labels and value of each sample. Its head is there also when it has none now, so that what can
    /// be asked for is always to be seen.
    pub(super) fn samples<'a>(
        &mut self,
        name: &'static str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'a str, String)>, f64)>,
    ) {
        match kind {
            Kind::Counter => self.counter(name, help),
            Kind::Gauge => self.gauge(name, help),
        }
        for (labels, value) in samples {
            let labels: Vec<(&str, &str)> =
                labels.iter().map(|(name, text)| (*name, text.as_str())).collect();
            self.float(&labels, value);
        }
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        self.out
    }
}
