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
/// once takes its files with it. `was_killed` says, after the end, whether it came by a kill that no caller asked for.
pub(crate) async fn watch_out_of_memory(
    cgroup: Cgroup,
    ended: CancellationToken,
    was_killed: impl Fn() -> bool + Send,
    notify: impl Fn() + Send,
) {
    let before = Counts::of(&cgroup);
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
    let watch = async {
        if let Err(error) = watch.await {
            log::debug!("watching for kills for want of memory ended: {error}");
        }
        // The group may go before the shim hears of the end.
        ended.cancelled().await;
    };
    tokio::select! {
        () = ended.cancelled() => {}
        () = watch => {}
    }
    // The kernel may tell of the kill after the end of the process that it killed.
    if told.load(Ordering::Relaxed) == 0 && before.have_grown(was_killed) {
        notify();
    }
}

/// Kills that the kernel has counted, in a container's group and in those above it, which it counts them in as well where
/// groups are of the second kind. systemd removes a scope as soon as it is empty, which may be before anybody has asked it.
struct Counts {
    file: &'static str,
    groups: Vec<(PathBuf, u64)>,
}

impl Counts {
    fn of(cgroup: &Cgroup) -> Self {
        let (folder, file) = match cgroup {
            Cgroup::V1(controllers) => (controllers.get("memory"), "memory.oom_control"),
            Cgroup::V2(folder) => (Some(folder), "memory.events"),
        };
        let groups = folder.into_iter().flat_map(|folder| folder.ancestors());
        let counted = groups.map_while(|group| Some((group.to_owned(), kills(group, file)?)));
        Self {
            file,
            groups: counted.collect(),
        }
    }

    /// Asks the nearest group that is left. What is above the container's own has other containers too, so that it
    /// counts only for one that was killed.
    fn have_grown(&self, was_killed: impl Fn() -> bool) -> bool {
        let mut groups = self.groups.iter().enumerate();
        groups
            .find_map(|(above, (group, before))| {
                let grown = kills(group, self.file)? > *before;
                Some(grown && (above == 0 || was_killed()))
            })
            .unwrap_or(false)
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
    let mut seen = kills(folder, "memory.events").unwrap_or(0);
    loop {
        // That something changed is enough; what it was stands in the file.
        let _length = changes.read(&mut [0; 512]).await?;
        let Some(now) = kills(folder, "memory.events") else {
            return Ok(());
        };
        if now > seen {
            notify();
        }
        seen = now;
    }
}

/// Returns how many processes a group has lost; none if it is gone.
fn kills(group: &Path, file: &str) -> Option<u64> {
    table(group, file).get("oom_kill").copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(group: &Path, kills: u64) {
        let text = format!("low 0\nmax 9\noom 1\noom_kill {kills}\n");
        fs::write(group.join("memory.events"), text).unwrap();
    }

    #[test]
    fn a_group_that_is_gone_is_asked_about_above() {
        let pod = tempfile::tempdir().unwrap();
        let group = pod.path().join("scope");
        fs::create_dir(&group).unwrap();
        count(pod.path(), 2);
        count(&group, 0);
        let before = Counts::of(&Cgroup::V2(group.clone()));
        assert!(!before.have_grown(|| true));
        count(&group, 1);
        assert!(before.have_grown(|| false), "its own count is certain");
        fs::remove_dir_all(&group).unwrap();
        assert!(!before.have_grown(|| true), "killed by somebody else");
        count(pod.path(), 3);
        assert!(before.have_grown(|| true));
        assert!(!before.have_grown(|| false), "another container's");
    }
}
