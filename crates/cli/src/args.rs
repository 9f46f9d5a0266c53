//! The command line: what users type, and the help they see.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::commands::{
    activate, config, generations, init, install, key, list, lock, login, push, revocations,
    revoke, rollback, sbom, search, show, uninstall, upgrade, verify,
};

/// Nix environments on your machine and on Kubernetes, with no image rebuilds.
#[derive(Debug, Parser)]
#[command(
    name = "nival",
    version,
    max_term_width = 100,
    propagate_version = true
)]
pub(crate) struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct GlobalArgs {
    /// The project's folder (default: this folder, or the nearest above it with a `.nival`)
    #[arg(
        long,
        short = 'd',
        global = true,
        value_name = "FOLDER",
        help_heading = "Global options"
    )]
    pub(crate) dir: Option<PathBuf>,
    /// The hub's address
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Global options"
    )]
    pub(crate) hub: Option<String>,
    /// The `nix` program
    #[arg(
        long,
        global = true,
        value_name = "PROGRAM",
        help_heading = "Global options"
    )]
    pub(crate) nix: Option<String>,
    /// Say nothing but data, warnings and errors
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new environment in this folder
    Init(init::InitArgs),
    /// Add packages
    Install(install::InstallArgs),
    /// Remove packages
    Uninstall(uninstall::UninstallArgs),
    /// List the environment's packages
    List(list::ListArgs),
    /// Look for packages in the configured package set
    Search(search::SearchArgs),
    /// Resolve the manifest to exact store paths
    Lock(lock::LockArgs),
    /// Resolve the manifest anew, to the newest versions it allows
    Upgrade(upgrade::UpgradeArgs),
    /// Run a command, or a shell, in the environment
    Activate(activate::ActivateArgs),
    /// Publish the environment as a new signed generation
    Push(push::PushArgs),
    /// List the generations of a published environment
    Generations(generations::GenerationsArgs),
    /// Show one generation
    Show(show::ShowArgs),
    /// Make an earlier generation live again
    Rollback(rollback::RollbackArgs),
    /// Forbid a generation to run, on every node
    Revoke(revoke::RevokeArgs),
    /// List the generations that an owner revoked
    Revocations(revocations::RevocationsArgs),
    /// Print the bill of materials of a generation
    Sbom(sbom::SbomArgs),
    /// Check that an environment is what its record or lock says, byte for byte
    Verify(verify::VerifyArgs),
    /// Keep a token for the hub
    Login(login::LoginArgs),
    /// Make and trust signing keys
    Key(key::KeyArgs),
    /// Look after what runs on a Kubernetes cluster; `kubectl nival` is the same
    K8s(Box<crate::k8s::K8sArgs>),
    /// Show the configuration
    Config(config::ConfigArgs),
    /// Print the reference of all commands as Markdown
    #[command(hide = true)]
    ReferenceMarkdown,
}

/// Returns the reference of all commands as Markdown, as `docs/reference/cli.md` has it.
#[must_use]
pub fn reference_markdown() -> String {
    let mut text = String::from("# `nival`: command reference\n");
    let mut root = Cli::command();
    root.build();
    describe(&root, "nival", 2, &mut text);
    text.push_str("\n## Environment variables\n\n| Variable | Meaning |\n|---|---|\n");
    for one in crate::env_vars::ALL {
        text.push_str(&format!("| `{}` | {} |\n", one.name, one.about));
    }
    text.push_str(
        "\n## Exit codes\n\n| Code | Meaning |\n|---|---|\n| 0 | Done |\n| 1 | Failed; the message says why |\n\
         | 2 | The command line is wrong |\n| 3 | A check found something that is not up to date |\n\
         | 101 | A bug of Nival |\n\n`nival activate -- COMMAND` ends as the command does.\n",
    );
    text
}

fn describe(command: &clap::Command, path: &str, level: usize, text: &mut String) {
    for sub in command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
    {
        let path = format!("{path} {}", sub.get_name());
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!("\n{} `{path}`\n\n{about}.\n", "#".repeat(level)));
        if let Some(more) = sub.get_after_help().or(sub.get_after_long_help()) {
            text.push_str(&format!("\n{more}\n"));
        }
        let arguments: Vec<&clap::Arg> = sub
            .get_arguments()
            .filter(|one| !one.is_hide_set() && !one.is_global_set())
            .filter(|one| !matches!(one.get_id().as_str(), "help" | "version"))
            .collect();
        if !arguments.is_empty() {
            text.push_str("\n| Argument | Meaning |\n|---|---|\n");
        }
        for one in arguments {
            let help = one.get_help().map(ToString::to_string).unwrap_or_default();
            let shown = one.to_string().replace('|', "\\|");
            text.push_str(&format!("| `{shown}` | {} |\n", help.replace('|', "\\|")));
        }
        describe(sub, &path, level + 1, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_reference_names_every_verb() {
        let text = reference_markdown();
        for verb in Cli::command()
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
        {
            assert!(
                text.contains(&format!("`nival {}`", verb.get_name())),
                "{}",
                verb.get_name()
            );
        }
    }
}
