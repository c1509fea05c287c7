//! One action: shown, confirmed, done, and waited for.

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
    if !forecast.is_something() && forecast.consequences.is_empty() {
        // All is so already.
        return Ok(());
    }
    if !how.yes {
        let question = format!("Shall Hayloft {}?", request.action);
        confirm::ask(context, &question, wanted(&request.action), "--yes").await?;
    }
    request.dry_run = false;
    let outcome = control.host(&request).await?;
    let asked_at = (context.clock)();
    outcome::tell_end(context, &outcome);
    if how.wait {
        wait::until(context, control, &Goal::of(&request.action), asked_at).await?;
    }
    Ok(())
}
