//! `manifest.lock`: what a manifest was resolved to, on every system.

use std::collections::BTreeMap;

use nix_data::StorePath;
use serde::{Deserialize, Serialize};

use crate::activation::ActivationPlan;
use crate::generation::ClosurePath;
use crate::{Digest, System};

/// The version of the form that this code writes and reads.
pub const LOCKFILE_VERSION: u32 = 1;

/// The whole lock file. It is meant for git: the same resolution gives the same text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lockfile {
    /// The version of this form.
    pub lockfile_version: u32,
    /// The manifest it was made from, as data: comments and order do not make a lock stale.
    pub manifest: serde_json::Value,
    /// The package revision that each group resolved to.
    pub groups: BTreeMap<String, CatalogRevision>,
    /// What each system got.
    pub systems: BTreeMap<System, LockedSystem>,
}

/// A revision of the package set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CatalogRevision {
    /// Its name in the configuration (`r2`, a commit).
    pub revision: String,
    /// The content of its folder, as the NAR's hash, so that the same name cannot mean two things.
    pub nar_hash: Option<nix_data::Hash>,
}

/// What was resolved for one system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedSystem {
    /// The packages, sorted by install id.
    pub packages: Vec<LockedPackage>,
    /// The environment; `None` where the outputs could not be had, so that nothing can be composed.
    pub environment: Option<LockedEnvironment>,
    /// Why the environment is not there.
    pub unlocked_because: Option<String>,
}

/// The composed environment of one system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedEnvironment {
    /// The environment's store path.
    pub path: StorePath,
    /// Every store path that it needs, itself included, sorted.
    pub closure: Vec<ClosurePath>,
    /// How to run in it.
    pub activation: ActivationPlan,
}

/// One installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedPackage {
    /// The id in `[install]`.
    pub install_id: String,
    /// The attribute path in the package set.
    pub attr_path: String,
    /// The group it was resolved in.
    pub group: String,
    /// The package's name without version.
    pub pname: String,
    /// Its version.
    pub version: String,
    /// Which wins where two packages have the same file: the lower.
    pub priority: u32,
    /// The derivation.
    pub derivation: Option<StorePath>,
    /// All outputs by name.
    pub outputs: BTreeMap<String, StorePath>,
    /// The outputs that are installed.
    pub outputs_to_install: Vec<String>,
    /// Licences as SPDX identifiers or expressions, else as the package set names them.
    pub licenses: Vec<String>,
    /// Whether the licence is free.
    pub free: bool,
    /// One line about it.
    pub description: Option<String>,
    /// Where it comes from.
    pub homepage: Option<String>,
    /// Its Common Platform Enumeration name, where the package set has it.
    pub cpe: Option<String>,
    /// Its package URL, where the package set has it.
    pub purl: Option<String>,
}

/// Larger texts are refused unread: 5,000 paths on four systems stay far below.
pub const LARGEST_LOCKFILE: usize = 64 << 20;

/// Why a text is no lock file.
#[derive(Debug, thiserror::Error)]
pub enum LockfileError {
    /// It is larger than any honest one.
    #[error("lock file has {length} bytes; the largest allowed is {LARGEST_LOCKFILE}")]
    TooLarge {
        /// Its length.
        length: usize,
    },
    /// Made by another Nival.
    #[error("lock file has version {found}; this Nival reads version {LOCKFILE_VERSION}: {}", advice(*found))]
    Version {
        /// Its version.
        found: u64,
    },
    /// It does not say what it is.
    #[error(
        "lock file has no lockfile-version: it is not one of Nival's; make it anew with `nival lock`"
    )]
    NoVersion,
    /// It is not what this version looks like.
    #[error(
        "lock file is damaged; bring it back from version control or make it anew with `nival lock`"
    )]
    Malformed(#[source] serde_json::Error),
}

fn advice(found: u64) -> &'static str {
    if found > u64::from(LOCKFILE_VERSION) {
        "upgrade it"
    } else {
        "make the lock anew with `nival lock`"
    }
}

impl Lockfile {
    /// Returns the one text of this lock: indented, every key in its place, with a newline at the end.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut value = serde_json::to_value(self).expect("a lock has only strings as keys");
        sort_keys(&mut value);
        let mut text = serde_json::to_string_pretty(&value).expect("a value can be written");
        text.push('\n');
        text
    }

    /// Reads the text of a lock.
    ///
    /// # Errors
    /// Fails when it is too large, of another version, or damaged.
    pub fn parse(text: &str) -> Result<Self, LockfileError> {
        if text.len() > LARGEST_LOCKFILE {
            return Err(LockfileError::TooLarge { length: text.len() });
        }
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(LockfileError::Malformed)?;
        // The version comes first: another version's fields would only give a puzzling error.
        let version = value
            .get("lockfile-version")
            .and_then(serde_json::Value::as_u64);
        match version {
            None => return Err(LockfileError::NoVersion),
            Some(found) if found != u64::from(LOCKFILE_VERSION) => {
                return Err(LockfileError::Version { found });
            }
            Some(_) => {}
        }
        // From the text again, for errors that name the line.
        serde_json::from_str(text).map_err(LockfileError::Malformed)
    }

    /// Returns the digest of a lock's text, as generations carry it.
    #[must_use]
    pub fn digest_of(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }
}

/// Field order in the code must not show in the text.
fn sort_keys(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            map.sort_keys();
            map.values_mut().for_each(sort_keys);
        }
        serde_json::Value::Array(elements) => elements.iter_mut().for_each(sort_keys),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lockfile {
        let path: StorePath = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-a"
            .parse()
            .unwrap();
        let system = LockedSystem {
            packages: vec![crate::compose::testing::package("a", 5, &path)],
            environment: None,
            unlocked_because: Some("no cache has it".into()),
        };
        Lockfile {
            lockfile_version: 1,
            manifest: serde_json::json!({"z": 1, "a": {"y": 1, "b": [ {"d": 1, "c": 2} ]}}),
            groups: BTreeMap::new(),
            systems: [("x86_64-linux".parse().unwrap(), system)].into(),
        }
    }

    #[test]
    fn the_text_is_stable_and_reads_back() {
        let text = lock().to_text();
        assert!(text.ends_with("}\n") && !text.ends_with("\n\n"));
        assert!(text.find("\"a\"").unwrap() < text.find("\"z\"").unwrap());
        assert!(text.find("\"c\"").unwrap() < text.find("\"d\"").unwrap());
        let read = Lockfile::parse(&text).unwrap();
        assert_eq!(read, lock());
        assert_eq!(read.to_text(), text);
        assert_eq!(Lockfile::digest_of(&text), Digest::of(text.as_bytes()));
    }

    #[test]
    fn other_versions_and_damage_have_their_own_errors() {
        let text = lock().to_text();
        let newer = text.replace("\"lockfile-version\": 1", "\"lockfile-version\": 2");
        assert!(
            Lockfile::parse(&newer)
                .unwrap_err()
                .to_string()
                .ends_with("version 1: upgrade it")
        );
        assert!(matches!(
            Lockfile::parse("{}"),
            Err(LockfileError::NoVersion)
        ));
        assert!(matches!(
            Lockfile::parse(&text[..text.len() / 2]),
            Err(LockfileError::Malformed(_))
        ));
        let unknown = text.replace("\"groups\"", "\"gruops\"");
        assert!(matches!(
            Lockfile::parse(&unknown),
            Err(LockfileError::Malformed(_))
        ));
    }
}
