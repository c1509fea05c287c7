//! The commands and their arguments.

use clap::{Parser, Subcommand};

use crate::{
    agent, apply, authority, check, coordinator, crd, exec_child, host, join, leave, push, recovery, report,
    status, token, up, use_cache,
};

const ABOUT: &str = "A Nix binary cache that a community keeps together";

/// `hayloft`.
#[derive(Debug, Parser)]
#[command(
    name = "hayloft",
    version,
    about = ABOUT,
    after_help = "Example:\n  hayloft up                      # a whole cache on this machine\n  hayloft push --cache main ./result"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole cache on this machine, in the foreground
    Up(up::Args),
    /// Bring a running cache to what a document declares
    Apply(apply::ApplyArgs),
    /// Show what applying a document would change
    Plan(apply::PlanArgs),
    /// Check a document, without asking anything that runs
    Check(check::Args),
    /// Show the state of a running cache
    Status(status::Args),
    /// Show what each host held, served and moved in a month
    Report(report::Args),
    /// List hosts, drain, remove or evict them
    #[command(subcommand)]
    Host(host::Command),
    /// Let this machine join a cluster by a token
    Join(join::Args),
    /// Let this host give its data to the others and leave its cluster
    Leave(leave::Args),
    /// Make, list and revoke the tokens by which hosts join
    #[command(subcommand)]
    Token(token::Command),
    /// Show or replace the certificate authority by which hosts know each other
    #[command(subcommand)]
    Authority(authority::Command),
    /// The process that decides for a cluster of hosts elsewhere
    Coordinator(coordinator::Args),
    /// The process on every host of a cluster
    #[command(subcommand)]
    Agent(agent::Command),
    /// Prepare for the day on which the coordinator's machine is lost
    #[command(subcommand)]
    Recovery(recovery::Command),
    /// Print the custom resource definitions for Kubernetes
    Crd(crd::Args),
    /// Push store paths, and all that they need, into a cache
    Push(push::Args),
    /// Make this user's Nix take paths from a cache
    Use(use_cache::Args),
    /// Serve Nix clients, and look after what serves them
    #[command(subcommand)]
    Gateway(hayloft_server::command::Command),
    /// Bind to the parent's life and become another program
    #[command(hide = true)]
    ExecChild(exec_child::Args),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_and_their_help() {
        let mut cli = Cli::command().term_width(100);
        cli.build();
        insta::assert_snapshot!("help", cli.render_long_help().to_string());
        let ours = [
            "up", "join", "leave", "apply", "plan", "check", "status", "report", "push", "use", "crd",
        ];
        for command in cli
            .get_subcommands_mut()
            .filter(|command| ours.contains(&command.get_name()))
        {
            let name = command.get_name().to_owned();
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{name} has no example");
            insta::assert_snapshot!(format!("help_{name}"), help);
        }
        for group in ["host", "token", "authority", "coordinator", "agent", "recovery"] {
            for command in cli.find_subcommand_mut(group).unwrap().get_subcommands_mut() {
                let help = command.render_long_help().to_string();
                assert!(
                    command.get_name() == "help" || help.contains("Example"),
                    "no example: {help}"
                );
            }
        }
    }

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }
}
