//! One action: shown, confirmed, done, and waited for.

use jiff::Timestamp;

use super::wait::{self, Goal};
use super::{How, wanted};
use crate::confirm;
use crate::context::Context;
use crate::control::client::Control;
use crate::control::{HostAction, HostRequest};
use crate::outcome;

/// Shows what the action does, asks, does it, and with `--wait` follows it to its end.
pub(super) async fn run(
    context: &Context,
    control: &Control,
    action: HostAction,
    how: How,
) -> anyhow::Result<()> {
    let mut request = HostRequest {
        action,
        dry_run: true,
    };
    let forecast = control.host(&request).await?;
    outcome::show(context, &forecast);
    if how.dry_run {
        return Ok(());
    }
    if forecast.changes.is_empty() && forecast.consequences.is_empty() {
        // It was asked for before.
        return finish(context, control, &request.action, how, (context.clock)()).await;
    }
    if !how.yes {
        let question = format!("Shall Hayloft {}?", request.action);
        confirm::ask(context, &question, wanted(&request.action), "--yes").await?;
    }
    request.dry_run = false;
    let outcome = control.host(&request).await?;
    let asked_at = (context.clock)();
    outcome::tell_end(context, &outcome);
    finish(context, control, &request.action, how, asked_at).await
}

/// Waits, where that is asked for.
async fn finish(
    context: &Context,
    control: &Control,
    action: &HostAction,
    how: How,
    since: Timestamp,
) -> anyhow::Result<()> {
    if how.wait {
        wait::until(context, control, &Goal::of(action), since).await?;
    }
    Ok(())
}
