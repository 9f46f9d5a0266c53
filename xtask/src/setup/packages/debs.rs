//! The Debian packages that the set is made of, and what each needs of the others at run time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use fs_err as fs;
use serde_json::{Value, json};

use crate::setup::apt::{Apt, Package};
use crate::setup::step::{Inputs, Steps};
use crate::setup::tools::{SUITE, Tools};

/// What every other package needs, and which therefore needs nothing: its own dependencies lead back to it.
const LIBC: &str = "libc6";

/// Downloads the packages with all that they need, and writes `debs.json` beside them.
pub(super) fn bring(steps: &Steps, tools: &Tools, source: &Path) -> Result<()> {
    let roots = fs::read_to_string(source.join("debian-packages.txt"))?;
    let left_out = fs::read_to_string(source.join("dependencies-left-out.txt"))?;
    let inputs = Inputs::of_recipe(1)
        .with(SUITE)
        .with(&roots)
        .with(&left_out);
    steps.run("packages/debs", inputs, |folder| {
        let apt = Apt::open(&steps.scratch(), SUITE, &tools.keyring())?;
        let roots = names(&roots);
        let available = apt.closure(&roots)?;
        let graph = graph(&available, &roots, &names(&left_out).into_iter().collect())?;
        apt.download(graph.keys().map(|name| &available[*name]), folder)?;
        let text = serde_json::to_string_pretty(&describe(&available, &graph))?;
        Ok(fs::write(folder.join("debs.json"), text)?)
    })
}

fn names(list: &str) -> Vec<&str> {
    list.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// Returns, for every package that the roots lead to, the packages that it depends on.
fn graph<'a>(
    available: &'a BTreeMap<String, Package>,
    roots: &[&str],
    left_out: &BTreeSet<&str>,
) -> Result<BTreeMap<&'a str, Vec<&'a str>>> {
    let mut graph = BTreeMap::new();
    let mut waiting: Vec<&str> = roots.to_vec();
    while let Some(name) = waiting.pop() {
        let (name, package) = available
            .get_key_value(name)
            .with_context(|| format!("Debian {SUITE} has no package {name}"))?;
        if graph.contains_key(name.as_str()) {
            continue;
        }
        let depends = if name == LIBC {
            Vec::new()
        } else {
            dependencies(package, available, left_out)?
        };
        waiting.extend(&depends);
        graph.insert(name.as_str(), depends);
    }
    Ok(graph)
}

/// Chooses one package for each of a package's dependencies.
fn dependencies<'a>(
    package: &'a Package,
    available: &'a BTreeMap<String, Package>,
    left_out: &BTreeSet<&str>,
) -> Result<Vec<&'a str>> {
    let mut chosen = BTreeSet::new();
    for dependency in package
        .depends
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        let names: Vec<&str> = dependency.split('|').map(bare_name).collect();
        if names.iter().any(|name| left_out.contains(name)) {
            continue;
        }
        let provider = |name: &&str| {
            let provides =
                |other: &&Package| other.provides.split(',').any(|one| bare_name(one) == *name);
            let named = available.get(*name);
            named
                .or_else(|| available.values().find(provides))
                .map(|package| package.name.as_str())
        };
        let found = names.iter().find_map(provider);
        let found = found
            .with_context(|| format!("nothing provides {dependency:?} of {}", package.name))?;
        chosen.insert(found);
    }
    Ok(chosen.into_iter().collect())
}

/// Strips version and architecture from a dependency.
fn bare_name(dependency: &str) -> &str {
    let end = dependency.trim_start().find([' ', '(', ':']);
    let dependency = dependency.trim_start();
    end.map_or(dependency, |end| &dependency[..end])
}

fn describe(available: &BTreeMap<String, Package>, graph: &BTreeMap<&str, Vec<&str>>) -> Value {
    let entries = graph.iter().map(|(name, depends)| {
        let package = &available[*name];
        let entry = json!({
            "version": package.upstream_version(),
            "debianVersion": package.version,
            "file": package.file_name(),
            "sha256": package.sha256,
            "depends": depends,
        });
        ((*name).to_owned(), entry)
    });
    Value::Object(entries.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, depends: &str, provides: &str) -> (String, Package) {
        let package = Package {
            name: name.to_owned(),
            version: "1:2.0-3".to_owned(),
            sha256: String::new(),
            depends: depends.to_owned(),
            provides: provides.to_owned(),
        };
        (name.to_owned(), package)
    }

    #[test]
    fn dependencies_are_followed_through_alternatives_and_providers() {
        let available = BTreeMap::from([
            package(
                "app",
                "libc6 (>= 2.36), libblas.so.3 | atlas, app-doc, python3:any",
                "",
            ),
            package("libblas3", "libc6", "libblas.so.3 (= 3)"),
            package("libc6", "libblas3", ""),
            package("unrelated", "", ""),
        ]);
        let graph = graph(
            &available,
            &["app"],
            &BTreeSet::from(["app-doc", "python3"]),
        )
        .unwrap();
        assert_eq!(graph["app"], ["libblas3", "libc6"]);
        assert!(graph["libc6"].is_empty());
        assert!(!graph.contains_key("unrelated"));
    }

    #[test]
    fn a_dependency_that_nothing_provides_is_named() {
        let available = BTreeMap::from([package("app", "gone (>= 1)", "")]);
        let error = graph(&available, &["app"], &BTreeSet::new()).unwrap_err();
        assert_eq!(error.to_string(), "nothing provides \"gone (>= 1)\" of app");
    }
}
