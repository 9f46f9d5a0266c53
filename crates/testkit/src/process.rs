//! Processes of the host that are nobody's children here.

use std::os::fd::OwnedFd;

use fs_err as fs;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::{DEADLINE, Failure};

/// A process whose number nobody else gets.
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

pub(crate) fn parent_of(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}
