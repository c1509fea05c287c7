//! `hayloft authority`: the certificate authority of a cluster, and its replacement.

use std::path::PathBuf;

use hayloft_api::HostName;
use hayloft_coordinator::admission::AuthorityState;
use reqwest::Method;

use crate::OutputFormat;
use crate::context::Context;
use crate::control::client::Control;
use crate::words;

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show which authority signs, and which hosts show certificates of the one before
    Show(ShowArgs),
    /// Let a new authority sign from now on; the one before is trusted until `finish`
    Replace(DoArgs),
    /// Trust the one before no more, once every host has a certificate of the new one
    Finish(DoArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  hayloft authority show")]
pub(crate) struct ShowArgs {
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
    /// The folder of the coordinator [default: /var/lib/hayloft/coordinator]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Hosts that are there renew within seconds, and nothing is interrupted; one that is away renews when it is back. \
                  `finish` refuses while any has yet to, and revokes the join tokens of before.\n\n\
                  Example:\n  hayloft authority replace\n  hayloft authority finish"
)]
pub(crate) struct DoArgs {
    /// The folder of the coordinator [default: /var/lib/hayloft/coordinator]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Does one of them.
pub(crate) async fn run(command: Command, context: &Context) -> anyhow::Result<()> {
    match command {
        Command::Show(ShowArgs { output, dir }) => {
            let state = show(&Control::find(context, dir)?).await?;
            context.say(&match output {
                OutputFormat::Json => serde_json::to_string_pretty(&state)?,
                OutputFormat::Text => tell(&state),
            });
        }
        Command::Replace(DoArgs { dir }) => {
            let control = Control::find(context, dir)?;
            let () = control
                .ask(Method::POST, "authority/replace", String::new())
                .await?;
            context.say(&tell(&show(&control).await?));
        }
        Command::Finish(DoArgs { dir }) => {
            let control = Control::find(context, dir)?;
            let () = control
                .ask(Method::POST, "authority/finish", String::new())
                .await?;
            context.say(&tell(&show(&control).await?));
        }
    }
    Ok(())
}

async fn show(control: &Control) -> anyhow::Result<AuthorityState> {
    Ok(control.ask(Method::GET, "authority", String::new()).await?)
}

fn tell(state: &AuthorityState) -> String {
    let AuthorityState {
        pin,
        since,
        replaces,
        behind,
    } = state;
    let mut text = format!(
        "The authority {pin} signs since {}.",
        since.strftime("%Y-%m-%d %H:%MZ")
    );
    if *replaces {
        text.push_str(" The one before is trusted too, until `hayloft authority finish`.");
    }
    if !behind.is_empty() {
        let names: Vec<&str> = behind.iter().map(HostName::as_str).collect();
        text.push_str(&format!(
            "\n{} of the one before: {}.",
            match behind.len() {
                1 => "1 host shows a certificate".to_owned(),
                more => format!("{} show certificates", words::count(more, "host")),
            },
            names.join(", ")
        ));
    } else if *replaces {
        text.push_str(" Every host has a certificate of the new one.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_yet_to_renew_is_named() {
        let mut state = AuthorityState {
            pin: "abcd".to_owned(),
            since: "2026-01-02T03:04:05Z".parse().unwrap(),
            replaces: true,
            behind: vec!["h1".parse().unwrap(), "h2".parse().unwrap()],
        };
        assert_eq!(
            tell(&state),
            "The authority abcd signs since 2026-01-02 03:04Z. The one before is trusted too, until `hayloft authority finish`.\n2 \
             hosts show certificates of the one before: h1, h2."
        );
        state.behind.clear();
        assert!(tell(&state).ends_with("Every host has a certificate of the new one."));
        state.replaces = false;
        assert_eq!(tell(&state), "The authority abcd signs since 2026-01-02 03:04Z.");
    }
}
