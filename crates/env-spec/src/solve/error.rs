//! Why packages cannot be had as they are wanted, each with what to do about it.

use std::fmt;

use super::version::VersionRequirementError;
use crate::System;
use crate::manifest::as_key;

/// Everything that keeps a group from being resolved; one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SolveError {
    /// The problems; never empty.
    pub problems: Vec<SolveProblem>,
}

/// One thing that keeps a group from being resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SolveProblem {
    /// No revision has it.
    #[error("package {attr_path} (install.{install_id}) is not in the package set{}", did_you_mean(near.as_deref()))]
    Unknown {
        /// The id.
        install_id: String,
        /// The attribute path.
        attr_path: String,
        /// A name that looks like it.
        near: Option<String>,
    },
    /// It is not there on some of its systems.
    #[error(
        "package {attr_path} (install.{install_id}) is not available on {}{}",
        list(missing),
        restrict(install_id, present)
    )]
    Systems {
        /// The id.
        install_id: String,
        /// The attribute path.
        attr_path: String,
        /// Where it is missing.
        missing: Vec<System>,
        /// Where it is there.
        present: Vec<System>,
    },
    /// No revision has a version that will do.
    #[error(
        "no version of {attr_path} satisfies {wanted:?} (install.{install_id}.version); available: {}",
        available.join(", ")
    )]
    Version {
        /// The id.
        install_id: String,
        /// The attribute path.
        attr_path: String,
        /// The requirement.
        wanted: String,
        /// What there is, newest first.
        available: Vec<String>,
    },
    /// It lacks an output.
    #[error("package {attr_path} (install.{install_id}) has no output {output:?}; it has {}", available.join(", "))]
    Output {
        /// The id.
        install_id: String,
        /// The attribute path.
        attr_path: String,
        /// The output.
        output: String,
        /// The outputs it has.
        available: Vec<String>,
    },
    /// The manifest's options forbid it.
    #[error("package {attr_path} {version} (install.{install_id}) {reason}")]
    Disallowed {
        /// The id.
        install_id: String,
        /// The attribute path.
        attr_path: String,
        /// Its version.
        version: String,
        /// Why.
        reason: Disallowed,
    },
    /// Each package can be had, but not all from one revision.
    #[error(
        "no revision of the package set has all packages of group {group:?} as they are wanted ({}); \
         give one of them another pkg-group or a wider version",
        per_package(revisions)
    )]
    NoCommonRevision {
        /// The group.
        group: String,
        /// For each install id the revisions that would do.
        revisions: Vec<(String, Vec<String>)>,
    },
    /// There is nothing to choose from.
    #[error(
        "there is no revision of the package set to resolve group {group:?} with: configure one"
    )]
    NoRevisions {
        /// The group.
        group: String,
    },
    /// The requirement makes no sense.
    #[error("install.{install_id}.version: {source}")]
    Requirement {
        /// The id.
        install_id: String,
        /// What is wrong with it.
        source: VersionRequirementError,
    },
}

/// Which rule of `[options]` forbids a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disallowed {
    /// It is known not to work.
    Broken,
    /// Its licence is not free.
    Unfree {
        /// Its licences.
        licenses: Vec<String>,
    },
    /// Its licence is not one of those that are allowed.
    License {
        /// Its licences.
        licenses: Vec<String>,
    },
}

impl SolveError {
    pub(super) fn of(problem: SolveProblem) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}

impl std::error::Error for SolveError {}

impl fmt::Display for SolveError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        formatter.write_str(&lines.join("\n"))
    }
}

impl fmt::Display for Disallowed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |licenses: &[String]| match licenses {
            [] => "none known".to_owned(),
            some => some.join(", "),
        };
        match self {
            Self::Broken => formatter.write_str(
                "is marked as broken; to take it all the same, set options.allow.broken = true",
            ),
            Self::Unfree { licenses } => write!(
                formatter,
                "has a licence that is not free ({}); to allow it, set options.allow.unfree = true",
                shown(licenses)
            ),
            Self::License { licenses } => write!(
                formatter,
                "has a licence that options.allow.licenses does not list ({})",
                shown(licenses)
            ),
        }
    }
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map(|near| format!("; did you mean {near}?"))
        .unwrap_or_default()
}

fn list(systems: &[System]) -> String {
    systems
        .iter()
        .map(System::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

fn restrict(install_id: &str, present: &[System]) -> String {
    if present.is_empty() {
        return ": name other systems in options.systems, or remove it".to_owned();
    }
    let quoted: Vec<String> = present
        .iter()
        .map(|system| format!("{:?}", system.as_str()))
        .collect();
    format!(
        "; to leave it out there, write {}.systems = [{}]",
        as_key(install_id),
        quoted.join(", ")
    )
}

fn per_package(revisions: &[(String, Vec<String>)]) -> String {
    let one = |(id, names): &(String, Vec<String>)| {
        let more = if names.len() > 3 { ", …" } else { "" };
        format!(
            "{id}: {}{more}",
            names.iter().take(3).cloned().collect::<Vec<_>>().join(", ")
        )
    };
    revisions.iter().map(one).collect::<Vec<_>>().join("; ")
}
