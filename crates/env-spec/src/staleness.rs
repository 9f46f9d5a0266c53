//! Is a lock file still true to its manifest? One variant per way in which it is not.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use crate::System;
use crate::lockfile::{LOCKFILE_VERSION, Lockfile};
use crate::manifest::{InstallSource, Manifest};

/// One way in which a lock file is not true to its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stale {
    /// It has another form.
    Version {
        /// Its version.
        found: u32,
    },
    /// A package was added to the manifest.
    Added {
        /// The id.
        install_id: String,
    },
    /// A package was removed from the manifest.
    Removed {
        /// The id.
        install_id: String,
    },
    /// A package is wanted in another way.
    Changed {
        /// The id.
        install_id: String,
    },
    /// Another table of the manifest changed.
    Table {
        /// Its name.
        table: String,
    },
    /// A system was added to the manifest.
    SystemAdded {
        /// The system.
        system: System,
    },
    /// A system was removed from the manifest.
    SystemRemoved {
        /// The system.
        system: System,
    },
    /// The lock lacks a package that it says the manifest had: it was edited or cut off.
    Incomplete {
        /// The id.
        install_id: String,
        /// The system.
        system: System,
    },
    /// The lock lacks the revision of a group.
    Group {
        /// The group.
        group: String,
    },
}

impl fmt::Display for Stale {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { found } => {
                write!(
                    formatter,
                    "the lock has version {found}, not {LOCKFILE_VERSION}"
                )
            }
            Self::Added { install_id } => write!(formatter, "package {install_id} was added"),
            Self::Removed { install_id } => write!(formatter, "package {install_id} was removed"),
            Self::Changed { install_id } => {
                write!(formatter, "package {install_id} is wanted otherwise")
            }
            Self::Table { table } => write!(formatter, "[{table}] changed"),
            Self::SystemAdded { system } => write!(formatter, "system {system} was added"),
            Self::SystemRemoved { system } => write!(formatter, "system {system} was removed"),
            Self::Incomplete { install_id, system } => {
                write!(formatter, "the lock lacks package {install_id} on {system}")
            }
            Self::Group { group } => {
                write!(formatter, "the lock lacks the revision of group {group}")
            }
        }
    }
}

/// Returns every way in which a lock is not true to a manifest; none when it is.
#[must_use]
pub fn staleness(lock: &Lockfile, manifest: &Manifest) -> Vec<Stale> {
    if lock.lockfile_version != LOCKFILE_VERSION {
        return vec![Stale::Version {
            found: lock.lockfile_version,
        }];
    }
    let mut found = manifest_changes(&lock.manifest, &manifest.to_value());
    let systems: BTreeSet<&System> = manifest.options.systems.iter().collect();
    let added = systems
        .iter()
        .filter(|system| !lock.systems.contains_key(**system));
    found.extend(added.map(|system| Stale::SystemAdded {
        system: (*system).clone(),
    }));
    let removed = lock
        .systems
        .keys()
        .filter(|system| !systems.contains(system));
    found.extend(removed.map(|system| Stale::SystemRemoved {
        system: system.clone(),
    }));
    // A package that changed is named once, not once more for each system.
    if found.is_empty() {
        found.extend(holes(lock, manifest));
    }
    found
}

fn manifest_changes(before: &Value, after: &Value) -> Vec<Stale> {
    let mut found = Vec::new();
    let empty = serde_json::Map::new();
    let before = before.as_object().unwrap_or(&empty);
    let after = after.as_object().unwrap_or(&empty);
    let tables: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for table in tables {
        let (old, new) = (before.get(table), after.get(table));
        if old == new {
            continue;
        }
        if table == "install" {
            found.extend(install_changes(old, new));
        } else if !only_systems_differ(table, old, new) {
            found.push(Stale::Table {
                table: table.clone(),
            });
        }
    }
    found
}

/// Systems that come and go have their own variants.
fn only_systems_differ(table: &str, old: Option<&Value>, new: Option<&Value>) -> bool {
    let without = |options: Option<&Value>| {
        let mut options = options?.as_object()?.clone();
        options.remove("systems");
        Some(options)
    };
    table == "options" && without(old).is_some() && without(old) == without(new)
}

fn install_changes(old: Option<&Value>, new: Option<&Value>) -> Vec<Stale> {
    let empty = serde_json::Map::new();
    let old = old.and_then(Value::as_object).unwrap_or(&empty);
    let new = new.and_then(Value::as_object).unwrap_or(&empty);
    let ids: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |id: &&String| {
        let install_id = (*id).clone();
        match (old.get(*id), new.get(*id)) {
            (None, _) => Some(Stale::Added { install_id }),
            (_, None) => Some(Stale::Removed { install_id }),
            (one, other) if one != other => Some(Stale::Changed { install_id }),
            _ => None,
        }
    };
    ids.iter().filter_map(change).collect()
}

/// Finds what a lock should hold by its own manifest and does not.
fn holes(lock: &Lockfile, manifest: &Manifest) -> Vec<Stale> {
    let mut found = Vec::new();
    let mut groups = BTreeSet::new();
    for (install_id, install) in &manifest.install {
        for system in &install.systems {
            let locked = lock.systems.get(system).is_some_and(|one| {
                one.packages
                    .iter()
                    .any(|package| package.install_id == *install_id)
            });
            if !locked {
                let (install_id, system) = (install_id.clone(), system.clone());
                found.push(Stale::Incomplete { install_id, system });
            }
        }
        if let InstallSource::Catalog { group, .. } = &install.source
            && !install.systems.is_empty()
            && !lock.groups.contains_key(group)
            && groups.insert(group)
        {
            found.push(Stale::Group {
                group: group.clone(),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lockfile::{CatalogRevision, LockedSystem};

    const BASE: &str = "[install]\na.pkg-path = \"a\"\n[options]\nsystems = [\"x86_64-linux\"]\n";

    fn lock(text: &str) -> Lockfile {
        let manifest = Manifest::parse(text).unwrap();
        let path = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-a"
            .parse()
            .unwrap();
        let packages = vec![crate::compose::testing::package("a", 5, &path)];
        let system = LockedSystem {
            packages,
            environment: None,
            unlocked_because: None,
        };
        let revision = CatalogRevision {
            revision: "r1".into(),
            nar_hash: None,
        };
        Lockfile {
            lockfile_version: LOCKFILE_VERSION,
            manifest: manifest.to_value(),
            groups: [("toplevel".to_owned(), revision)].into(),
            systems: manifest
                .options
                .systems
                .iter()
                .map(|one| (one.clone(), system.clone()))
                .collect(),
        }
    }

    fn reasons(lock: &Lockfile, text: &str) -> Vec<String> {
        staleness(lock, &Manifest::parse(text).unwrap())
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_lock_is_true_to_its_manifest_whatever_the_comments() {
        let lock = lock(BASE);
        assert!(reasons(&lock, BASE).is_empty());
        assert!(reasons(&lock, &format!("# more\n{BASE}")).is_empty());
        let read = Lockfile::parse(&lock.to_text()).unwrap();
        assert!(reasons(&read, BASE).is_empty());
    }

    #[test]
    fn every_change_has_its_own_reason() {
        let lock = lock(BASE);
        for (change, reason) in [
            (
                BASE.replace(
                    "a.pkg-path = \"a\"",
                    "a.pkg-path = \"a\"\nb.pkg-path = \"b\"",
                ),
                "package b was added",
            ),
            (
                BASE.replace("a.pkg-path = \"a\"\n", ""),
                "package a was removed",
            ),
            (
                BASE.replace("\"a\"", "\"c\""),
                "package a is wanted otherwise",
            ),
            (format!("{BASE}[vars]\nX = \"1\""), "[vars] changed"),
            (
                format!("{BASE}[hook]\non-activate = \"x\""),
                "[hook] changed",
            ),
            (format!("{BASE}allow.unfree = true"), "[options] changed"),
        ] {
            assert_eq!(reasons(&lock, &change), [reason], "{change}");
        }
        let systems = BASE.replace("[\"x86_64-linux\"]", "[\"aarch64-linux\"]");
        let found = reasons(&lock, &systems);
        assert!(
            found.contains(&"system aarch64-linux was added".to_owned()),
            "{found:?}"
        );
        assert!(
            found.contains(&"system x86_64-linux was removed".to_owned()),
            "{found:?}"
        );
    }

    #[test]
    fn holes_in_a_lock_are_found() {
        let mut cut = lock(BASE);
        cut.systems
            .values_mut()
            .for_each(|system| system.packages.clear());
        cut.groups.clear();
        assert_eq!(
            reasons(&cut, BASE),
            [
                "the lock lacks package a on x86_64-linux",
                "the lock lacks the revision of group toplevel"
            ]
        );
        let mut other = lock(BASE);
        other.lockfile_version = 9;
        assert_eq!(reasons(&other, BASE), ["the lock has version 9, not 1"]);
    }
}
