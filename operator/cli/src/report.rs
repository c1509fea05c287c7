//! `hayloft report`: what each host held, served and moved in a month.

use std::path::PathBuf;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use hayloft_api::report::{HostAccount, Month, MonthReport};
use hayloft_coordinator::Store;
use reqwest::Method;

use crate::OutputFormat;
use crate::context::Context;
use crate::control::client::Control;
use crate::control::server::refuse;
use crate::words;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "THERE: the part of the time that was watched in which the others reached the host. HELD: what the layout placed on it, \
                  in the mean. SERVED: what it read from its disk, for clients and for other hosts. TAKEN: what it wrote to its disk. \
                  SENT and FETCHED: blocks, of one MiB at the most, that went to or came from other hosts because data moved. \
                  Months are of UTC.\n\n\
                  Examples:\n  hayloft report\n  hayloft report --month 2026-10 -o json"
)]
pub(crate) struct Args {
    /// The month, as 2026-11 [default: this one]
    #[arg(long)]
    month: Option<Month>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
    /// The folder of the coordinator, or of `hayloft up`
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints it.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let control = Control::find(context, args.dir)?;
    let month = args.month.unwrap_or_else(|| Month::of((context.clock)()));
    let report: MonthReport = control
        .ask(Method::GET, &format!("reports/{month}"), String::new())
        .await?;
    context.say(&match args.output {
        OutputFormat::Json => serde_json::to_string_pretty(&report)?,
        OutputFormat::Text => tell(&report),
    });
    Ok(())
}

fn tell(report: &MonthReport) -> String {
    let minute = "%Y-%m-%d %H:%MZ";
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "HOST", "THERE", "HELD", "SERVED", "TAKEN", "REQUESTS", "SENT", "FETCHED",
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (host, account) in &report.hosts {
        let HostAccount {
            watched_seconds,
            up_seconds,
            held_bytes,
            requests,
            read_bytes,
            written_bytes,
            blocks_sent,
            blocks_received,
        } = *account;
        table.add_row([
            host.to_string(),
            there(up_seconds, watched_seconds),
            words::bytes(held_bytes),
            words::bytes(read_bytes),
            words::bytes(written_bytes),
            requests.to_string(),
            blocks_sent.to_string(),
            blocks_received.to_string(),
        ]);
    }
    format!(
        "{}, watched from {} to {}\n\n{table}",
        report.month,
        report.from.strftime(minute),
        report.until.strftime(minute)
    )
}

/// A part of the time in percent, with one decimal, and never rounded up to all of it.
fn there(up: u64, watched: u64) -> String {
    if watched == 0 {
        return "?".to_owned();
    }
    let thousandths = u128::from(up) * 1000 / u128::from(watched);
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

/// The route, for the control socket.
pub(crate) fn routes(store: Store) -> Router {
    Router::new()
        .route("/v1/reports/{month}", get(report))
        .with_state(store)
}

async fn report(State(store): State<Store>, Path(month): Path<String>) -> Response {
    let month: Month = match month.parse() {
        Ok(month) => month,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, format!("{error}")),
    };
    let mut reports = match store.reports().await {
        Ok(reports) => reports,
        Err(error) => return refuse(StatusCode::CONFLICT, format!("{:#}", anyhow::Error::from(error))),
    };
    if let Some(report) = reports.remove(&month) {
        return Json(report).into_response();
    }
    let known: Vec<String> = reports.keys().map(ToString::to_string).collect();
    let text = if known.is_empty() {
        "nothing is counted yet; ask again in a minute".to_owned()
    } else {
        format!("nothing is known of {month}; there is {}", known.join(", "))
    };
    refuse(StatusCode::NOT_FOUND, text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_month_is_told_host_by_host() {
        let account = HostAccount {
            watched_seconds: 86_400,
            up_seconds: 86_399,
            held_bytes: 12 << 30,
            requests: 4711,
            read_bytes: 3 << 40,
            written_bytes: 15 << 30,
            blocks_sent: 12_000,
            blocks_received: 0,
        };
        let report = MonthReport {
            month: "2026-11".parse().unwrap(),
            from: "2026-11-03T10:00:00Z".parse().unwrap(),
            until: "2026-11-04T10:00:00Z".parse().unwrap(),
            hosts: BTreeMap::from([
                ("paris-1".parse().unwrap(), account),
                ("lyon-12".parse().unwrap(), HostAccount::default()),
            ]),
        };
        let lines = tell(&report);
        let lines: Vec<&str> = lines.lines().map(str::trim_end).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
