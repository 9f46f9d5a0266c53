//! `nival-hub`: environments, generations and a Nix binary cache per owner.

mod app;
mod args;
mod auth;
mod body;
mod commands;
mod config;
mod db;
mod env_vars;
mod error;
mod metrics;
mod oidc;
mod owner;
mod patience;
mod random;
mod routes;
mod server;
mod storage;
mod time;
mod turn;
mod waiting;

use std::process::ExitCode;

use clap::Parser as _;

/// Parses the command line, does what it says, and returns the exit code: 0 done, 1 not done, 2 wrong usage.
#[must_use]
pub fn run() -> ExitCode {
    commands::run(args::Arguments::parse())
}
