//! Prometheus' text format, version 0.0.4.

use std::fmt::Write as _;

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
        self.out.push_str(self.name);
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
