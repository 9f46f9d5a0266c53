//! Restarting containerd, and waiting until it is back.

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use host::error::one_line;
use host::process::ProcessError;
use tokio::time::{Instant, sleep};
use workload::names::RUNTIME_CLASS;

use super::machine::Host;
use super::preset::Places;
use crate::containerd::{Containerd, ContainerdError};

/// How often it is asked whether it is back.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Who restarts containerd where its configuration has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Restart {
    /// The installer, by systemd
    Systemd,
    /// Somebody else
    None,
}

/// Why containerd is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestartError {
    #[error("none of the services {units} runs on this machine: name it with --containerd-unit")]
    NoUnit { units: String },
    #[error("{unit} does not restart")]
    Restart {
        unit: String,
        #[source]
        source: ProcessError,
    },
    #[error("containerd did not come up with the new configuration in {seconds} s: {last}")]
    Late { seconds: u64, last: String },
}

/// Returns the service that runs containerd.
pub(crate) async fn unit(host: &Host, places: &Places) -> Result<String, RestartError> {
    let (host, units) = (host.clone(), places.units.clone());
    blocking(move || {
        let active = |unit: &&String| {
            host.run("systemctl", &["--quiet", "is-active", unit])
                .is_ok()
        };
        let found = units.iter().find(active).cloned();
        found.ok_or_else(|| RestartError::NoUnit {
            units: units.join(", "),
        })
    })
    .await
}

/// Restarts it. Its pods go on: they are children of their shims, not of the service.
pub(crate) async fn restart(host: &Host, unit: &str) -> Result<(), RestartError> {
    let (host, unit) = (host.clone(), unit.to_owned());
    tracing::info!(unit, "restarting containerd");
    blocking(move || {
        host.run("systemctl", &["restart", &unit])
            .map_err(|source| RestartError::Restart { unit, source })
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Waits until containerd answers and has the handler, or has it no more.
pub(crate) async fn wait(
    host: &Host,
    places: &Places,
    wanted: bool,
    patience: Duration,
) -> Result<(), RestartError> {
    let socket = host.path(&places.socket);
    let end = Instant::now() + patience;
    loop {
        let last = match has_handler(&socket).await {
            Ok(found) if found == wanted => return Ok(()),
            Ok(true) => format!("it still has the handler {RUNTIME_CLASS}"),
            Ok(false) => format!("it has no handler {RUNTIME_CLASS}"),
            Err(error) => one_line(&error),
        };
        if Instant::now() > end {
            let seconds = patience.as_secs();
            return Err(RestartError::Late { seconds, last });
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Tells whether a running containerd has the handler.
pub(crate) async fn has_handler(socket: &Path) -> Result<bool, ContainerdError> {
    let containerd = Containerd::connect(socket).await?;
    Ok(containerd.handler(RUNTIME_CLASS).await?.is_some())
}
