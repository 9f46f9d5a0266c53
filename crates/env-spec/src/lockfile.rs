//! `manifest.lock`: what a manifest was resolved to, on every system.

use std::collections::BTreeMap;

use nix_data::StorePath;
use serde::{Deserialize, Serialize};

use crate::System;
use crate::activation::ActivationPlan;
use crate::generation::ClosurePath;

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
