//! `hayloft host list`.

use anyhow::Context as _;
use hayloft_api::join::{Admission, Admitted};
use hayloft_api::status::Status;

use crate::OutputFormat;
use crate::context::Context;
use crate::control::client::Control;
use crate::status::table;

/// The hosts, as `format` says.
pub(super) fn render(status: &Status, format: OutputFormat, colour: bool) -> anyhow::Result<String> {
    match format {
        OutputFormat::Text => Ok(table::hosts(status, colour).to_string()),
        OutputFormat::Json => {
            serde_json::to_string_pretty(&status.hosts).context("the hosts cannot be put in words")
        }
    }
}

/// Tells who waits for a person's word, where hosts come by token.
pub(super) async fn tell_waiting(control: &Control, context: &Context) {
    let Ok(joined) = control
        .ask::<Vec<Admitted>>(reqwest::Method::GET, "joined", String::new())
        .await
    else {
        // A `hayloft up` has none.
        return;
    };
    for host in joined.iter().filter(|host| host.standing == Admission::Waiting) {
        let name = &host.facts.name;
        context.note(&format!(
            "{name} (zone {}, at {}, key {}) waits: `hayloft host approve {name}`",
            host.facts.zone, host.facts.address, host.key
        ));
    }
}
