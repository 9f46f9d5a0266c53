//! The commands: one file each.

mod ask;
mod doctor;
mod serve;

use std::io::Write as _;
use std::process::ExitCode;

use crate::args::{Arguments, Command};
use host::error::one_line;

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Settings(#[from] crate::settings::SettingsError),
    #[error(transparent)]
    Agent(#[from] crate::error::AgentError),
    #[error(transparent)]
    Socket(#[from] crate::socket::SocketError),
    #[error("cannot start the HTTP client")]
    Http(#[from] reqwest::Error),
    #[error("cannot serve metrics on {address}")]
    Metrics {
        address: std::net::SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("no agent answers on {socket}: is nival-agent running there?")]
    NoAgent {
        socket: String,
        #[source]
        source: ttrpc::Error,
    },
    #[error("{0}")]
    Refused(String),
    #[error("cannot serve on the socket")]
    Serve(#[source] ttrpc::Error),
    #[error("cannot write the answer")]
    Output(#[from] std::io::Error),
    #[error("this machine lacks what is marked FAIL above")]
    Unfit,
    #[error("cannot begin anew with the changed configuration")]
    BeginAnew(#[source] std::io::Error),
}

/// Does what the command line says.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    // Two workers: one per processor wastes memory on large nodes, and with one a long request blocks the probes.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.expect("the system has threads and an event queue");
    let Arguments { global, command } = arguments;
    let result = runtime.block_on(async {
        match command {
            Command::Serve(serve) => serve::run(&global, &serve).await,
            Command::Status { json } => ask::status(&global, json).await,
            Command::Collect { dry_run } => ask::collect(&global, dry_run).await,
            Command::Prefetch { reference, system } => {
                ask::prefetch(&global, reference, system).await
            }
            Command::Doctor => doctor::run(&global).await,
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to be done where even standard error is closed.
            writeln!(std::io::stderr(), "error: {}", one_line(&error)).ok();
            ExitCode::FAILURE
        }
    }
}
