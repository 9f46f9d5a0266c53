//! `nival`: the developer's command.

mod args;
mod catalog;
mod changing;
mod commands;
mod context;
mod download;
mod env_vars;
mod error;
mod hub;
mod keys;
mod laptop;
mod locking;
mod manifest;
mod output;
mod progress;
mod project;
mod provide;
mod push;
mod settings;
mod shell;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use args::Cli;
pub use args::reference_markdown;

use crate::context::Context;
use crate::env_vars::Variables;
use crate::error::Outcome;
use crate::output::{Printer, Talk};

/// Runs the command line to its end and returns the exit code.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and go to standard output.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let printer = Printer::new(if cli.global.quiet {
        Talk::Quiet
    } else {
        Talk::Normal
    });
    match dispatch(cli, printer).await {
        Ok(code) => code,
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error);
            error.exit_code()
        }
    }
}

async fn dispatch(cli: Cli, printer: Printer) -> Outcome<ExitCode> {
    let context = Context::new(&cli.global, Variables::of_process(), printer)?;
    commands::run(&context, cli.command).await
}
