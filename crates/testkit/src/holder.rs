//! Processes that keep namespaces alive, and die with whoever started them.

use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use fs_err as fs;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::{DEADLINE, Failure};

/// A process that keeps namespaces alive.
#[derive(Debug)]
pub(crate) struct Holder(Child);

impl Holder {
    /// Returns the process inside the namespaces that `unshare --fork` made.
    pub(crate) fn inside(&self) -> Result<u32, Failure> {
        let process = self.0.id();
        let first = children_of(process).first().copied();
        first.ok_or_else(|| {
            Failure::Text(format!(
                "process {process} has no child: the machine is gone"
            ))
        })
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may be dead already; then there is nothing to end.
        self.0.kill().and_then(|()| self.0.wait()).ok();
    }
}

/// Starts a holder and waits until it says that it is ready. It dies with whoever started it, however that ends.
pub(crate) fn hold(command: &Command) -> Result<Holder, Failure> {
    let mut bound = Command::new("setpriv");
    bound
        .args(["--pdeathsig", "KILL"])
        .arg(command.get_program())
        .args(command.get_args());
    let mut child = bound
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdout = child
        .stdout
        .take()
        .ok_or_else(|| Failure::Text("no pipe".to_owned()))?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line.trim() == "ready" {
        return Ok(Holder(child));
    }
    let output = child.wait_with_output()?;
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure::Text(format!(
        "a machine did not start: {line}{talk}"
    )))
}

/// A process that is somebody else's child.
#[derive(Debug)]
pub(crate) struct Held {
    number: u32,
    descriptor: OwnedFd,
}

impl Held {
    /// Returns it, if it is there.
    pub(crate) fn new(number: u32) -> Option<Self> {
        let process = Pid::from_raw(number.try_into().ok()?)?;
        let descriptor = pidfd_open(process, PidfdFlags::empty()).ok()?;
        Some(Self { number, descriptor })
    }

    pub(crate) fn kill(&self) {
        // It may be dead already; then there is nothing to end.
        pidfd_send_signal(&self.descriptor, Signal::KILL).ok();
    }

    /// Waits until all of it is gone, also the ports that it listens on: what it was in `/proc` vanishes before.
    pub(crate) fn wait(&self) -> Result<(), Failure> {
        let mut ended = [PollFd::new(&self.descriptor, PollFlags::IN)];
        let deadline = Timespec::try_from(DEADLINE).ok();
        loop {
            match poll(&mut ended, deadline.as_ref()) {
                Ok(0) => {
                    return Err(Failure::Text(format!(
                        "process {} was killed and has not ended within {DEADLINE:?}",
                        self.number
                    )));
                }
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(Failure::Io(error.into())),
            }
        }
    }
}

pub(crate) fn children_of(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}
