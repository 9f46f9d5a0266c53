//! `nival-agent`: the store as a node service.

mod agent;
mod answer;
mod args;
mod commands;
mod env_vars;
mod error;
mod fetches;
mod generations;
mod housekeeping;
mod hub;
mod leases;
mod metrics;
mod notes;
mod pointers;
mod ready;
mod records;
mod replace;
mod request;
mod revocations;
mod sandboxes;
mod service;
mod settings;
mod socket;
#[cfg(test)]
mod testing;

use std::process::ExitCode;

use clap::Parser as _;

/// Parses the command line, does what it says, and returns the exit code: 0 done, 1 not done, 2 wrong usage.
#[must_use]
pub fn run() -> ExitCode {
    commands::run(args::Arguments::parse())
}
