//! The packages of a generation, as its bill of materials names them.

use std::collections::{BTreeMap, BTreeSet};

use env_spec::System;
use serde::Deserialize;

use crate::commands::sbom::{Format, document};
use crate::error::{Doing as _, Outcome};
use crate::hub::{Published, TrustedHub};

/// A store path as a part of a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    /// The package's name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// What the world calls it.
    pub(crate) purl: String,
    /// The store path.
    pub(crate) path: String,
    /// The bytes of its NAR.
    pub(crate) bytes: u64,
}

/// As much of a CycloneDX document as is needed.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(rename = "bom-ref", default)]
    path: String,
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    purl: String,
}

/// Returns the packages of a generation on one system, by the document that its signed record names.
///
/// # Errors
/// Fails when there is no such document.
pub(crate) async fn parts(
    hub: &TrustedHub,
    published: &Published,
    system: &System,
) -> Outcome<Vec<Part>> {
    let text = document(hub, published, system, Format::Cyclonedx).await?;
    let document: Document = serde_json::from_slice(&text)
        .doing(|| format!("cannot read the bill of materials of {}", published.pin))?;
    let closure = &published.generation.system(system)?.closure;
    let sizes: BTreeMap<String, u64> = closure
        .iter()
        .map(|one| (one.path.to_string(), one.nar_size))
        .collect();
    let part = |component: Component| Part {
        bytes: sizes.get(&component.path).copied().unwrap_or_default(),
        name: component.name,
        version: component.version,
        purl: component.purl,
        path: component.path,
    };
    Ok(document.components.into_iter().map(part).collect())
}

/// What became of a package between two generations.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Change {
    /// In one word.
    pub(crate) change: Word,
    /// The package.
    pub(crate) package: String,
    /// Its versions before.
    pub(crate) from: Vec<String>,
    /// Its versions afterwards.
    pub(crate) to: Vec<String>,
    /// The store paths that go.
    pub(crate) paths_removed: Vec<String>,
    /// The store paths that come.
    pub(crate) paths_added: Vec<String>,
    /// The bytes before.
    pub(crate) bytes_before: u64,
    /// The bytes afterwards.
    pub(crate) bytes_after: u64,
}

/// What became of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Word {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// It has another version.
    Changed,
    /// It has the same version, built anew.
    Rebuilt,
}

impl Word {
    /// Returns the word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Rebuilt => "rebuilt",
        }
    }
}

/// Returns what changed from some packages to others, by the packages' names.
pub(crate) fn changes(before: &[Part], after: &[Part]) -> Vec<Change> {
    let names: BTreeSet<&str> = before
        .iter()
        .chain(after)
        .map(|part| part.name.as_str())
        .collect();
    names
        .into_iter()
        .filter_map(|name| change(name, before, after))
        .collect()
}

fn change(name: &str, before: &[Part], after: &[Part]) -> Option<Change> {
    let of = |parts: &[Part]| {
        let own = parts.iter().filter(|part| part.name == name);
        let mut versions = BTreeSet::new();
        let mut paths = BTreeMap::new();
        for part in own {
            versions.insert(part.version.clone());
            paths.insert(part.path.clone(), part.bytes);
        }
        (versions, paths)
    };
    let ((from, old), (to, new)) = (of(before), of(after));
    let only = |one: &BTreeMap<String, u64>, other: &BTreeMap<String, u64>| -> Vec<String> {
        let missing = one.keys().filter(|path| !other.contains_key(*path));
        missing.cloned().collect()
    };
    let (paths_removed, paths_added) = (only(&old, &new), only(&new, &old));
    if paths_removed.is_empty() && paths_added.is_empty() {
        return None;
    }
    let word = match (old.is_empty(), new.is_empty()) {
        (true, _) => Word::Added,
        (_, true) => Word::Removed,
        _ if from != to => Word::Changed,
        _ => Word::Rebuilt,
    };
    let sum = |paths: &BTreeMap<String, u64>| {
        paths
            .values()
            .fold(0, |sum: u64, bytes| sum.saturating_add(*bytes))
    };
    Some(Change {
        change: word,
        package: name.to_owned(),
        from: from.into_iter().collect(),
        to: to.into_iter().collect(),
        paths_removed,
        paths_added,
        bytes_before: sum(&old),
        bytes_after: sum(&new),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, version: &str, path: &str, bytes: u64) -> Part {
        Part {
            name: name.to_owned(),
            version: version.to_owned(),
            purl: String::new(),
            path: path.to_owned(),
            bytes,
        }
    }

    #[test]
    fn packages_are_told_by_what_became_of_them() {
        let before = [
            part("same", "1", "/s", 1),
            part("old", "1", "/o", 2),
            part("ssl", "3.0", "/ssl3", 10),
            part("ssl", "3.0", "/ssl3-dev", 5),
            part("libc", "2", "/c1", 7),
        ];
        let after = [
            part("same", "1", "/s", 1),
            part("new", "1", "/n", 3),
            part("ssl", "3.1", "/ssl31", 12),
            part("libc", "2", "/c2", 8),
        ];
        let said: Vec<(String, &str, u64, u64)> = changes(&before, &after)
            .into_iter()
            .map(|one| {
                (
                    one.package,
                    one.change.as_str(),
                    one.bytes_before,
                    one.bytes_after,
                )
            })
            .collect();
        let expected = [
            ("libc", "rebuilt", 7, 8),
            ("new", "added", 0, 3),
            ("old", "removed", 2, 0),
            ("ssl", "changed", 15, 12),
        ];
        let expected = expected.map(|(name, word, from, to)| (name.to_owned(), word, from, to));
        assert_eq!(said, expected);
    }
}
