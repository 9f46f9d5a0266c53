//! The commands: one file each.

pub(crate) mod controller;
mod crds;
pub(crate) mod install;
pub(crate) mod node;
pub(crate) mod on_host;
pub(crate) mod uninstall;

use std::io::Write as _;
use std::process::ExitCode;

use crate::args::{Arguments, Command};
use host::error::one_line;

/// Does what the command line says.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    // Two workers: one per processor wastes memory on large machines, and with one a long request blocks the probes.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.expect("the system has threads and an event queue");
    let Arguments { global, command } = arguments;
    let result = runtime.block_on(async {
        match command {
            Command::Controller(wish) => controller::run(&global, &wish).await,
            Command::Node(wish) => node::run(&global, &wish).await,
            Command::Install(wish) => install::run(&global, &wish).await,
            Command::Uninstall(wish) => uninstall::run(&global, &wish).await,
            Command::Crds => crds::run(),
            Command::OnHost(wish) => on_host::run(&wish),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to be done where even standard error is closed.
            writeln!(std::io::stderr(), "error: {}", one_line(&*error)).ok();
            ExitCode::FAILURE
        }
    }
}
