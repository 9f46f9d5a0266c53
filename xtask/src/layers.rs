//! Fails when a crate looks up, or sideways, in the house.

use std::path::Path;

use anyhow::{Result, bail};

use crate::metadata;

/// Floors, lowest first. A crate may depend only on crates of lower floors.
pub(crate) const FLOORS: &[&[&str]] = &[
    &["nix-data"],
    &["env-spec", "host", "sbom", "workload"],
    &["api", "store"],
    &["agent", "cli", "hub", "operator", "shim"],
];

/// Edges on one floor that were decided as design, with the reason beside them.
const DECIDED: &[(&str, &str)] = &[
    // A bill of materials describes a locked environment, so it reads the lock's own types.
    ("sbom", "env-spec"),
    // What a workload's annotations name are references and pins, which the environment's crate defines.
    ("workload", "env-spec"),
];

/// Checks every edge between the project's crates.
pub(crate) fn check(root: &Path) -> Result<()> {
    let broken: Vec<String> = edges(root)?
        .into_iter()
        .filter(|(from, to)| !is_allowed(from, to))
        .map(|(from, to)| format!("{from} -> {to}"))
        .collect();
    if broken.is_empty() {
        return Ok(());
    }
    bail!(
        "these dependencies break the floors (docs/ARCHITECTURE.md): {}",
        broken.join(", ")
    )
}

/// Returns the edges between crates that ship, sorted.
pub(crate) fn edges(root: &Path) -> Result<Vec<(String, String)>> {
    let mut edges = Vec::new();
    for package in metadata::packages(root)? {
        if floor(&package.name).is_none() {
            continue;
        }
        // A dev-dependency may look anywhere: it never ships.
        let dependencies = package.dependencies.into_iter();
        edges.extend(
            dependencies
                .filter(|one| one.path.is_some() && one.kind.as_deref() != Some("dev"))
                .map(|one| (package.name.clone(), one.name)),
        );
    }
    edges.sort();
    Ok(edges)
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|names| names.contains(&name))
}

fn is_allowed(from: &str, to: &str) -> bool {
    match (floor(from), floor(to)) {
        (Some(here), Some(below)) => below < here || DECIDED.contains(&(from, to)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn down_is_allowed_and_up_and_sideways_are_not() {
        assert!(is_allowed("agent", "store"));
        assert!(is_allowed("sbom", "env-spec"));
        assert!(!is_allowed("shim", "agent"));
        assert!(!is_allowed("nix-data", "host"));
        assert!(!is_allowed("cli", "testkit"));
    }
}
