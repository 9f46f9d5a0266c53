//! The project's own tasks, each in a file of its name.

mod namespace;
mod setup;

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

/// The project's own tasks.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Brings containerd, runc, Nix and the test packages into a private folder.
    Setup,
    /// Runs a command where `/nix` is the set-up folder's.
    Laptop {
        /// The command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Runs a command where there is no Nix.
    Node {
        /// The command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup => setup::run().map(|()| ExitCode::SUCCESS),
        Task::Laptop { command } => pass_through(namespace::with_nix(&command[0])?, &command[1..]),
        Task::Node { command } => pass_through(namespace::without_nix(&command[0])?, &command[1..]),
    }
}

/// Runs a command on this terminal and ends as it ended.
fn pass_through(mut command: Command, arguments: &[OsString]) -> Result<ExitCode> {
    let status = command.args(arguments).status().context("starting the command")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

/// Tells the user what goes on.
#[expect(clippy::print_stderr, reason = "a tool talks to its user")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}
