//! What the package set knows: facts about packages, asked of the real `nix`.

use std::collections::BTreeMap;

use env_spec::System;
use host::nix::Nix;
use host::process::ProcessError;
use nix_data::{Hash, StorePath};
use serde::{Deserialize, Serialize};

use crate::settings::Revision;

/// The expression that finds the facts.
const FACTS: &str = include_str!("facts.nix");
/// The variable that carries the request to it.
const REQUEST: &str = "NIVAL_CATALOG_REQUEST";
/// More packages in one call than Linux lets one variable carry.
const MOST_PER_CALL: usize = 500;

/// What the package set says about one package.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Facts {
    found: bool,
    /// Whether it is there, but fails to evaluate.
    #[serde(default)]
    fails: bool,
    /// The name without version.
    #[serde(default)]
    pub(crate) pname: String,
    /// The version.
    #[serde(default)]
    pub(crate) version: String,
    /// The derivation's path.
    #[serde(default)]
    pub(crate) derivation: Option<String>,
    /// The outputs with their paths.
    #[serde(default)]
    pub(crate) outputs: Option<BTreeMap<String, Option<String>>>,
    /// The outputs that a user means by naming the package.
    #[serde(default)]
    pub(crate) outputs_to_install: Option<Vec<String>>,
    /// Licences, as SPDX identifiers where the package set has them.
    #[serde(default)]
    pub(crate) licenses: Vec<String>,
    /// Whether all of them are free.
    #[serde(default)]
    pub(crate) free: bool,
    /// Whether it is known not to work.
    #[serde(default)]
    pub(crate) broken: bool,
    /// Whether it is not for this system.
    #[serde(default)]
    pub(crate) unsupported: bool,
    /// One line about it.
    #[serde(default)]
    pub(crate) description: Option<String>,
    /// Where it comes from.
    #[serde(default)]
    pub(crate) homepage: Option<String>,
    /// Its Common Platform Enumeration name.
    #[serde(default)]
    pub(crate) cpe: Option<String>,
    /// Its package URL.
    #[serde(default)]
    pub(crate) purl: Option<String>,
}

/// The facts of one revision on one system.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// By attribute path as asked; what is not there is missing.
    pub(crate) packages: BTreeMap<String, Facts>,
    /// What is there, but fails to evaluate.
    pub(crate) failing: Vec<String>,
    /// The top-level names, where something was missing.
    pub(crate) names: Vec<String>,
    /// The folder of the package set.
    pub(crate) root: String,
}

/// Why there are no facts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogError {
    /// Not a path of names.
    #[error(
        "{path:?} is not a package path: expected names of letters, digits and -_+.' joined by dots"
    )]
    BadPath {
        /// The text.
        path: String,
    },
    /// The evaluation failed.
    #[error("cannot evaluate package set revision {revision} ({path}) for {system}")]
    Evaluate {
        /// The revision's name.
        revision: String,
        /// Its path.
        path: String,
        /// The system.
        system: System,
        /// What Nix said.
        #[source]
        source: Box<ProcessError>,
    },
    /// The answer is not what the expression gives.
    #[error("the facts from package set revision {revision} make no sense")]
    Answer {
        /// The revision's name.
        revision: String,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The folder could not be hashed.
    #[error("cannot hash package set revision {revision} ({path})")]
    Hash {
        /// The revision's name.
        revision: String,
        /// Its path.
        path: String,
        /// What Nix said.
        #[source]
        source: Box<ProcessError>,
    },
    /// A path that Nix gave is none.
    #[error(
        "package set revision {revision} gives {attribute} the store path {path:?}, which is none"
    )]
    StorePath {
        /// The revision's name.
        revision: String,
        /// The package.
        attribute: String,
        /// The text.
        path: String,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    path: &'a str,
    system: &'a System,
    packages: Vec<Vec<String>>,
    list_names: bool,
    explain: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Reply {
    answers: Vec<Facts>,
    root: String,
    names: Vec<String>,
}

/// Asks one revision for facts about these packages on one system.
///
/// # Errors
/// Fails when a path is none, or the evaluation as a whole fails: a package that does not evaluate is only not there.
pub(crate) fn facts(
    nix: &Nix,
    revision: &Revision,
    system: &System,
    packages: &[String],
    list_names: bool,
) -> Result<Answer, CatalogError> {
    let mut whole = Answer {
        packages: BTreeMap::new(),
        failing: Vec::new(),
        names: Vec::new(),
        root: String::new(),
    };
    let mut calls: Vec<&[String]> = packages.chunks(MOST_PER_CALL).collect();
    if calls.is_empty() {
        calls.push(&[]);
    }
    for asked in calls {
        let request = Request {
            path: &revision.path,
            system,
            packages: asked
                .iter()
                .map(|path| split(path))
                .collect::<Result<_, _>>()?,
            list_names,
            explain: None,
        };
        let reply: Reply = serde_json::from_slice(&evaluate(nix, revision, system, &request)?)
            .map_err(|source| CatalogError::Answer {
                revision: revision.name.clone(),
                source,
            })?;
        whole.root = reply.root;
        whole.names.extend(reply.names);
        let failing = asked
            .iter()
            .zip(&reply.answers)
            .filter(|(_, facts)| facts.fails);
        whole.failing.extend(failing.map(|(path, _)| path.clone()));
        let found = asked
            .iter()
            .cloned()
            .zip(reply.answers)
            .filter(|(_, facts)| facts.found);
        whole.packages.extend(found);
    }
    Ok(whole)
}

/// Returns why a package fails to evaluate, in the package set's own words.
pub(crate) fn explain(
    nix: &Nix,
    revision: &Revision,
    system: &System,
    package: &str,
) -> Option<String> {
    let explain = Some(split(package).ok()?);
    let path = &revision.path;
    let request = Request {
        path,
        system,
        packages: Vec::new(),
        list_names: false,
        explain,
    };
    match evaluate(nix, revision, system, &request) {
        Err(CatalogError::Evaluate { source, .. }) => match *source {
            ProcessError::Failed { talk, .. } => {
                let (_, words) = talk.rsplit_once("error:")?;
                Some(words.split_whitespace().collect::<Vec<_>>().join(" "))
            }
            ProcessError::Start { .. } => None,
        },
        _ => None,
    }
}

fn evaluate(
    nix: &Nix,
    revision: &Revision,
    system: &System,
    request: &Request<'_>,
) -> Result<Vec<u8>, CatalogError> {
    let request = serde_json::to_string(request).map_err(|source| CatalogError::Answer {
        revision: revision.name.clone(),
        source,
    })?;
    let mut command = nix.command(&["eval", "--json", "--impure", "--expr", FACTS]);
    command.env(REQUEST, request);
    let output = nix
        .run(&mut command)
        .map_err(|source| CatalogError::Evaluate {
            revision: revision.name.clone(),
            path: revision.path.clone(),
            system: system.clone(),
            source: Box::new(shortened(source)),
        })?;
    Ok(output.stdout)
}

/// The whole expression in an error helps nobody.
fn shortened(error: ProcessError) -> ProcessError {
    match error {
        ProcessError::Failed {
            command,
            status,
            talk,
        } => {
            let command = command.replace(&format!("'{}'", FACTS.replace('\'', r"'\''")), "…");
            ProcessError::Failed {
                command,
                status,
                talk,
            }
        }
        start @ ProcessError::Start { .. } => start,
    }
}

/// Returns the hash of a revision's folder, so that one name cannot mean two things.
///
/// # Errors
/// Fails when the folder cannot be read.
pub(crate) fn hash(
    nix: &Nix,
    revision: &Revision,
    root: &str,
) -> Result<Option<Hash>, CatalogError> {
    let mut command = nix.command(&["hash", "path", "--type", "sha256"]);
    let output = nix
        .run(command.args(["--", root]))
        .map_err(|source| CatalogError::Hash {
            revision: revision.name.clone(),
            path: root.to_owned(),
            source: Box::new(source),
        })?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
}

/// Returns a store path that Nix gave.
///
/// # Errors
/// Fails when it is none.
pub(crate) fn store_path(
    revision: &str,
    attribute: &str,
    text: &str,
) -> Result<StorePath, CatalogError> {
    text.parse().map_err(|_| CatalogError::StorePath {
        revision: revision.to_owned(),
        attribute: attribute.to_owned(),
        path: text.to_owned(),
    })
}

/// Tells whether a name of the package set can be asked for.
#[must_use]
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_allowed)
}

fn is_allowed(one: char) -> bool {
    one.is_ascii_alphanumeric() || "-_+'.".contains(one)
}

/// Splits an attribute path; a name with dots in it is written in quotes.
fn split(path: &str) -> Result<Vec<String>, CatalogError> {
    let bad = || CatalogError::BadPath {
        path: path.chars().take(200).collect(),
    };
    let mut names = vec![String::new()];
    let mut quoted = false;
    for one in path.chars() {
        let last = names.last_mut().expect("there is a name from the start");
        match one {
            '"' => quoted = !quoted,
            '.' if !quoted => names.push(String::new()),
            _ if is_allowed(one) => last.push(one),
            _ => return Err(bad()),
        }
    }
    if quoted || names.len() > 20 || names.iter().any(|name| name.is_empty() || name.len() > 200) {
        return Err(bad());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_paths_split_at_dots_outside_quotes() {
        assert_eq!(
            split("python3Packages.numpy").unwrap(),
            ["python3Packages", "numpy"]
        );
        assert_eq!(split("linux.\"6.12\"").unwrap(), ["linux", "6.12"]);
    }

    #[test]
    fn what_is_no_attribute_path_never_reaches_nix() {
        for path in [
            "", ".", "a..b", "a b", "${x}", "a;b", "\"", "a\"b", "a\n", "a/b", "--x=${y}",
        ] {
            assert!(
                matches!(split(path), Err(CatalogError::BadPath { .. })),
                "{path:?}"
            );
        }
    }
}
