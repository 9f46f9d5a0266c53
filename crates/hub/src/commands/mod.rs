//! The commands: one file per verb.

mod audit;
mod serve;
mod token;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::args::{Arguments, Command, Global};
use crate::config::{ConfigError, ConfigFile, Settings};
use crate::db::Database;
use crate::error::{HubError, with_causes};

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The hub's own parts failed.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Another hub runs on the same data.
    #[error("another nival-hub serves {}; stop it, or use another --data", data.display())]
    InUse {
        /// The folder of data.
        data: PathBuf,
        /// What the lock said.
        #[source]
        source: host::lock::LockError,
    },
    /// The address is not to be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Others may enter the folder of data, and it may hold what is theirs.
    #[error(
        "the folder of data {} may be entered by others (mode {mode:o}) and is neither empty nor a hub's: \
         use `chmod 700` if it is meant for the hub alone, or another --data",
        data.display()
    )]
    OpenFolder {
        /// The folder.
        data: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// There is no such token.
    #[error("there is no token {id} that could be revoked; `nival-hub token list` shows them")]
    NoToken {
        /// What was asked for.
        id: String,
    },
}

pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error),
    };
    let outcome = runtime.block_on(async {
        let file = ConfigFile::load(arguments.global.config.as_deref())?;
        match arguments.command {
            Command::Serve(options) => serve::run(file, &arguments.global, options).await,
            Command::Token(verb) => token::run(&settings(file, &arguments.global)?, verb).await,
            Command::Audit(options) => {
                audit::run(&settings(file, &arguments.global)?, &options).await
            }
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough is no failure.
        Err(CommandError::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => complain(&error),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the one place that tells a person why a command failed"
)]
fn complain(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {}", with_causes(error));
    ExitCode::FAILURE
}

/// Returns the settings: flag or variable, then file, then default.
fn settings(mut file: ConfigFile, global: &Global) -> Result<Settings, ConfigError> {
    if let Some(data) = &global.data {
        file.data = Some(data.clone());
    }
    file.decide(data_home())
}

fn data_home() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
}

/// Opens the database, also beside a running server.
async fn open_database(settings: &Settings) -> Result<Database, CommandError> {
    make_data_folder(settings)?;
    Ok(Database::open(&settings.database()).await?)
}

/// The folder is its owner's alone: it holds private environments and, at first, the admin token.
///
/// One that was made before is closed to others too, unless it may hold what is not the hub's: `--data /srv` must not lock
/// everybody else out of `/srv`.
fn make_data_folder(settings: &Settings) -> Result<(), CommandError> {
    use std::os::unix::fs::PermissionsExt as _;
    let data = &settings.data;
    fs_err::create_dir_all(data)?;
    let mode = fs_err::metadata(data)?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    if !settings.database().exists() && fs_err::read_dir(data)?.next().is_some() {
        return Err(CommandError::OpenFolder {
            data: data.clone(),
            mode,
        });
    }
    fs_err::set_permissions(data, std::fs::Permissions::from_mode(0o700))?;
    tracing::info!(data = %data.display(), "closed the folder of data to others");
    Ok(())
}

fn print(text: &str) -> Result<(), CommandError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

fn print_json(value: &impl Serialize) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::other)?;
    print(&format!("{text}\n"))
}
