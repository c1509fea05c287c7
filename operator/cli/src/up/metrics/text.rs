//! Prometheus' text format: families in order, each with its help once.

use std::fmt::Write as _;

/// What a family counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows, until the process starts anew.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A growing text.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// One family with its samples: labels, then the value. Its head is there also when it has no samples now, so that
    /// what can be asked for is always to be seen.
    pub(super) fn family<'a>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'a str, String)>, f64)>,
    ) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = write!(self.0, "{name}");
            for (n, (label, text)) in labels.iter().enumerate() {
                let open = if n == 0 { '{' } else { ',' };
                let _ = write!(self.0, "{open}{label}=\"{}\"", escaped(text));
            }
            let close = if labels.is_empty() { "" } else { "}" };
            let _ = writeln!(self.0, "{close} {value}");
        }
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// A label's value as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_empty_families_have_a_head() {
        let mut text = Text::default();
        text.family("a", Kind::Gauge, "None.", Vec::new());
        text.family(
            "b_total",
            Kind::Counter,
            "Some.",
            [(vec![("x", "say \"hi\"\\".to_owned())], 2.0)],
        );
        text.family("c", Kind::Gauge, "One.", [(Vec::new(), 0.5)]);
        assert_eq!(
            text.into_string(),
            "# HELP a None.\n# TYPE a gauge\n\
             # HELP b_total Some.\n# TYPE b_total counter\nb_total{x=\"say \\\"hi\\\"\\\\\"} 2\n\
             # HELP c One.\n# TYPE c gauge\nc 0.5\n"
        );
    }
}
