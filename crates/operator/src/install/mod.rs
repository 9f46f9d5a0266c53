//! Puts Nival on a machine, and takes it off again: the shim, and containerd's handler for it.

mod attempt;
mod config;
mod edit;
mod handler;
mod machine;
mod plan;
mod preset;
mod programs;
mod record;
mod restart;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::containerd::{Containerd, ContainerdError};
use attempt::Attempt;
use config::ConfigError;
use edit::EditError;
use host::error::one_line;
pub(crate) use machine::Host;
use plan::Change;
pub(crate) use preset::{Overrides, Places, Preset, PresetError};
pub(crate) use programs::{ProgramsError, remove_unused};
use record::Record;
pub(crate) use restart::Restart;
use restart::RestartError;
use workload::names::RUNTIME_CLASS;

/// Why an installation did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Preset(#[from] PresetError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    #[error(
        "cannot tell which containerd runs here: start it, or say its version with --containerd-version"
    )]
    Version(#[source] ContainerdError),
    #[error("containerd {version} is too old: Nival needs 1.7 or later")]
    TooOld { version: String },
    #[error("cannot write containerd's configuration{}", hint(.0))]
    Write(#[source] std::io::Error),
    #[error("{reason}; the old configuration is back{}", again.as_deref().unwrap_or_default())]
    TakenBack {
        reason: String,
        again: Option<String>,
    },
    #[error(
        "{reason}; the old configuration is back, and the same is not tried again within an hour: mend what was wrong, \
         or remove {} to have it tried at once",
        attempt::FILE
    )]
    TriedBefore { reason: String },
    #[error(transparent)]
    Kernel(#[from] host::kernel::TooOld),
    #[error(
        "SELinux is enforced here and containerd labels containers (enable_selinux = true): containers could execute \
         nothing of an environment. Nival does not support that yet"
    )]
    Labels,
    #[error(transparent)]
    Restart(#[from] RestartError),
    #[error(
        "{}; without the handler nothing more could be done to them, so it stays: delete them and try again",
        run_by(pods)
    )]
    PodsRun { pods: Vec<String> },
    #[error("cannot tell which pods run by Nival")]
    Pods(#[source] ContainerdError),
    #[error("cannot give containerd the placeholder image")]
    Placeholder(#[source] ContainerdError),
}

/// Names a few pods and counts the others.
fn run_by(pods: &[String]) -> String {
    const NAMED: usize = 3;
    let named = pods[..pods.len().min(NAMED)].join(", ");
    match pods.len() {
        1 => format!("the pod {named} runs by Nival"),
        count if count <= NAMED => format!("the pods {named} run by Nival"),
        count => format!("the pods {named} and {} more run by Nival", count - NAMED),
    }
}

fn hint(error: &std::io::Error) -> &'static str {
    if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem {
        " (the machine's root is read-only, as on Talos Linux, where Nival's system extension brings what is needed)"
    } else {
        ""
    }
}

/// What is to be done to a machine.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) host: Host,
    pub(crate) places: Places,
    /// What a person said of containerd's version.
    pub(crate) version: Option<String>,
    pub(crate) restart: Restart,
    /// How long containerd may take to come back.
    pub(crate) patience: Duration,
}

impl Installation {
    /// Puts the shim and the handler on the machine. Where both are there, nothing is changed or restarted.
    pub(crate) async fn install(&self, shim: &Path) -> Result<(), Failure> {
        host::kernel::check()?;
        let version = self.containerd_version().await?;
        let changes = plan::install(&self.host, &self.places, &version)?;
        if programs::place(&self.host, shim)? {
            tracing::info!("the shim is in place: new pods get it, running ones keep theirs");
        }
        if self.restart == Restart::None {
            self.write(&changes)?;
            if !changes.is_empty() {
                tracing::warn!("containerd has to be restarted for the new configuration");
            }
            return Ok(());
        }
        if changes.is_empty() && restart::has_handler(&self.socket()).await.unwrap_or(false) {
            tracing::info!(version, "everything is in place");
            return self.bring_placeholder().await;
        }
        let how = format!("{:?}, {:?}", self.places, self.patience);
        if let Some(last) = Attempt::last(&self.host, &version, &changes, &how) {
            let reason = last.reason;
            return Err(Failure::TriedBefore { reason });
        }
        // Before anything is written: what nobody can restart is not changed.
        let unit = restart::unit(&self.host, &self.places).await?;
        let earlier = Record::read(&self.host);
        let record = self.write(&changes)?;
        let Err(error) = self.restart(&unit, true).await else {
            tracing::info!(version, "containerd has the handler");
            Attempt::forget(&self.host).map_err(Failure::Write)?;
            return self.bring_placeholder().await;
        };
        if changes.is_empty() {
            return Err(error.into());
        }
        record::revert(&self.host, &changes).map_err(Failure::Write)?;
        record
            .give_up_for(&self.host, &earlier)
            .map_err(Failure::Write)?;
        let reason = one_line(&error);
        Attempt::failed(&self.host, &version, changes, how, reason.clone())
            .map_err(Failure::Write)?;
        let again = self.restart(&unit, false).await.err();
        Err(Failure::TakenBack {
            reason,
            again: again.map(|error| format!(", but {}", one_line(&error))),
        })
    }

    /// Makes changes, after it was written down what was there before.
    fn write(&self, changes: &[Change]) -> Result<Record, Failure> {
        let mut record = Record::read(&self.host);
        if changes.is_empty() {
            return Ok(record);
        }
        record.add(&self.host, changes).map_err(Failure::Write)?;
        record::apply(&self.host, changes).map_err(|error| {
            // What was not written needs no taking back, and what cannot be written cannot be taken back.
            record::revert(&self.host, changes).ok();
            Failure::Write(error)
        })?;
        for change in changes {
            tracing::info!(file = %change.path.display(), "written");
        }
        Ok(record)
    }

    /// The node's neighbour looks for it all the time; with it here the node is ready at once.
    async fn bring_placeholder(&self) -> Result<(), Failure> {
        let bring = async {
            let containerd = Containerd::connect(&self.socket()).await?;
            containerd.ensure_placeholder().await
        };
        bring.await.map(drop).map_err(Failure::Placeholder)
    }

    /// Takes the handler and the shim away, where no pod runs by them.
    pub(crate) async fn uninstall(&self) -> Result<(), Failure> {
        let ask = async {
            let containerd = Containerd::connect(&self.socket()).await?;
            containerd.pods_of(RUNTIME_CLASS).await
        };
        match ask.await {
            Ok(pods) if !pods.is_empty() => return Err(Failure::PodsRun { pods }),
            // Where containerd is not to be restarted, it need not run.
            Err(error) if self.restart == Restart::Systemd => return Err(Failure::Pods(error)),
            _ => {}
        }
        let version = self.containerd_version().await?;
        let record = Record::read(&self.host);
        let changes = plan::uninstall(&self.host, &self.places, &version, &record)?;
        record::apply(&self.host, &changes).map_err(Failure::Write)?;
        for change in &changes {
            tracing::info!(file = %change.path.display(), "put back");
        }
        let running = restart::has_handler(&self.socket()).await.unwrap_or(false);
        // Where an earlier attempt came only so far, nothing is left to write; what others have registered stays.
        let ours = !changes.is_empty() || running && !record.files.is_empty();
        if self.restart == Restart::Systemd && ours {
            let unit = restart::unit(&self.host, &self.places).await?;
            self.restart(&unit, false).await?;
        }
        record.forget(&self.host).map_err(Failure::Write)?;
        Attempt::forget(&self.host).map_err(Failure::Write)?;
        programs::remove(&self.host).map_err(ProgramsError::from)?;
        Ok(())
    }

    async fn restart(&self, unit: &str, wanted: bool) -> Result<(), RestartError> {
        restart::restart(&self.host, unit).await?;
        restart::wait(&self.host, &self.places, wanted, self.patience).await
    }

    /// Returns containerd's socket as this process sees it.
    pub(crate) fn socket(&self) -> PathBuf {
        self.host.path(&self.places.socket)
    }

    async fn containerd_version(&self) -> Result<String, Failure> {
        let version = match &self.version {
            Some(version) => version.clone(),
            None => {
                let ask = async { Containerd::connect(&self.socket()).await?.version().await };
                ask.await.map_err(Failure::Version)?
            }
        };
        let mut numbers = version.split('.').map(str::parse::<u64>);
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        if (next(), next()) < (1, 7) {
            return Err(Failure::TooOld { version });
        }
        Ok(version)
    }
}
