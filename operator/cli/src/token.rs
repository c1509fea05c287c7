//! `hayloft token`: what lets hosts into a cluster.

use std::path::PathBuf;

use anyhow::Context as _;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use hayloft_api::document::Role;
use hayloft_api::join::{TokenId, TokenLimits, TokenSummary};
use hayloft_api::{Bytes, HostName, Secret, Span, ZoneName, exposed};
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::OutputFormat;
use crate::context::Context;
use crate::control::client::Control;

/// A token that was just made.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Created {
    /// Which.
    pub(crate) id: TokenId,
    /// The token itself.
    #[serde(with = "exposed")]
    pub(crate) token: Secret,
}

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a join token; it is printed once and never again
    Create(CreateArgs),
    /// List the join tokens, and who came with each
    List(ListArgs),
    /// Revoke a join token; hosts that it let in stay
    Revoke(RevokeArgs),
}

#[derive(Debug, clap::Args)]
struct Where {
    /// The folder of the coordinator [default: /var/lib/hayloft/coordinator]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The token alone goes to standard output. Hand it on like a password: to a file of mode 0600, not in a command \
                  line.\n\nExamples:\n  hayloft token create > token\n  hayloft token create --zone lyon --max-pledge 2Ti --roles storage,gateway --ttl 1h\n  \
                  hayloft token create --name paris-1"
)]
pub(crate) struct CreateArgs {
    /// How many hosts it lets in
    #[arg(long, value_name = "N", default_value_t = 1)]
    uses: u32,
    /// How long it does
    #[arg(long, value_name = "TIME", default_value = "24h")]
    ttl: Span,
    /// The zone that they must be in [default: any]
    #[arg(long)]
    zone: Option<ZoneName>,
    /// The roles that they may have
    #[arg(long, value_delimiter = ',', value_parser = role, default_value = "storage,gateway")]
    roles: Vec<Role>,
    /// The most that one may pledge [default: what the document says]
    #[arg(long, value_name = "BYTES")]
    max_pledge: Option<Bytes>,
    /// The one host that it is for
    #[arg(long)]
    name: Option<HostName>,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  hayloft token list")]
pub(crate) struct ListArgs {
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  hayloft token revoke 0123456789abcdef")]
pub(crate) struct RevokeArgs {
    /// The token, as `hayloft token list` names it
    id: TokenId,
    #[command(flatten)]
    place: Where,
}

/// A role as people write it.
pub(crate) fn role(text: &str) -> Result<Role, String> {
    match text.trim() {
        "storage" => Ok(Role::Storage),
        "gateway" => Ok(Role::Gateway),
        other => Err(format!("`{other}` is no role; `storage` and `gateway` are")),
    }
}

/// The moment after a span.
pub(crate) fn in_so_long(now: Timestamp, span: Span) -> anyhow::Result<Timestamp> {
    let seconds = i64::try_from(span.seconds).context("the time is too long")?;
    now.checked_add(SignedDuration::from_secs(seconds))
        .context("the time is too long")
}

/// Does one of them.
pub(crate) async fn run(command: Command, context: &Context) -> anyhow::Result<()> {
    match command {
        Command::Create(args) => create(args, context).await,
        Command::List(ListArgs { output, place }) => {
            let control = Control::find(context, place.dir)?;
            let tokens: Vec<TokenSummary> = control.ask(Method::GET, "tokens", String::new()).await?;
            context.say(&match output {
                OutputFormat::Json => serde_json::to_string_pretty(&tokens)?,
                OutputFormat::Text => table(&tokens, (context.clock)()),
            });
            Ok(())
        }
        Command::Revoke(RevokeArgs { id, place }) => {
            let control = Control::find(context, place.dir)?;
            let () = control
                .ask(Method::POST, &format!("tokens/{id}/revoke"), String::new())
                .await?;
            context.note(&format!("The join token {id} lets nobody in any more"));
            Ok(())
        }
    }
}

async fn create(args: CreateArgs, context: &Context) -> anyhow::Result<()> {
    let limits = TokenLimits {
        uses: args.uses,
        expires: in_so_long((context.clock)(), args.ttl)?,
        roles: args.roles,
        zone: args.zone,
        max_pledge: args.max_pledge,
        name: args.name,
    };
    let control = Control::find(context, args.place.dir)?;
    let created: Created = control.send_json("tokens", &limits).await?;
    context.note(&format!(
        "The join token {} lets {} in until {}; it is shown this once",
        created.id,
        crate::words::count(usize::try_from(limits.uses).unwrap_or(usize::MAX), "host"),
        limits.expires.strftime("%Y-%m-%d %H:%MZ")
    ));
    context.say(created.token.expose());
    Ok(())
}

fn table(tokens: &[TokenSummary], now: Timestamp) -> String {
    if tokens.is_empty() {
        return "There is no join token; `hayloft token create` makes one".to_owned();
    }
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_header(["TOKEN", "STATE", "USES", "FOR", "EXPIRES", "HOSTS"]);
    for TokenSummary {
        id,
        limits,
        used,
        revoked,
        hosts,
        created: _,
    } in tokens
    {
        let state = if revoked.is_some() {
            "revoked"
        } else if limits.expires <= now {
            "expired"
        } else if *used >= limits.uses {
            "spent"
        } else {
            "open"
        };
        let roles: Vec<_> = limits.roles.iter().map(|role| role.as_str()).collect();
        let mut meant = vec![roles.join("+")];
        meant.extend(limits.name.as_ref().map(ToString::to_string));
        meant.extend(limits.zone.as_ref().map(|zone| format!("zone {zone}")));
        meant.extend(limits.max_pledge.map(|most| format!("up to {}", most.about())));
        let names: Vec<_> = hosts.iter().map(HostName::as_str).collect();
        table.add_row([
            id.to_string(),
            state.to_owned(),
            format!("{used} of {}", limits.uses),
            meant.join(", "),
            limits.expires.strftime("%Y-%m-%d %H:%MZ").to_string(),
            names.join(" "),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_listed_with_how_they_stand() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let one = TokenSummary {
            id: TokenId::from_bytes([1; 8]),
            limits: TokenLimits {
                uses: 2,
                expires: "2026-01-03T00:00:00Z".parse().unwrap(),
                roles: vec![Role::Storage],
                zone: Some("lyon".parse().unwrap()),
                max_pledge: Some(Bytes::gib(500)),
                name: None,
            },
            created: now,
            used: 1,
            revoked: None,
            hosts: vec!["h1".parse().unwrap()],
        };
        let mut expired = one.clone();
        expired.limits.expires = now;
        let mut spent = one.clone();
        spent.used = 2;
        let mut revoked = one.clone();
        revoked.revoked = Some(now);
        let text = table(&[one, expired, spent, revoked], now);
        for state in [
            "open",
            "expired",
            "spent",
            "revoked",
            "zone lyon",
            "up to 500 GiB",
        ] {
            assert!(text.contains(state), "{state}: {text}");
        }
    }
}
