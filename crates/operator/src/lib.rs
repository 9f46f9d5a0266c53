//! `nival-operator`: points workloads at generations, and looks after the nodes that run them.

mod admission;
mod again;
mod args;
mod certificates;
mod commands;
mod containerd;
mod env_vars;
mod environments;
mod error;
mod http;
mod install;
mod leader;
mod node;
mod resolve;
mod rollouts;
mod settings;

use std::process::ExitCode;

use clap::Parser as _;

/// Parses the command line, does what it says, and returns the exit code: 0 done, 1 not done, 2 wrong usage.
#[must_use]
pub fn run() -> ExitCode {
    commands::run(args::Arguments::parse())
}
