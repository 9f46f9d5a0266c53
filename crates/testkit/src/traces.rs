//! What pods leave on a node while they run, and must not leave behind when they are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::{Failure, Node, poll};

/// Folders whose entries belong to one pod or container each.
const FOLDERS: &[&str] = &[
    "/run/containerd/s",
    "/run/containerd/fifo",
    "/run/containerd/runc/k8s.io",
    "/run/containerd/io.containerd.runtime.v2.task/k8s.io",
    "/run/containerd/io.containerd.grpc.v1.cri/sandboxes",
    "/run/containerd/io.containerd.grpc.v1.cri/containers",
    "/run/netns",
    "/var/run/netns",
    "/var/lib/cni/results",
    "/var/lib/containerd/io.containerd.runtime.v2.task/k8s.io",
    "/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes",
    "/var/lib/containerd/io.containerd.grpc.v1.cri/containers",
    // The agent's.
    "/var/lib/nival/leases",
    "/var/lib/nival/sandboxes",
];

/// How a shim shows in the list: the kernel cuts its name off.
const SHIM: &str = " containerd-shim";

/// A control group that pods of one test lie in, so that nobody else's are taken for theirs.
#[derive(Debug)]
pub struct CgroupParent(String);

impl CgroupParent {
    /// Names one that is not there yet; the first pod below it makes it.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(format!("nvl-{}-{name}", std::process::id()))
    }

    /// Returns its path as pods name it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/{}", self.0)
    }

    /// Returns where it is, in every hierarchy that the machine has.
    fn folders(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(root).into_iter().flatten().flatten();
        let all = hierarchies.map(|entry| entry.path());
        std::iter::once(root.to_owned())
            .chain(all)
            .map(|hierarchy| hierarchy.join(&self.0))
            .filter(|folder| folder.is_dir())
            .collect()
    }

    fn groups(&self) -> Vec<String> {
        let entries = self
            .folders()
            .into_iter()
            .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
        entries
            .filter(|entry| entry.path().is_dir())
            .map(|entry| format!("cgroup {}", entry.path().display()))
            .collect()
    }
}

impl Drop for CgroupParent {
    fn drop(&mut self) {
        // One with groups in it stays: they are what the test complains of.
        for folder in self.folders() {
            fs::remove_dir(folder).ok();
        }
    }
}

/// A list of things on a node, each with the kind of thing that it is in front. What is there several times is
/// numbered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traces(BTreeSet<String>);

impl Traces {
    fn of(things: impl Iterator<Item = String>) -> Self {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        let numbered = things.map(|thing| {
            let count = counts.entry(thing.clone()).or_default();
            *count += 1;
            format!("{thing} #{count}")
        });
        Self(numbered.collect())
    }

    /// Returns what is here and was not there.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Vec<String> {
        self.0.difference(&earlier.0).cloned().collect()
    }
}

impl Node {
    /// Lists processes, zombies among them, mounts, sockets, state folders, leases, snapshots, and the control groups
    /// below `parent`.
    ///
    /// # Errors
    /// Fails when the node cannot be looked at.
    pub fn traces(&self, parent: &CgroupParent) -> Result<Traces, Failure> {
        let processes = self
            .machine()
            .shell("echo $$; cat /proc/[0-9]*/stat 2>/dev/null || true")?;
        let listing = format!(
            "for f in {}; do [ ! -d $f ] || find $f -mindepth 1 -maxdepth 1 -printf \"entry $f/%f\\n\"; done; \
             cut -d' ' -f5 /proc/self/mountinfo | sed 's/^/mount /'; \
             {ctr} containers ls -q | sed 's/^/container /'; {ctr} leases ls -q | sed 's/^/lease /'; \
             {ctr} snapshots ls | sed 1d | cut -d' ' -f1 | sed 's/^/snapshot /'",
            FOLDERS.join(" "),
            ctr = self.ctr(),
        );
        let things = self.machine().shell(&listing)?;
        let groups = parent.groups();
        Ok(Traces::of(
            things
                .lines()
                .map(str::to_owned)
                .chain(processes_of(&processes))
                .chain(groups),
        ))
    }

    /// Waits until so many shims are left, and lists what is there then.
    ///
    /// # Errors
    /// Fails when others stay.
    pub fn traces_with_shims(
        &self,
        wanted: usize,
        parent: &CgroupParent,
    ) -> Result<Traces, Failure> {
        let mut last = Traces::default();
        let waited = poll("the shims to end", || {
            last = self.traces(parent)?;
            let shims = last.0.iter().filter(|trace| trace.contains(SHIM));
            Ok((shims.count() == wanted).then(|| last.clone()))
        });
        waited.map_err(|error| Failure::Text(format!("{error}; there is {last:#?}")))
    }

    /// Returns the memory that a process has made for itself, in KiB. Its share of its program changes with how many
    /// others run the same one, in other tests too.
    ///
    /// # Errors
    /// Fails when it is gone.
    pub fn memory_share(&self, process: u32) -> Result<u64, Failure> {
        let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        let share = rollup.lines().find_map(|line| {
            let share = line.strip_prefix("Pss_Anon:")?;
            share.split_whitespace().next()?.parse().ok()
        });
        share.ok_or_else(|| Failure::Text(format!("process {process} has no memory")))
    }

    /// Waits until nothing is on the node that was not there earlier.
    ///
    /// # Errors
    /// Fails with what stays.
    pub fn wait_for_no_more_than(
        &self,
        earlier: &Traces,
        parent: &CgroupParent,
    ) -> Result<(), Failure> {
        let mut last = Vec::new();
        let waited = poll("the traces of pods to go", || {
            last = self.traces(parent)?.since(earlier);
            Ok(last.is_empty().then_some(()))
        });
        waited.map_err(|error| Failure::Text(format!("{error}; these stay: {last:#?}")))
    }
}

/// Reads a shell's own number and then a line of `/proc/…/stat` for every process. The shell and what it started are
/// left out.
fn processes_of(text: &str) -> Vec<String> {
    let mut lines = text.lines();
    let own = lines.next().unwrap_or_default();
    let parsed = lines.filter_map(|line| {
        // The name is in parentheses and may have any character in it.
        let (process, rest) = line.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        Some((process, name, fields.next()?, fields.next()?))
    });
    let others = parsed.filter(|(process, _, _, parent)| *process != own && *parent != own);
    others
        .map(|(_, name, state, _)| match state {
            "Z" => format!("zombie {name}"),
            _ => format!("process {name}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zombies_are_told_from_processes_and_the_asking_shell_is_none() {
        let text = "7\n1 (sleep) S 0 1\n5 (a) b) Z 1 5\n7 (sh) S 0 7\n8 (cat) R 7 8\n";
        assert_eq!(processes_of(text), ["process sleep", "zombie a) b"]);
    }

    #[test]
    fn what_is_there_twice_is_more_than_what_is_there_once() {
        let once = Traces::of(["mount /a".to_owned()].into_iter());
        let twice = Traces::of(["mount /a", "mount /a"].map(str::to_owned).into_iter());
        assert_eq!(twice.since(&once), ["mount /a #2"]);
        assert!(once.since(&twice).is_empty());
    }
}
