//! Control groups of a cluster's nodes: one tree per node in every hierarchy, named after the process that made it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use fs_err as fs;

use crate::sweep::Owner;
use crate::{Failure, poll};

const ROOT: &str = "/sys/fs/cgroup";
const PREFIX: &str = "nival-cluster-";

/// The trees of one cluster. Dropping it removes them.
#[derive(Debug)]
pub(super) struct ControlGroups {
    name: String,
}

impl ControlGroups {
    pub(super) fn new(nodes: u8) -> Result<Self, Failure> {
        let groups = Self { name: name()? };
        for number in 1..=nodes {
            for root in hierarchies() {
                make(&root, &groups.name)?;
                make(&root.join(&groups.name), &format!("node{number}"))?;
            }
        }
        Ok(groups)
    }

    /// Removes what the node's pods left there: a power cut leaves none, and a kubelet that starts looks into each.
    pub(super) fn empty(&self, number: u8) -> Result<(), Failure> {
        let own = format!("{}/node{number}", self.name);
        poll("the node's control groups to be empty", || {
            let of_node = hierarchies().into_iter().map(|root| root.join(&own));
            let staying = of_node.filter(|group| group.exists() && !remove_below(group));
            Ok((staying.count() == 0).then_some(()))
        })
    }

    /// Returns a node's tree, as the kubelet names it.
    pub(super) fn node(&self, number: u8) -> String {
        format!("/{}/node{number}", self.name)
    }
}

impl Drop for ControlGroups {
    fn drop(&mut self) {
        // The processes of a killed machine need a moment to be gone; what stays is swept by the next cluster.
        poll("the control groups to be empty", || {
            Ok(remove(&self.name).then_some(()))
        })
        .ok();
    }
}

/// Returns a name that no other cluster has: a process may have several, one after another or at once.
fn name() -> Result<String, Failure> {
    static CLUSTERS: AtomicU32 = AtomicU32::new(0);
    let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
    Ok(format!("{PREFIX}{}-{number}", Owner::this_process()?))
}

/// Removes what clusters left whose process was killed. Tells whether nothing of it is left.
pub(crate) fn sweep() -> bool {
    let mut clean = true;
    for root in hierarchies() {
        let Ok(entries) = fs::read_dir(&root) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix(PREFIX).and_then(Owner::parse);
            if owner.is_some_and(|owner| owner.is_gone()) {
                clean &= remove(&name);
            }
        }
    }
    clean
}

/// Returns the roots of the machine's hierarchies: one for each controller, or the only one.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![root.to_owned()];
    }
    let Ok(entries) = fs::read_dir(root) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn make(parent: &Path, name: &str) -> Result<(), Failure> {
    let group = parent.join(name);
    if !group.exists() {
        fs::create_dir(&group)?;
    }
    // The older cpuset gives a new group no processors, and no process may enter it then.
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let inherited = parent.join(file);
        if inherited.exists() && !parent.join("cgroup.controllers").exists() {
            fs::write(group.join(file), fs::read(&inherited)?)?;
        }
    }
    Ok(())
}

/// Removes a tree from every hierarchy. Tells whether nothing of it is left.
fn remove(name: &str) -> bool {
    // Counted, so that one that stays does not keep the next from being removed.
    let staying = hierarchies()
        .iter()
        .map(|root| root.join(name))
        .filter(|group| group.exists() && !remove_tree(group))
        .count();
    staying == 0
}

fn remove_tree(group: &Path) -> bool {
    remove_below(group);
    fs::remove_dir(group).is_ok()
}

/// Removes the groups below one. Tells whether nothing of them is left.
fn remove_below(group: &Path) -> bool {
    let Ok(entries) = fs::read_dir(group) else {
        return true;
    };
    let below = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    // Counted, so that one that stays does not keep the next from being removed.
    below.filter(|entry| !remove_tree(&entry.path())).count() == 0
}
