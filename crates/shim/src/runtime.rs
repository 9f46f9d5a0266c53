//! The OCI runtime that does the work: how it is called, and what its failures mean.

use std::ffi::OsString;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fs_err as fs;
use runc::options::GlobalOpts;
use runc::{Command, Io, Runc, Spawner};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::unix::pipe::Receiver;

use crate::error::{Error, Result, flatten};
use crate::options::RuntimeOptions;
use crate::reaper::Reaper;

/// Where runc keeps its state when the options do not say.
const DEFAULT_ROOT: &str = "/run/containerd/runc";
/// How much of the runtime's log is looked at for its last word.
const LOG_TAIL: u64 = 64 << 10;
/// How long output may still come after the runtime itself has ended.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// The OCI runtime for one container.
#[derive(Debug, Clone)]
pub(crate) struct Runtime {
    client: Runc,
    program: PathBuf,
    /// What stands before every verb.
    globals: Vec<OsString>,
    spawn: Arc<Spawn>,
    bundle: PathBuf,
    log: PathBuf,
}

impl Runtime {
    pub(crate) fn new(
        options: &RuntimeOptions,
        namespace: &str,
        bundle: &Path,
        reaper: Reaper,
    ) -> Result<Self> {
        let log = bundle.join("log.json");
        let name = options.binary();
        let missing = || Error::RuntimeMissing {
            name: name.to_owned(),
        };
        let program = runc::utils::binary_path(name).ok_or_else(missing)?;
        let spawn = Arc::new(Spawn(reaper));
        let mut builder = GlobalOpts::new()
            .command(&program)
            .root(root(options, namespace))
            .log(&log)
            .log_json()
            .systemd_cgroup(options.systemd_cgroup);
        builder.custom_spawner(spawn.clone());
        let client = builder.build().map_err(|_absent| missing())?;
        Ok(Self {
            client,
            program,
            globals: globals(options, namespace, &log),
            spawn,
            bundle: bundle.to_owned(),
            log,
        })
    }

    /// Runs a verb that reads JSON from a file. The client's typed form of it would drop fields that it does not
    /// know.
    pub(crate) async fn run_with_json(
        &self,
        verb: &'static str,
        json: &Value,
        file_option: &str,
        arguments: &[OsString],
        io: &dyn Io,
    ) -> Result<()> {
        let bundle = &self.bundle;
        // Readable by its owner alone: variables may be secrets.
        let file = tempfile::Builder::new()
            .prefix("nival-")
            .suffix(".json")
            .tempfile_in(bundle);
        let file = file.map_err(Error::path("write to", bundle))?;
        let bytes = serde_json::to_vec(json).map_err(|source| Error::Json {
            path: file.path().to_owned(),
            source,
        })?;
        fs::write(file.path(), bytes).map_err(Error::path("write", file.path()))?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.globals)
            .arg(verb)
            .arg(file_option)
            .arg(file.path())
            .args(arguments);
        command.env_remove("NOTIFY_SOCKET");
        let wired = io.set(&mut command).await;
        wired.map_err(|source| Error::Streams {
            verb: "pass on",
            source: source.into(),
        })?;
        let ran = self.spawn.execute(command).await;
        io.close_after_start().await;
        let result = ran.and_then(|(status, _, stdout, stderr)| {
            if status.success() {
                return Ok(());
            }
            Err(runc::error::Error::CommandFailed {
                status,
                stdout,
                stderr,
            })
        });
        result.map_err(self.failure(verb))
    }

    pub(crate) fn client(&self) -> &Runc {
        &self.client
    }

    /// Turns a failure into the runtime's own words.
    pub(crate) fn failure(&self, verb: &'static str) -> impl FnOnce(runc::error::Error) -> Error {
        let log = self.log.clone();
        move |error| {
            let message = match &error {
                runc::error::Error::CommandFailed { status, stderr, .. } => last_error(&log)
                    .or_else(|| stderr.lines().next_back().map(str::to_owned))
                    .unwrap_or_else(|| format!("it ended with {status} and said nothing")),
                other => other.to_string(),
            };
            Error::Runtime {
                verb,
                message: flatten(&message),
            }
        }
    }
}

/// Returns the folder where the runtime keeps its state for a namespace of containerd.
pub(crate) fn root(options: &RuntimeOptions, namespace: &str) -> PathBuf {
    let root = if options.root.is_empty() {
        DEFAULT_ROOT
    } else {
        &options.root
    };
    Path::new(root).join(namespace)
}

fn globals(options: &RuntimeOptions, namespace: &str, log: &Path) -> Vec<OsString> {
    let mut globals: Vec<OsString> = vec!["--root".into(), root(options, namespace).into()];
    globals.extend([
        "--log".into(),
        log.into(),
        "--log-format".into(),
        "json".into(),
    ]);
    if options.systemd_cgroup {
        globals.push("--systemd-cgroup".into());
    }
    globals
}

/// Returns the newest error of a runtime's log in JSON lines.
pub(crate) fn last_error(log: &Path) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    let mut file = fs::File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))
        .ok()?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut bytes).ok()?;
    String::from_utf8_lossy(&bytes)
        .lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok())
        .find(|line| matches!(line.level.as_str(), "error" | "fatal" | "panic"))
        .map(|line| line.msg)
}

/// Starts the runtime so that the reaper, and nobody else, waits for it.
#[derive(Debug)]
struct Spawn(Reaper);

#[async_trait]
impl Spawner for Spawn {
    async fn execute(
        &self,
        mut command: Command,
    ) -> runc::Result<(ExitStatus, u32, String, String)> {
        let (mut child, exit) = self
            .0
            .spawn(command.as_std_mut())
            .map_err(runc::error::Error::ProcessSpawnFailed)?;
        // The command holds the container's ends of its pipes.
        drop(command);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let stdout = child.stdout.take().map(std::os::fd::OwnedFd::from);
        let stderr = child.stderr.take().map(std::os::fd::OwnedFd::from);
        let exit = {
            let mut output = pin!(async {
                tokio::join!(read_all(stdout, &mut out), read_all(stderr, &mut err));
            });
            let mut exit = exit;
            tokio::select! {
                () = &mut output => exit.await,
                exit = &mut exit => {
                    // A child of the runtime may hold the pipes open; its words are not waited for.
                    tokio::time::timeout(OUTPUT_GRACE, output).await.ok();
                    exit
                }
            }
        };
        let exit = exit.map_err(|_closed| {
            let gone = std::io::Error::other("the shim stopped waiting for its children");
            runc::error::Error::InvalidCommand(gone)
        })?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((
            ExitStatus::from_raw(exit.raw),
            child.id(),
            text(out),
            text(err),
        ))
    }
}

async fn read_all(pipe: Option<std::os::fd::OwnedFd>, bytes: &mut Vec<u8>) {
    let Some(mut pipe) = pipe.and_then(|pipe| Receiver::from_owned_fd(pipe).ok()) else {
        return;
    };
    read_to_end(&mut pipe, bytes).await;
}

async fn read_to_end(from: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) {
    // A broken pipe ends the output as its end does.
    from.read_to_end(bytes).await.ok();
}

/// Runs the runtime to its end, in processes that have no reaper.
pub(crate) fn run_once(
    options: &RuntimeOptions,
    namespace: &str,
    log: &Path,
    arguments: &[&str],
) -> std::io::Result<std::process::Output> {
    std::process::Command::new(options.binary())
        .args(globals(options, namespace, log))
        .args(arguments)
        .stdin(Stdio::null())
        .env_remove("NOTIFY_SOCKET")
        .output()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtimes_last_error_is_found_among_its_log_lines() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log.json");
        fs::write(
            &log,
            "{\"level\":\"error\",\"msg\":\"first\"}\nno json\n{\"level\":\"error\",\"msg\":\"exec: \\\"nope\\\": not found\"}\n{\"level\":\"info\",\"msg\":\"later\"}\n",
        )
        .unwrap();
        assert_eq!(last_error(&log).unwrap(), "exec: \"nope\": not found");
        assert!(last_error(&folder.path().join("absent")).is_none());
    }

    #[test]
    fn state_is_kept_apart_by_namespace() {
        let mut options = RuntimeOptions::default();
        assert_eq!(
            root(&options, "k8s.io"),
            Path::new("/run/containerd/runc/k8s.io")
        );
        options.root = "/run/other".into();
        assert_eq!(root(&options, "x"), Path::new("/run/other/x"));
    }
}
