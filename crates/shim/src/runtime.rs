//! The OCI runtime that does the work: how it is called, and what its failures mean.

use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use fs_err as fs;
use runc::{Command, Io};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::unix::pipe::Receiver;

use crate::error::{Error, Result, flatten};
use crate::options::RuntimeOptions;
use crate::reaper::Reaper;
use crate::stdio::Captured;

/// Where runc keeps its state when the options do not say.
const DEFAULT_ROOT: &str = "/run/containerd/runc";
/// How much of the runtime's log is looked at for its last word.
const LOG_TAIL: u64 = 64 << 10;
/// How long output may still come after the runtime itself has ended.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// The OCI runtime for one container.
#[derive(Debug, Clone)]
pub(crate) struct Runtime {
    program: PathBuf,
    /// What stands before every verb, but for the log.
    globals: Vec<OsString>,
    bundle: PathBuf,
    reaper: Reaper,
}

impl Runtime {
    pub(crate) fn new(
        options: &RuntimeOptions,
        namespace: &str,
        bundle: &Path,
        reaper: Reaper,
    ) -> Result<Self> {
        let name = options.binary();
        let missing = || Error::RuntimeMissing {
            name: name.to_owned(),
        };
        Ok(Self {
            program: runc::utils::binary_path(name).ok_or_else(missing)?,
            globals: globals(options, namespace),
            bundle: bundle.to_owned(),
            reaper,
        })
    }

    /// Runs a verb on a container and returns what it printed.
    ///
    /// A runtime that still runs when the caller no longer waits is killed.
    pub(crate) async fn run<A: AsRef<OsStr> + Sync>(
        &self,
        verb: &'static str,
        arguments: &[A],
    ) -> Result<String> {
        self.run_with(verb, arguments, &Captured).await
    }

    /// Runs a verb that makes a process with these streams.
    pub(crate) async fn run_with<A: AsRef<OsStr> + Sync>(
        &self,
        verb: &'static str,
        arguments: &[A],
        io: &dyn Io,
    ) -> Result<String> {
        let log = Log::new().map_err(Error::path("make", "a log for the OCI runtime"))?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.globals)
            .args(["--log-format", "json", "--log"])
            .arg(log.path())
            .arg(verb)
            .args(arguments)
            // Means something to runc that only systemd should ask for.
            .env_remove("NOTIFY_SOCKET");
        let wired = io.set(&mut command).await;
        wired.map_err(|source| Error::Streams {
            verb: "pass on",
            source: source.into(),
        })?;
        let ended = self.execute(verb, command).await;
        io.close_after_start().await;
        let ended = ended?;
        if ended.status.success() {
            return Ok(ended.output);
        }
        let said = |text: &str| text.lines().next_back().map(str::to_owned);
        let message = log
            .last_error()
            .or_else(|| said(&ended.complaints))
            .unwrap_or_else(|| format!("it ended with {} and said nothing", ended.status));
        Err(Error::Runtime {
            verb,
            message: flatten(&message),
        })
    }

    /// Runs a verb that reads JSON from a file.
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
        let mut all: Vec<&OsStr> = vec![file_option.as_ref(), file.path().as_os_str()];
        all.extend(arguments.iter().map(OsString::as_os_str));
        self.run_with(verb, &all, io).await.map(drop)
    }

    /// Sends a signal to the first process, or to all.
    pub(crate) async fn kill(&self, id: &str, signal: u32, all: bool) -> Result<()> {
        let signal = signal.to_string();
        let mut arguments = vec![id, &signal];
        if all {
            arguments.insert(0, "--all");
        }
        self.run("kill", &arguments).await.map(drop)
    }

    /// Starts the runtime so that the reaper, and nobody else, waits for it.
    async fn execute(&self, verb: &'static str, mut command: Command) -> Result<Ended> {
        let failed = |error: std::io::Error| Error::Runtime {
            verb,
            message: flatten(&format!("cannot run {}: {error}", self.program.display())),
        };
        let spawned = self.reaper.spawn(command.as_std_mut());
        let (mut child, exit) = spawned.map_err(failed)?;
        // The command holds the container's ends of its pipes.
        drop(command);
        let running = Running {
            reaper: &self.reaper,
            pid: child.id().cast_signed(),
        };
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
        drop(running);
        let exit = exit.map_err(|_closed| {
            failed(std::io::Error::other(
                "the shim stopped waiting for its children",
            ))
        })?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Ended {
            status: ExitStatus::from_raw(exit.raw),
            output: text(out),
            complaints: text(err),
        })
    }
}

struct Ended {
    status: ExitStatus,
    output: String,
    complaints: String,
}

/// Kills the runtime when nobody waits for it any more.
struct Running<'a> {
    reaper: &'a Reaper,
    pid: i32,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // It has ended, as a rule.
        self.reaper.signal(self.pid, Signal::KILL).ok();
    }
}

/// What one command of the runtime has to say. In memory, so that a full disk does not silence it, and its own, so
/// that nobody else's words are taken for it.
struct Log(fs::File);

impl Log {
    fn new() -> std::io::Result<Self> {
        let memory = memfd_create("nival-runtime-log", MemfdFlags::CLOEXEC)?;
        Ok(Self(fs::File::from_parts(memory.into(), "runtime log")))
    }

    /// A path under which the runtime, a child of this process, can open it.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Returns the newest error among its lines in JSON.
    fn last_error(mut self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Line {
            level: String,
            msg: String,
        }
        let length = self.0.metadata().ok()?.len();
        let start = SeekFrom::Start(length.saturating_sub(LOG_TAIL));
        self.0.seek(start).ok()?;
        let mut bytes = Vec::new();
        self.0.take(LOG_TAIL).read_to_end(&mut bytes).ok()?;
        String::from_utf8_lossy(&bytes)
            .lines()
            .rev()
            .filter_map(|line| serde_json::from_str::<Line>(line).ok())
            .find(|line| matches!(line.level.as_str(), "error" | "fatal" | "panic"))
            .map(|line| line.msg)
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

fn globals(options: &RuntimeOptions, namespace: &str) -> Vec<OsString> {
    let mut globals: Vec<OsString> = vec!["--root".into(), root(options, namespace).into()];
    if options.systemd_cgroup {
        globals.push("--systemd-cgroup".into());
    }
    globals
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
    arguments: &[&str],
) -> std::io::Result<std::process::Output> {
    std::process::Command::new(options.binary())
        .args(globals(options, namespace))
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
        let said = |text: &str| {
            let log = Log::new().unwrap();
            fs::write(log.path(), text).unwrap();
            log.last_error()
        };
        let lines = "{\"level\":\"error\",\"msg\":\"first\"}\nno json\n{\"level\":\"error\",\"msg\":\"exec: \\\"nope\\\": not found\"}\n{\"level\":\"info\",\"msg\":\"later\"}\n";
        assert_eq!(said(lines).unwrap(), "exec: \"nope\": not found");
        assert!(said("").is_none());
    }

    #[tokio::test]
    async fn only_what_a_command_says_itself_is_its_error() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("runtime");
        // Its verb comes after `--root R --log-format json --log L`.
        let script = "#!/bin/sh\nif [ $7 = create ]; then echo '{\"level\":\"error\",\"msg\":\"no such image\"}' > $6; fi\nexit 3\n";
        fs::write(&program, script).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&program, mode).unwrap();
        let options = RuntimeOptions {
            binary_name: program.display().to_string(),
            ..RuntimeOptions::default()
        };
        let reaper = Reaper::default();
        let reaping = tokio::spawn(reaper.clone().run());
        let runtime = Runtime::new(&options, "x", folder.path(), reaper).unwrap();
        let create = runtime.run("create", &["c"]).await.unwrap_err();
        assert_eq!(
            create.to_string(),
            "OCI runtime create failed: no such image"
        );
        let kill = runtime.kill("c", 9, false).await.unwrap_err();
        assert_eq!(
            kill.to_string(),
            "OCI runtime kill failed: it ended with exit status: 3 and said nothing"
        );
        reaping.abort();
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
