//! Notices when the kernel kills a process of a container for want of memory.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use fs_err as fs;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio_util::sync::CancellationToken;

use super::{Cgroup, table};

/// Calls `notify` after each such kill, until the container has ended. Errors are not told: a container that ends at
/// once takes its files with it.
pub(crate) async fn watch_out_of_memory(
    cgroup: Cgroup,
    ended: CancellationToken,
    notify: impl Fn() + Send,
) {
    let before = kills(&cgroup);
    let told = AtomicU64::new(0);
    let tell = || {
        told.fetch_add(1, Ordering::Relaxed);
        notify();
    };
    let watch = async {
        match &cgroup {
            Cgroup::V1(controllers) => match controllers.get("memory") {
                Some(folder) => first_kind(folder, &tell).await,
                None => Ok(()),
            },
            Cgroup::V2(folder) => second_kind(folder, &tell).await,
        }
    };
    tokio::select! {
        () = ended.cancelled() => {}
        result = watch => if let Err(error) = result {
            log::debug!("watching for kills for want of memory ended: {error}");
        },
    }
    // The kernel may tell of the kill after the end of the process that it killed. The group is still there to ask.
    if told.load(Ordering::Relaxed) == 0 && kills(&cgroup) > before {
        notify();
    }
}

/// The kernel writes to an event descriptor that is registered with the group.
async fn first_kind(folder: &Path, notify: &impl Fn()) -> io::Result<()> {
    let control = fs::File::open(folder.join("memory.oom_control"))?;
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let registration = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
    fs::write(folder.join("cgroup.event_control"), registration)?;
    // Not a pipe, but read like one: the number of events since the last read.
    let mut event = Receiver::from_owned_fd_unchecked(event)?;
    loop {
        event.read_exact(&mut [0; 8]).await?;
        // The end of the group is an event as well.
        if !folder.exists() {
            return Ok(());
        }
        notify();
    }
}

/// The kernel counts in a file, whose changes are watched.
async fn second_kind(folder: &Path, notify: &impl Fn()) -> io::Result<()> {
    let path: PathBuf = folder.join("memory.events");
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&changes, &path, WatchFlags::MODIFY)?;
    let mut changes = Receiver::from_owned_fd_unchecked(changes)?;
    let mut seen = kills_in(folder, "memory.events");
    loop {
        // That something changed is enough; what it was stands in the file.
        let _length = changes.read(&mut [0; 512]).await?;
        if !path.exists() {
            return Ok(());
        }
        let now = kills_in(folder, "memory.events");
        if now > seen {
            notify();
        }
        seen = now;
    }
}

fn kills(cgroup: &Cgroup) -> u64 {
    match cgroup {
        Cgroup::V1(controllers) => controllers
            .get("memory")
            .map_or(0, |folder| kills_in(folder, "memory.oom_control")),
        Cgroup::V2(folder) => kills_in(folder, "memory.events"),
    }
}

fn kills_in(folder: &Path, file: &str) -> u64 {
    table(folder, file).get("oom_kill").copied().unwrap_or(0)
}
