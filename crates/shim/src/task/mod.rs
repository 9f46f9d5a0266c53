//! What each request of containerd does, one file per verb.

mod attach;
mod create;
mod delete;
mod exec;
mod kill;
mod limits;
mod release;
mod start;
mod state;

use std::time::{Duration, Instant};

pub(crate) use attach::{close_io, resize_pty};
pub(crate) use create::create;
pub(crate) use delete::delete;
pub(crate) use exec::exec;
pub(crate) use kill::kill;
pub(crate) use limits::{pause, pids, resume, stats, update};
pub(crate) use start::start;
pub(crate) use state::{connect, state, wait};

/// Returns how much of the caller's patience is left.
fn left(until: Option<Instant>) -> Option<Duration> {
    until.map(|until| until.saturating_duration_since(Instant::now()))
}
