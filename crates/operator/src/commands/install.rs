//! `nival-operator install`: the shim and containerd's configuration on a node.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::args::Global;
use crate::containerd::Containerd;
use crate::error::Failure;
use crate::install::{Host, Installation, Overrides, Preset, PresetError, Restart};

/// The shim, as the operator's image has it: beside this program.
const SHIM: &str = "containerd-shim-nival-v2";

/// Options of `install`.
#[derive(Debug, Args)]
pub(crate) struct Install {
    /// What is said of the machine
    #[command(flatten)]
    machine: Machine,
    /// The shim to place [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    shim: Option<PathBuf>,
    /// Takes Nival off the machine instead
    #[arg(long)]
    remove: bool,
}

/// Which machine, and how its containerd is set up.
#[derive(Debug, Args)]
pub(crate) struct Machine {
    /// Where the machine's root is mounted
    #[arg(long, value_name = "FOLDER", default_value = "/")]
    pub(crate) host: PathBuf,
    /// How the machine's containerd is set up
    #[arg(long, value_name = "NAME", value_enum, default_value_t = Preset::Auto)]
    preset: Preset,
    /// Who restarts containerd where its configuration has changed
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Restart::Systemd)]
    restart: Restart,
    /// How long containerd may take to come back
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    containerd_deadline: u64,
    /// containerd's version, where it does not run
    #[arg(long, value_name = "VERSION")]
    containerd_version: Option<String>,
    /// The file that containerd reads, in place of the preset's
    #[arg(long, value_name = "FILE")]
    containerd_config: Option<PathBuf>,
    /// containerd's socket, in place of the preset's
    #[arg(long, value_name = "FILE")]
    containerd_socket: Option<PathBuf>,
    /// The service that runs containerd, in place of the preset's
    #[arg(long, value_name = "UNIT")]
    containerd_unit: Option<String>,
}

impl Machine {
    /// Returns the same for who writes nothing at first: on Talos the extension has brought everything.
    pub(crate) fn installation_or_extension(&self) -> Result<Installation, PresetError> {
        self.installation_of(match self.installation() {
            Err(PresetError::Talos) => Preset::Containerd,
            _ => self.preset,
        })
    }

    /// Returns what is to be done to it.
    fn installation(&self) -> Result<Installation, PresetError> {
        self.installation_of(self.preset)
    }

    fn installation_of(&self, preset: Preset) -> Result<Installation, PresetError> {
        let host = Host::new(&self.host);
        let said = Overrides {
            config: self.containerd_config.clone(),
            socket: self.containerd_socket.clone(),
            unit: self.containerd_unit.clone(),
        };
        Ok(Installation {
            places: preset.places(&host, said)?,
            host,
            version: self.containerd_version.clone(),
            restart: self.restart,
            patience: Duration::from_secs(self.containerd_deadline),
        })
    }
}

/// Runs to its end.
pub(crate) async fn run(global: &Global, wish: &Install) -> Result<(), Failure> {
    host::telemetry::init(None, global.log_json);
    let installation = match wish.machine.installation() {
        Ok(installation) => installation,
        // Nothing can be written there, and nothing has to be where the extension is.
        Err(PresetError::Talos) if wish.remove || extended(&wish.machine).await => {
            tracing::info!("the system extension has brought everything");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    if wish.remove {
        return Ok(installation.uninstall().await?);
    }
    let shim = match &wish.shim {
        Some(shim) => shim.clone(),
        None => std::env::current_exe()?.with_file_name(SHIM),
    };
    Ok(installation.install(&shim).await?)
}

/// Tells whether containerd has the handler already, whoever has registered it.
async fn extended(machine: &Machine) -> bool {
    let ask = async {
        let socket = machine.installation_or_extension()?.socket();
        let containerd = Containerd::connect(&socket).await?;
        let handler = containerd.handler(workload::names::RUNTIME_CLASS).await?;
        Ok::<_, Failure>(handler.is_some())
    };
    ask.await.unwrap_or(false)
}
