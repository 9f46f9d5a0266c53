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
mod k8s;
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

use clap::Parser;

pub use args::reference_markdown;
use args::{Cli, GlobalArgs};
pub use k8s::run_plugin;

use crate::context::Context;
use crate::env_vars::Variables;
use crate::error::Outcome;
use crate::output::{Printer, Talk};

/// Runs the command line to its end and returns the exit code.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match parse::<Cli>(arguments) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let global = cli.global.clone();
    finish(&global, async |printer| dispatch(cli, printer).await).await
}

/// Reads a command line; help, version and what is wrong with it are told, and the exit code is returned.
fn parse<C: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<C, ExitCode> {
    C::try_parse_from(arguments).map_err(|error| {
        // Help and version come this way too, and go to standard output.
        drop(error.print());
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// Runs what a command line asks for, and tells of its failure.
async fn finish(
    global: &GlobalArgs,
    work: impl AsyncFnOnce(Printer) -> Outcome<ExitCode>,
) -> ExitCode {
    let printer = Printer::new(if global.quiet {
        Talk::Quiet
    } else {
        Talk::Normal
    });
    match work(printer).await {
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
