//! The one place that waits for children: of the shim, and of the containers that it adopts as their subreaper.

use std::collections::HashMap;
use std::io;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use log::warn;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// How and when a process ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exit {
    /// As `waitpid` reports it.
    pub(crate) raw: i32,
    /// The exit code, or 128 and the signal.
    pub(crate) status: u32,
    pub(crate) at: SystemTime,
}

impl Exit {
    fn new(raw: i32) -> Self {
        // The low seven bits hold the signal that ended the process, the next byte its exit code.
        let status = match raw & 0x7f {
            0 => (raw >> 8) & 0xff,
            signal => 128 + signal,
        };
        Self {
            raw,
            status: status.unsigned_abs(),
            at: SystemTime::now(),
        }
    }
}

impl Exit {
    /// What is told of a process that the runtime could not make.
    pub(crate) fn never_ran() -> Self {
        Self::new(255 << 8)
    }
}

/// Hands the end of each child to who waits for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reaper(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    waiters: HashMap<i32, oneshot::Sender<Exit>>,
    /// How many callers wait to learn the number of a process that already runs.
    expecting: usize,
    /// Ends of unknown children while somebody expects one.
    early: HashMap<i32, Exit>,
}

impl Reaper {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a child whose end comes through the returned channel.
    pub(crate) fn spawn(
        &self,
        command: &mut Command,
    ) -> io::Result<(Child, oneshot::Receiver<Exit>)> {
        // The lock keeps the child from being reaped before it has a waiter.
        let mut state = self.state();
        let child = command.spawn()?;
        let pid = child.id().cast_signed();
        state.early.remove(&pid);
        let (sender, receiver) = oneshot::channel();
        state.waiters.insert(pid, sender);
        Ok((child, receiver))
    }

    /// Remembers ends from now on, for a process whose number the caller learns only after it runs.
    pub(crate) fn expect(&self) -> Expectation {
        self.state().expecting += 1;
        Expectation(self.clone())
    }

    /// Sends a signal to a process that somebody waits for here, or fails when it has ended.
    pub(crate) fn signal(&self, pid: i32, signal: Signal) -> rustix::io::Result<()> {
        // The lock keeps the process from being reaped, and its number from being another one's.
        let state = self.state();
        let process = Pid::from_raw(pid).filter(|_| state.waiters.contains_key(&pid));
        kill_process(process.ok_or(rustix::io::Errno::SRCH)?, signal)
    }

    /// Collects every child that has ended.
    fn reap(&self) {
        let mut state = self.state();
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let pid = pid.as_raw_nonzero().get();
                    let exit = Exit::new(status.as_raw());
                    if let Some(waiter) = state.waiters.remove(&pid) {
                        // A waiter that has gone away does not want to know.
                        waiter.send(exit).ok();
                    } else if state.expecting > 0 {
                        state.early.insert(pid, exit);
                    }
                }
                Ok(None) | Err(rustix::io::Errno::CHILD) => return,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    warn!("waiting for children failed: {error}");
                    return;
                }
            }
        }
    }

    /// Reaps for as long as the shim runs.
    pub(crate) async fn run(self) -> io::Result<()> {
        let mut children = signal(SignalKind::child())?;
        loop {
            // First, since children may have ended before the signal was listened for.
            self.reap();
            if children.recv().await.is_none() {
                return Ok(());
            }
        }
    }
}

/// A promise that a process will be named; while it lives, no end is forgotten.
#[derive(Debug)]
pub(crate) struct Expectation(Reaper);

impl Expectation {
    /// Returns the channel that brings the end of this process.
    pub(crate) fn claim(self, pid: i32) -> oneshot::Receiver<Exit> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.0.state();
        match state.early.remove(&pid) {
            Some(exit) => {
                sender.send(exit).ok();
            }
            None => {
                state.waiters.insert(pid, sender);
            }
        }
        drop(state);
        receiver
    }
}

impl Drop for Expectation {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.expecting -= 1;
        if state.expecting == 0 {
            state.early.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_and_signals_become_the_status_that_shells_show() {
        assert_eq!(Exit::new(7 << 8).status, 7);
        assert_eq!(Exit::new(9).status, 137);
        // With the bit that says that a core was dumped.
        assert_eq!(Exit::new(0x80 | 11).status, 139);
    }

    #[test]
    fn nobody_is_signalled_in_the_place_of_who_has_ended() {
        let reaper = Reaper::default();
        let own = rustix::process::getpid().as_raw_nonzero().get();
        // This process lives, but nobody waits for it here.
        let refused = reaper.signal(own, Signal::KILL);
        assert_eq!(refused, Err(rustix::io::Errno::SRCH));
    }

    #[test]
    fn an_end_before_its_claim_is_not_lost() {
        let reaper = Reaper::default();
        let expectation = reaper.expect();
        reaper.state().early.insert(42, Exit::new(3 << 8));
        let mut receiver = expectation.claim(42);
        assert_eq!(receiver.try_recv().unwrap().status, 3);
        let state = reaper.state();
        assert!(state.early.is_empty() && state.expecting == 0);
    }
}
