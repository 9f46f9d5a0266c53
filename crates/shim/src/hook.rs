//! The shim's side of an on-activate hook: what the container's init finds, and what it reports.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use rustix::fs::{CWD, Mode, chown, mkfifoat};
use rustix::process::{Gid, Uid};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, Take};
use tokio::net::unix::pipe;

use crate::spec::{self, HookMounts, User};

/// Beside the container's other files; the container sees it as [`spec::HOOK_FOLDER`].
const FOLDER: &str = "nival";
pub(crate) const HOOK: &str = "hook";
pub(crate) const SHELL: &str = "shell";
pub(crate) const REPORT: &str = "report";
const INIT: &str = "init";
/// The copy of the init's program, where one is needed.
const PROGRAM: &str = "program";
const SELF: &str = "/proc/self/exe";

/// The kernel takes at most 2 MiB of arguments and variables together by default.
const LARGEST_REPORT: u64 = 4 << 20;
/// Below the kubelet's two minutes for a start.
const DEADLINE: Duration = Duration::from_secs(110);

/// Why a hook keeps its container from starting.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    #[error("cannot lay out {} for the on-activate hook", path.display())]
    LayOut {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the on-activate hook of {pin} failed with status {status}: {lines}")]
    Failed {
        pin: String,
        status: i32,
        lines: String,
    },
    #[error("{message}")]
    Command { message: String },
    #[error(
        "the on-activate hook of {pin} did not end in {seconds} s: make it shorter, or move its work into the command"
    )]
    Slow { pin: String, seconds: u64 },
    #[error("the container ended while the on-activate hook of {pin} ran")]
    Ended { pin: String },
    #[error("the init of a container sent no valid report")]
    Report,
}

/// What the init in the container says before it becomes the command.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Report {
    /// The variables that the hook set and removed.
    Ready {
        set: Vec<(String, String)>,
        removed: Vec<String>,
    },
    /// The hook ended with a status other than 0.
    Failed { status: i32, lines: String },
    /// The command cannot be run.
    Command { message: String },
}

/// Ends a report: JSON never holds it.
pub(crate) const END: u8 = 0;

/// Lays out the folder for the init, and returns what the container mounts.
pub(crate) fn lay_out(
    bundle: &Path,
    hook: &str,
    shell: &str,
    user: User,
) -> Result<HookMounts, HookError> {
    let folder = bundle.join(FOLDER);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| HookError::LayOut { path, source }
    };
    if !folder.is_dir() {
        fs::create_dir(&folder).map_err(failed(&folder))?;
    }
    for (name, text) in [(HOOK, hook), (SHELL, shell), (INIT, "")] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(failed(&path))?;
    }
    let report = folder.join(REPORT);
    let made = mkfifoat(CWD, &report, Mode::from(0o600)).and_then(|()| {
        let owner = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        chown(&report, Some(owner.0), Some(owner.1))
    });
    made.map_err(|error| failed(&report)(error.into()))?;
    let init = init_program(&folder).map_err(failed(Path::new(SELF)))?;
    Ok(HookMounts {
        folder: folder.to_string_lossy().into_owned(),
        init: init.to_string_lossy().into_owned(),
    })
}

/// Returns a file with the program that this process runs: the one that it was started from, or, where an upgrade has
/// replaced that one, a copy of its own.
fn init_program(folder: &Path) -> std::io::Result<PathBuf> {
    let installed = std::env::current_exe()?;
    let identity = |path: &Path| {
        let file = fs::metadata(path)?;
        std::io::Result::Ok((file.dev(), file.ino()))
    };
    let own = identity(Path::new(SELF))?;
    if identity(&installed).is_ok_and(|found| found == own) {
        return Ok(installed);
    }
    let copy = folder.join(PROGRAM);
    fs::copy(SELF, &copy)?;
    Ok(copy)
}

/// Listens for the report of a container's init.
pub(crate) struct Listener(pipe::Receiver);

impl Listener {
    /// Opens the report's pipe, before the container can write to it.
    pub(crate) fn open(bundle: &Path) -> Result<Self, HookError> {
        let path = bundle.join(FOLDER).join(REPORT);
        // For writing as well, so that there is no end of the file while the init has not opened it.
        let receiver = pipe::OpenOptions::new()
            .read_write(true)
            .open_receiver(&path)
            .map_err(|source| HookError::LayOut { path, source })?;
        Ok(Self(receiver))
    }

    /// Waits until the hook has ended, and returns what it did to the variables. `patience` is the caller's.
    pub(crate) async fn wait(
        self,
        pin: &str,
        patience: Option<Duration>,
        ended: impl Future<Output = ()>,
    ) -> Result<Changes, HookError> {
        let pin = || pin.to_owned();
        let limit = patience.map_or(DEADLINE, |patience| patience.min(DEADLINE));
        let mut pipe = self.0.take(LARGEST_REPORT);
        let mut bytes = Vec::new();
        let read = async {
            let mut buffer = [0; 4096];
            loop {
                let count = pipe.read(&mut buffer).await.unwrap_or(0);
                bytes.extend_from_slice(&buffer[..count]);
                if count == 0 || buffer[..count].contains(&END) {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = read => {}
            // What the init wrote before it ended may be in the pipe without anybody having been woken yet.
            () = ended => if !read_rest(&pipe, &mut bytes) {
                return Err(HookError::Ended { pin: pin() });
            },
            () = tokio::time::sleep(limit) => {
                let seconds = limit.as_secs();
                return Err(HookError::Slow { pin: pin(), seconds });
            }
        }
        let text = bytes.split(|byte| *byte == END).next().unwrap_or(&[]);
        match serde_json::from_slice(text) {
            Ok(Report::Ready { set, removed }) => Ok(Changes { set, removed }),
            Ok(Report::Failed { status, lines }) => Err(HookError::Failed {
                pin: pin(),
                status,
                lines,
            }),
            Ok(Report::Command { message }) => Err(HookError::Command { message }),
            Err(_malformed) => Err(HookError::Report),
        }
    }
}

/// Reads what is in the pipe now, as far as a report may be long, and tells whether the report is whole. It asks the kernel
/// itself: Tokio reads only after an event.
fn read_rest(pipe: &Take<pipe::Receiver>, bytes: &mut Vec<u8>) -> bool {
    let mut left = usize::try_from(pipe.limit()).unwrap_or(usize::MAX);
    let mut buffer = [0; 4096];
    while left > 0 && !bytes.contains(&END) {
        let most = left.min(buffer.len());
        match rustix::io::read(pipe.get_ref(), &mut buffer[..most]) {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                bytes.extend_from_slice(&buffer[..count]);
                left -= count;
            }
        }
    }
    bytes.contains(&END)
}

/// What a hook did to the variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    set: Vec<(String, String)>,
    removed: Vec<String>,
}

impl Changes {
    /// Does the same to the variables of a process that is added later.
    pub(crate) fn apply(&self, variables: &mut Vec<String>) {
        for name in &self.removed {
            variables.retain(|variable| variable.split('=').next() != Some(name));
        }
        for (name, value) in &self.set {
            let valid = !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
            if valid {
                spec::set(variables, name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn own_user() -> User {
        User {
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
        }
    }

    async fn report(text: &str) -> Result<Changes, HookError> {
        report_before(text, std::future::pending()).await
    }

    /// The report is in the pipe when the wait begins.
    async fn report_before(
        text: &str,
        ended: impl Future<Output = ()>,
    ) -> Result<Changes, HookError> {
        let bundle = tempfile::tempdir().unwrap();
        lay_out(bundle.path(), "echo", "/bin/sh", own_user()).unwrap();
        let listener = Listener::open(bundle.path()).unwrap();
        let mut pipe = fs::OpenOptions::new()
            .write(true)
            .open(bundle.path().join(FOLDER).join(REPORT))
            .unwrap();
        pipe.write_all(text.as_bytes()).unwrap();
        listener.wait("acme/api:1", None, ended).await
    }

    #[tokio::test]
    async fn a_report_tells_what_the_hook_changed() {
        let changes =
            report("{\"ready\":{\"set\":[[\"A\",\"2\"],[\"B=\",\"x\"]],\"removed\":[\"C\"]}}\0")
                .await
                .unwrap();
        let mut variables: Vec<String> = ["A=1", "C=3", "D=4"].map(str::to_owned).into();
        changes.apply(&mut variables);
        assert_eq!(variables, ["A=2", "D=4"]);
    }

    #[tokio::test]
    async fn a_failed_hook_is_told_with_its_last_lines() {
        let error = report("{\"failed\":{\"status\":3,\"lines\":\"no database\"}}\0")
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the on-activate hook of acme/api:1 failed with status 3: no database"
        );
    }

    #[tokio::test]
    async fn an_init_that_ended_after_its_report_has_reported() {
        let failed = "{\"failed\":{\"status\":3,\"lines\":\"no database\"}}\0";
        let error = report_before(failed, std::future::ready(()))
            .await
            .unwrap_err();
        assert!(
            matches!(error, HookError::Failed { status: 3, .. }),
            "{error}"
        );
        let error = report_before("{\"failed\":", std::future::ready(()))
            .await
            .unwrap_err();
        assert!(matches!(error, HookError::Ended { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_report_that_is_none_is_refused_and_so_is_the_end_without_one() {
        assert!(matches!(report("hello\0").await, Err(HookError::Report)));
        let bundle = tempfile::tempdir().unwrap();
        lay_out(bundle.path(), "", "", own_user()).unwrap();
        let listener = Listener::open(bundle.path()).unwrap();
        let error = listener
            .wait("p", None, std::future::ready(()))
            .await
            .unwrap_err();
        assert!(matches!(error, HookError::Ended { .. }));
    }

    #[tokio::test]
    async fn a_hook_has_no_longer_than_its_caller_waits() {
        let bundle = tempfile::tempdir().unwrap();
        lay_out(bundle.path(), "", "", own_user()).unwrap();
        let listener = Listener::open(bundle.path()).unwrap();
        let patience = Some(Duration::ZERO);
        let error = listener
            .wait("acme/api:1", patience, std::future::pending())
            .await
            .unwrap_err();
        assert!(matches!(error, HookError::Slow { seconds: 0, .. }));
    }
}
