//! Chooses the revision of the package set for each group of packages: the newest in which all of them are as wanted.

mod error;
mod facts;
mod version;

use std::collections::{BTreeMap, BTreeSet};

pub use error::{Disallowed, SolveError, SolveProblem};
pub use facts::{PackageFacts, RevisionFacts};
pub use version::{VersionRequirement, VersionRequirementError, compare_versions};

use crate::System;
use crate::diagnostic::nearest;
use crate::lockfile::{CatalogRevision, LockedPackage};
use crate::manifest::{Allow, InstallSource, Manifest, Outputs};

/// A group of packages that must come from one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRequest {
    /// Its name.
    pub group: String,
    /// Its packages, sorted by install id.
    pub packages: Vec<PackageRequest>,
    /// Which packages are allowed.
    pub allow: Allow,
    /// Whether a range takes versions before a release.
    pub allow_pre_releases: bool,
}

/// A package that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageRequest {
    /// The id in `[install]`.
    pub install_id: String,
    /// Its attribute path.
    pub attr_path: String,
    /// Which versions will do; `None` for any.
    pub version: Option<VersionRequirement>,
    /// Which wins where two packages have the same file: the lower.
    pub priority: u32,
    /// The outputs to install.
    pub outputs: Outputs,
    /// The systems it is wanted on.
    pub systems: Vec<System>,
}

/// What a group was resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSolution {
    /// The group.
    pub group: String,
    /// The revision.
    pub revision: CatalogRevision,
    /// The packages of each system, sorted by install id.
    pub packages: BTreeMap<System, Vec<LockedPackage>>,
}

/// Returns what the manifest wants of the package set: one request per group, sorted by name.
///
/// # Errors
/// Fails for a version requirement that is none.
pub fn requests(manifest: &Manifest) -> Result<Vec<GroupRequest>, SolveError> {
    let mut groups: BTreeMap<&str, GroupRequest> = BTreeMap::new();
    for (install_id, install) in &manifest.install {
        let InstallSource::Catalog {
            pkg_path,
            version,
            group,
        } = &install.source
        else {
            continue;
        };
        let version = version
            .as_deref()
            .map(VersionRequirement::parse)
            .transpose();
        let version = version.map_err(|source| {
            let install_id = install_id.clone();
            SolveError::of(SolveProblem::Requirement { install_id, source })
        })?;
        let request = groups.entry(group).or_insert_with(|| GroupRequest {
            group: group.clone(),
            packages: Vec::new(),
            allow: manifest.options.allow.clone(),
            allow_pre_releases: manifest.options.allow_pre_releases,
        });
        request.packages.push(PackageRequest {
            install_id: install_id.clone(),
            attr_path: pkg_path.clone(),
            version,
            priority: install.priority,
            outputs: install.outputs.clone(),
            systems: install.systems.clone(),
        });
    }
    Ok(groups.into_values().collect())
}

impl GroupRequest {
    /// Returns the attribute paths that must be looked up on each system.
    #[must_use]
    pub fn wanted(&self) -> BTreeMap<System, Vec<String>> {
        let mut wanted: BTreeMap<System, BTreeSet<String>> = BTreeMap::new();
        for package in &self.packages {
            for system in &package.systems {
                wanted
                    .entry(system.clone())
                    .or_default()
                    .insert(package.attr_path.clone());
            }
        }
        wanted
            .into_iter()
            .map(|(system, paths)| (system, paths.into_iter().collect()))
            .collect()
    }
}

/// Takes one revision after the other, newest first, until one satisfies the whole group.
#[derive(Debug)]
pub struct GroupSolver<'a> {
    request: &'a GroupRequest,
    /// For each package, what became of it in each revision.
    verdicts: Vec<Vec<Verdict>>,
    revisions: Vec<String>,
    names: BTreeSet<String>,
}

/// What became of a package in a revision. Later ones came nearer to success.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Unknown,
    Systems {
        missing: Vec<System>,
        present: Vec<System>,
    },
    Version {
        found: BTreeSet<String>,
    },
    Output {
        output: String,
        available: Vec<String>,
    },
    Disallowed {
        version: String,
        reason: Disallowed,
    },
    Good,
}

impl Verdict {
    fn progress(&self) -> usize {
        match self {
            Self::Unknown => 0,
            Self::Systems { .. } => 1,
            Self::Version { .. } => 2,
            Self::Output { .. } => 3,
            Self::Disallowed { .. } => 4,
            Self::Good => 5,
        }
    }
}

impl<'a> GroupSolver<'a> {
    /// Begins with a group.
    #[must_use]
    pub fn new(request: &'a GroupRequest) -> Self {
        let verdicts = vec![Vec::new(); request.packages.len()];
        Self {
            request,
            verdicts,
            revisions: Vec::new(),
            names: BTreeSet::new(),
        }
    }

    /// Looks whether a revision will do, and returns the solution if so.
    pub fn consider(&mut self, facts: &RevisionFacts) -> Option<GroupSolution> {
        self.revisions.push(facts.revision.revision.clone());
        self.names.extend(facts.names.iter().cloned());
        self.names
            .extend(facts.packages.keys().map(|(_, path)| path.clone()));
        let mut all_good = true;
        for (package, verdicts) in self.request.packages.iter().zip(&mut self.verdicts) {
            let verdict = judge(package, self.request, facts);
            all_good &= verdict == Verdict::Good;
            verdicts.push(verdict);
        }
        all_good.then(|| self.solution(facts))
    }

    /// Returns why no revision would do.
    #[must_use]
    pub fn finish(self) -> SolveError {
        if self.revisions.is_empty() {
            return SolveError::of(SolveProblem::NoRevisions {
                group: self.request.group.clone(),
            });
        }
        let mut problems = Vec::new();
        for (package, verdicts) in self.request.packages.iter().zip(&self.verdicts) {
            let best = verdicts.iter().max_by_key(|verdict| verdict.progress());
            let best = best.expect("a revision was considered, so there is a verdict");
            problems.extend(self.problem(package, best, verdicts));
        }
        if problems.is_empty() {
            problems.push(self.no_common_revision());
        }
        SolveError { problems }
    }

    fn solution(&self, facts: &RevisionFacts) -> GroupSolution {
        let mut packages: BTreeMap<System, Vec<LockedPackage>> = BTreeMap::new();
        for package in &self.request.packages {
            for system in &package.systems {
                let found = facts.find(system, &package.attr_path);
                let found =
                    found.expect("a package that was judged good has facts on each of its systems");
                let locked = found.lock(package, &self.request.group);
                packages.entry(system.clone()).or_default().push(locked);
            }
        }
        for list in packages.values_mut() {
            list.sort_by(|one, other| one.install_id.cmp(&other.install_id));
        }
        GroupSolution {
            group: self.request.group.clone(),
            revision: facts.revision.clone(),
            packages,
        }
    }

    fn problem(
        &self,
        package: &PackageRequest,
        best: &Verdict,
        verdicts: &[Verdict],
    ) -> Option<SolveProblem> {
        let install_id = package.install_id.clone();
        let attr_path = package.attr_path.clone();
        Some(match best {
            Verdict::Good => return None,
            Verdict::Unknown => {
                let near = nearest(&attr_path, self.names.iter().map(String::as_str));
                SolveProblem::Unknown {
                    near: near.map(str::to_owned),
                    install_id,
                    attr_path,
                }
            }
            Verdict::Systems { missing, present } => SolveProblem::Systems {
                install_id,
                attr_path,
                missing: missing.clone(),
                present: present.clone(),
            },
            Verdict::Version { .. } => {
                let mut available = BTreeSet::new();
                for verdict in verdicts {
                    if let Verdict::Version { found } = verdict {
                        available.extend(found.iter().cloned());
                    }
                }
                let mut available: Vec<String> = available.into_iter().collect();
                available.sort_by(|one, other| compare_versions(other, one));
                let wanted = package
                    .version
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                SolveProblem::Version {
                    install_id,
                    attr_path,
                    wanted,
                    available,
                }
            }
            Verdict::Output { output, available } => SolveProblem::Output {
                install_id,
                attr_path,
                output: output.clone(),
                available: available.clone(),
            },
            Verdict::Disallowed { version, reason } => SolveProblem::Disallowed {
                install_id,
                attr_path,
                version: version.clone(),
                reason: reason.clone(),
            },
        })
    }

    /// Every package would be had alone: says where, so that one can be put into a group of its own.
    fn no_common_revision(&self) -> SolveProblem {
        let good = |verdicts: &Vec<Verdict>| {
            let pairs = self.revisions.iter().zip(verdicts);
            pairs
                .filter(|(_, verdict)| **verdict == Verdict::Good)
                .map(|(name, _)| name.clone())
                .collect()
        };
        let ids = self
            .request
            .packages
            .iter()
            .map(|package| package.install_id.clone());
        SolveProblem::NoCommonRevision {
            group: self.request.group.clone(),
            revisions: ids.zip(self.verdicts.iter().map(good)).collect(),
        }
    }
}

/// Judges one package in one revision.
fn judge(package: &PackageRequest, request: &GroupRequest, facts: &RevisionFacts) -> Verdict {
    let on = |system: &System| {
        facts
            .find(system, &package.attr_path)
            .filter(|found| !found.unsupported)
    };
    let (present, missing): (Vec<System>, Vec<System>) = package
        .systems
        .iter()
        .cloned()
        .partition(|system| on(system).is_some());
    if !missing.is_empty() {
        let known_elsewhere = facts
            .packages
            .keys()
            .any(|(_, path)| *path == package.attr_path);
        return if present.is_empty() && !known_elsewhere {
            Verdict::Unknown
        } else {
            Verdict::Systems { missing, present }
        };
    }
    let found: Vec<&PackageFacts> = package.systems.iter().filter_map(on).collect();
    if let Some(wanted) = &package.version {
        let fits = |one: &&PackageFacts| wanted.matches(&one.version, request.allow_pre_releases);
        if !found.iter().all(fits) {
            return Verdict::Version {
                found: found.iter().map(|one| one.version.clone()).collect(),
            };
        }
    }
    for one in &found {
        if let Some(output) = one.missing_output(&package.outputs) {
            let available = one.outputs.keys().cloned().collect();
            return Verdict::Output { output, available };
        }
        if let Some(reason) = one.disallowed(&request.allow) {
            return Verdict::Disallowed {
                version: one.version.clone(),
                reason,
            };
        }
    }
    Verdict::Good
}

#[cfg(test)]
mod tests;
