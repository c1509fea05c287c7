//! What a new version of the layout would do, as a person reads it before it is applied. Pure.

use std::time::Duration;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{Cell, CellAlignment, Table};
use hayloft_api::status::{Bounds, HostPreview, Preview, ZonePreview};

use crate::words;

/// The lines of it.
pub(crate) fn lines(preview: &Preview) -> Vec<String> {
    let Preview {
        version,
        what,
        hosts,
        zones,
        partitions,
        bytes,
        rate,
        seconds,
        usable_before,
        usable_after,
        zones_before,
        zones_after,
        prices,
        refusals,
    } = preview;
    let mut lines = vec![format!("Layout version {version}: {what}")];
    if !hosts.is_empty() {
        lines.extend(table(hosts).to_string().lines().map(str::to_owned));
    }
    lines.push(format!(
        "To move: {}",
        to_move(*partitions, *bytes, *rate, *seconds)
    ));
    if let (Some(before), Some(after)) = (usable_before, usable_after)
        && before != after
    {
        lines.push(format!(
            "Room for data: {} now, {} then",
            words::bytes(*before),
            words::bytes(*after)
        ));
    }
    if let (Some(before), Some(after)) = (zones_before, zones_after)
        && before != after
    {
        lines.push(format!(
            "Copies are in {before} zones at least now, in {after} then"
        ));
    }
    lines.extend(if_zones_vanished(zones));
    lines.extend(prices.iter().map(|price| format!("! {price}")));
    lines.extend(refusals.iter().map(|refusal| format!("! Refused: {refusal}")));
    lines
}

fn to_move(partitions: Option<u64>, bytes: Option<u64>, rate: Option<u64>, seconds: Option<u64>) -> String {
    let mut parts = Vec::new();
    match partitions {
        Some(partitions) => parts.push(words::count(
            usize::try_from(partitions).unwrap_or(usize::MAX),
            "partition",
        )),
        None => parts.push("an unknown number of partitions".to_owned()),
    }
    parts.extend(bytes.map(words::bytes));
    parts.push(match (seconds, rate) {
        (Some(seconds), Some(rate)) => format!(
            "{} at the measured rate of {}/s, Garage's delays not counted",
            words::duration(Duration::from_secs(seconds)),
            words::bytes(rate)
        ),
        _ if bytes == Some(0) => "next to no time".to_owned(),
        _ => "a time not measured yet".to_owned(),
    });
    parts.join(", ")
}

fn table(hosts: &[HostPreview]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_header([
        "Host",
        "Zone",
        "Partitions",
        "Then",
        "In",
        "Out",
        "Bytes in",
        "Bytes out",
        "Room",
    ]);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let dash = || "–".to_owned();
    let mut hosts: Vec<&HostPreview> = hosts.iter().collect();
    hosts.sort_by(|one, other| one.host.cmp(&other.host));
    for host in hosts {
        table.add_row([
            Cell::new(&host.host),
            Cell::new(&host.zone),
            right(host.partitions.to_string()),
            right(number(host.partitions_after)),
            right(number(host.partitions_in)),
            right(number(host.partitions_out)),
            right(host.bytes_in.map_or_else(dash, bytes_bounds)),
            right(host.bytes_out.map_or_else(dash, bytes_bounds)),
            right(host.room.map_or_else(dash, words::bytes)),
        ]);
    }
    table
}

/// Bounds as `94–98`, or one number where they meet.
fn number(bounds: Bounds) -> String {
    let Bounds { least, most } = bounds;
    if least == most {
        least.to_string()
    } else {
        format!("{least}–{most}")
    }
}

fn bytes_bounds(bounds: Bounds) -> String {
    let (least, most) = (words::bytes(bounds.least), words::bytes(bounds.most));
    if least == most {
        least
    } else {
        format!("{least} – {most}")
    }
}

/// One line when no zone matters, else one for each that does.
fn if_zones_vanished(zones: &[ZonePreview]) -> Vec<String> {
    if zones.is_empty() {
        return Vec::new();
    }
    let harmless = |zone: &&ZonePreview| {
        [zone.unwritable, zone.unreadable, zone.lost]
            .iter()
            .all(|bounds| bounds.most == 0)
    };
    let (fine, grave): (Vec<_>, Vec<_>) = zones.iter().partition(harmless);
    let mut lines = Vec::new();
    if grave.is_empty() {
        lines.push("If any one zone vanished meanwhile: all could still be written and read".to_owned());
        return lines;
    }
    for zone in &grave {
        let mut parts = Vec::new();
        for (bounds, what) in [
            (zone.unwritable, "could not be written"),
            (zone.unreadable, "could not be read"),
            (zone.lost, "would be lost"),
        ] {
            if bounds.most > 0 {
                parts.push(format!("{} {what}", number(bounds)));
            }
        }
        lines.push(format!(
            "! If {} vanished meanwhile, of 256 partitions: {}",
            zone.zone,
            parts.join(", ")
        ));
    }
    if !fine.is_empty() {
        let names: Vec<_> = fine.iter().map(|zone| zone.zone.as_str()).collect();
        lines.push(format!(
            "If {} vanished meanwhile: all could still be written and read",
            names.join(" or ")
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, now: u64, then: Bounds, moves_in: Bounds) -> HostPreview {
        let share = |bounds: Bounds| Bounds {
            least: bounds.least << 20,
            most: bounds.most << 20,
        };
        HostPreview {
            host: name.into(),
            zone: name.replace("host", "zone"),
            partitions: now,
            partitions_after: then,
            partitions_in: moves_in,
            partitions_out: Bounds {
                least: now.saturating_sub(then.most),
                most: now.saturating_sub(then.least),
            },
            bytes_in: Some(share(moves_in)),
            bytes_out: None,
            room: Some(40 << 30),
        }
    }

    fn zone(name: &str, unwritable: u64, lost: u64) -> ZonePreview {
        ZonePreview {
            zone: name.into(),
            unwritable: Bounds::exactly(unwritable),
            unreadable: Bounds::exactly(0),
            lost: Bounds { least: 0, most: lost },
        }
    }

    fn preview() -> Preview {
        Preview {
            version: 2,
            what: "host-4 joins".into(),
            hosts: vec![
                host(
                    "host-1",
                    256,
                    Bounds {
                        least: 190,
                        most: 194,
                    },
                    Bounds::exactly(0),
                ),
                host(
                    "host-4",
                    0,
                    Bounds::exactly(192),
                    Bounds {
                        least: 190,
                        most: 192,
                    },
                ),
            ],
            zones: vec![zone("zone-1", 0, 0), zone("zone-4", 0, 0)],
            partitions: Some(192),
            bytes: Some(192 << 20),
            rate: Some(8 << 20),
            seconds: Some(24),
            usable_before: Some(7 << 30),
            usable_after: Some(9 << 30),
            zones_before: Some(3),
            zones_after: Some(3),
            ..Preview::default()
        }
    }

    #[test]
    fn a_join_is_told_by_host_with_bytes_and_time() {
        insta::assert_snapshot!(lines(&preview()).join("\n"));
    }

    #[test]
    fn what_would_be_lost_and_what_is_refused_stands_out() {
        let preview = Preview {
            zones: vec![
                zone("zone-1", 256, 12),
                zone("zone-2", 256, 0),
                zone("zone-3", 0, 0),
            ],
            rate: None,
            seconds: None,
            zones_after: Some(2),
            prices: vec!["zoneRedundancy falls from 3 to 2: …".into()],
            refusals: vec!["host-4 would get 192 MiB, and its disk has room for 100 MiB".into()],
            ..preview()
        };
        insta::assert_snapshot!(lines(&preview).join("\n"));
    }
}
