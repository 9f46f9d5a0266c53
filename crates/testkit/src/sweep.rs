//! Finds and removes what killed processes left of worlds and clusters.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use fs_err as fs;

use crate::machine::{PREFIX, WORLDS};
use crate::{Failure, cluster};

/// The file in a world's folder that names its owner.
const OWNER_FILE: &str = "owner";

/// A process, told apart from a later one with the same number by when it was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    process: u32,
    /// In the kernel's ticks.
    started: String,
}

impl Owner {
    pub(crate) fn this_process() -> Result<Self, Failure> {
        let process = std::process::id();
        let started = start_time(process);
        let started =
            started.ok_or_else(|| Failure::Text("this process has no start time".to_owned()))?;
        Ok(Self { process, started })
    }

    /// Reads an owner from the start of a name; anything may follow after another dash.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.trim().split('-');
        let process = parts.next()?.parse().ok()?;
        let started = parts.next()?.to_owned();
        Some(Self { process, started })
    }

    pub(crate) fn is_gone(&self) -> bool {
        start_time(self.process).is_none_or(|now| now != self.started)
    }

    /// Marks a folder as this one's.
    pub(crate) fn mark(&self, folder: &Path) -> Result<(), Failure> {
        Ok(fs::write(folder.join(OWNER_FILE), self.to_string())?)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.process, self.started)
    }
}

/// Removes what is left of worlds and clusters whose process was killed. Their programs and mounts die with it, and
/// need a moment for that. Tells whether nothing is left.
pub fn sweep() -> bool {
    let mut clean = cluster::sweep();
    let Ok(entries) = fs::read_dir(WORLDS) else {
        return clean;
    };
    for entry in entries.flatten() {
        let folder = entry.path();
        if is_world(&folder) && owner_of(&folder).is_some_and(|owner| owner.is_gone()) {
            clean &= fs::remove_dir_all(&folder).is_ok();
        }
    }
    clean
}

/// Tells whether a folder is a world of this user's: anybody may make folders beside them.
fn is_world(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str());
    let own = |folder: &Path| {
        let about = fs::symlink_metadata(folder).ok();
        about.is_some_and(|about| {
            about.is_dir() && about.uid() == rustix::process::geteuid().as_raw()
        })
    };
    name.is_some_and(|name| name.starts_with(PREFIX)) && own(folder)
}

fn owner_of(folder: &Path) -> Option<Owner> {
    let file = folder.join(OWNER_FILE);
    if !fs::symlink_metadata(&file).ok()?.is_file() {
        return None;
    }
    Owner::parse(&fs::read_to_string(file).ok()?)
}

fn start_time(process: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name may hold spaces and parentheses; after the last of these come the numbers, the start as the twentieth.
    let (_, numbers) = text.rsplit_once(')')?;
    numbers.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_gone_when_its_process_is_or_another_has_its_number() {
        let own = Owner::this_process().unwrap();
        assert!(!own.is_gone());
        let read = Owner::parse(&format!("{own}-0")).unwrap();
        assert_eq!(read, own);
        let other = Owner::parse(&format!("{}-1", std::process::id())).unwrap();
        assert!(other.is_gone());
        assert!(Owner::parse("4194999-77").unwrap().is_gone());
        assert!(Owner::parse("of-somebody-else").is_none());
    }

    #[test]
    fn a_folder_of_another_name_or_with_a_strange_owner_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let world = folder.path().join(format!("{PREFIX}x"));
        fs::create_dir(&world).unwrap();
        assert!(is_world(&world) && owner_of(&world).is_none());
        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        assert!(!is_world(&other));
        std::os::unix::fs::symlink(&world, folder.path().join(format!("{PREFIX}link"))).unwrap();
        assert!(!is_world(&folder.path().join(format!("{PREFIX}link"))));
        fs::write(world.join(OWNER_FILE), "4194999-77").unwrap();
        assert!(owner_of(&world).unwrap().is_gone());
    }
}
