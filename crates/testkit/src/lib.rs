//! Fixtures and harnesses of real services for tests.

mod authority;
pub mod cluster;
mod containerd;
mod cri;
pub mod guest;
mod holder;
mod hub;
mod machine;
mod network;
pub mod nix;
mod node;
mod process;
pub mod programs;
mod services;
pub mod setup;
mod stack;
mod sweep;
mod throttle;
mod tls;
mod traces;

use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

pub use cluster::{Cluster, ClusterNode, ClusterOptions, Installation};
pub use containerd::{Containerd, Handler, Line, Registration};
pub use cri::{BUSYBOX, PLACEHOLDER, Pod, PodSpec};
pub use hub::{HUB_ADDRESS, Hub};
pub use machine::{Kind, Machine, Service, World};
pub use network::Registry;
pub use node::{Node, NodeOptions};
pub use stack::{KEY, OWNER, Stack, publish_script};
pub use sweep::sweep;
pub use throttle::Throttle;
pub use tls::TlsEntrance;
pub use traces::{CgroupParent, Traces};

/// How long anything that is waited for may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until there is something, at most for a minute.
///
/// # Errors
/// Fails when looking fails, or when the time is over.
pub fn poll<T>(what: &str, look: impl FnMut() -> Result<Option<T>, Failure>) -> Result<T, Failure> {
    poll_within(DEADLINE, what, look)
}

/// Looks until there is something, at most for as long as this.
///
/// # Errors
/// As [`poll`].
pub fn poll_within<T>(
    deadline: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if begun.elapsed() > deadline {
            return Err(Failure::Text(format!(
                "waited {deadline:?} in vain for {what}"
            )));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Tries until it works, at most for a minute.
///
/// # Errors
/// Fails with why it did not work the last time.
pub fn retry<T>(what: &str, mut work: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let mut last = None;
    let done = poll(what, || match work() {
        Ok(done) => Ok(Some(done)),
        Err(failure) => {
            last = Some(failure);
            Ok(None)
        }
    });
    done.map_err(|failure| match &last {
        Some(last) => Failure::Text(format!("{failure}: {last}")),
        None => failure,
    })
}

/// Why a harness could not do its part.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A program failed.
    #[error(transparent)]
    Process(#[from] host::process::ProcessError),
    /// The machine failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Something else, told in words.
    #[error("{0}")]
    Text(String),
}

/// Runs a command to its end and returns its standard output as text.
///
/// # Errors
/// Fails when it fails, with what it said.
pub fn run(command: &mut Command) -> Result<String, Failure> {
    let output = host::process::run(command)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Tells whether a need is met, and says loudly that the test is skipped where it is not.
///
/// # Panics
/// Where `REQUIRE_ALL=1` says that nothing may be skipped.
#[must_use]
pub fn is_met(need: &str, test: &str) -> bool {
    let met = match need {
        "root" => rustix::process::geteuid().is_root(),
        "setup" => setup::is_done(),
        "nix" => nix::is_there(),
        "programs" => programs::are_built(),
        other => panic!("require! does not know {other:?}"),
    };
    if !met {
        // Not `eprintln!`: the test harness would swallow it with the rest of a test that passes.
        let loud = writeln!(std::io::stderr(), "SKIPPED {test}: needs {need}");
        loud.expect("standard error takes a line");
        assert!(
            std::env::var_os("REQUIRE_ALL").is_none(),
            "{test} needs {need}, and nothing may be skipped"
        );
    }
    met
}

/// Ends the test, loudly, unless all its needs are met: `root`, `setup` (`cargo xtask setup` has run), `nix` (set-up
/// has come at least to Nix), `programs` (`cargo xtask build` has run).
#[macro_export]
macro_rules! require {
    ($($need:ident),+) => {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        if !($($crate::is_met(stringify!($need), &test))&&+) {
            return;
        }
    };
}
