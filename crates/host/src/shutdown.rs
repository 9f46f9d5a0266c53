//! The ends of a process: the wish to stop, as a token that every task can see, and a new process in its place.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use tokio::signal::unix::{SignalKind, signal as on_signal};
use tokio_util::sync::CancellationToken;

/// Returns a token that is cancelled by SIGTERM or SIGINT. A second signal ends the process at once.
///
/// # Panics
/// Outside a Tokio runtime, or where the system refuses signal handlers.
#[must_use]
pub fn signal() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    let mut terminate = on_signal(SignalKind::terminate()).expect("a handler for SIGTERM");
    let mut interrupt = on_signal(SignalKind::interrupt()).expect("a handler for SIGINT");
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if cancelled.is_cancelled() {
                tracing::warn!("second signal: stopping at once");
                #[expect(clippy::exit, reason = "the user asked twice and waits no longer")]
                std::process::exit(130);
            }
            tracing::info!("stopping");
            cancelled.cancel();
        }
    });
    token
}

/// Replaces this process by a new one of the same program, with the same arguments and environment, under the same number.
/// Returns only where that fails, with why.
#[must_use]
pub fn begin_anew() -> io::Error {
    let again = |program: &Path| {
        Command::new(program)
            .args(std::env::args_os().skip(1))
            .exec()
    };
    match std::env::current_exe() {
        // An upgrade has taken the program away; the kernel still has it.
        Ok(program) if !program.exists() => again(Path::new("/proc/self/exe")),
        Ok(program) => again(&program),
        Err(error) => error,
    }
}
