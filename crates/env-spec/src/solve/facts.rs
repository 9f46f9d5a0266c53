//! What a revision of the package set says about packages.

use std::collections::BTreeMap;

use nix_data::StorePath;

use super::PackageRequest;
use super::error::Disallowed;
use crate::System;
use crate::lockfile::{CatalogRevision, LockedPackage};
use crate::manifest::{Allow, Outputs};

/// The facts about the packages that were asked for, in one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionFacts {
    /// The revision.
    pub revision: CatalogRevision,
    /// By system and attribute path as asked; what is not here is missing.
    pub packages: BTreeMap<(System, String), PackageFacts>,
    /// Names that the package set has, for telling what a misspelt one may mean; may be empty.
    pub names: Vec<String>,
}

/// What the package set says about one package on one system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageFacts {
    /// The name without version.
    pub pname: String,
    /// The version.
    pub version: String,
    /// The derivation.
    pub derivation: Option<StorePath>,
    /// All outputs by name.
    pub outputs: BTreeMap<String, StorePath>,
    /// The outputs that a user means by naming the package.
    pub outputs_to_install: Vec<String>,
    /// Licences as SPDX identifiers or expressions, else as the package set names them.
    pub licenses: Vec<String>,
    /// Whether the licence is free.
    pub free: bool,
    /// Whether it is known not to work.
    pub broken: bool,
    /// Whether it is not for this system.
    pub unsupported: bool,
    /// One line about it.
    pub description: Option<String>,
    /// Where it comes from.
    pub homepage: Option<String>,
    /// Its Common Platform Enumeration name.
    pub cpe: Option<String>,
    /// Its package URL.
    pub purl: Option<String>,
}

impl RevisionFacts {
    pub(super) fn find(&self, system: &System, attr_path: &str) -> Option<&PackageFacts> {
        self.packages.get(&(system.clone(), attr_path.to_owned()))
    }
}

impl PackageFacts {
    /// Returns the first output that is wanted and not there.
    pub(super) fn missing_output(&self, wanted: &Outputs) -> Option<String> {
        let names: &[String] = match wanted {
            Outputs::All => return None,
            Outputs::Default => &self.outputs_to_install,
            Outputs::Named(names) => names,
        };
        names
            .iter()
            .find(|name| !self.outputs.contains_key(*name))
            .cloned()
    }

    /// Returns why the package may not be installed, if it may not.
    pub(super) fn disallowed(&self, allow: &Allow) -> Option<Disallowed> {
        if self.broken && !allow.broken {
            return Some(Disallowed::Broken);
        }
        if !self.free && !allow.unfree {
            return Some(Disallowed::Unfree {
                licenses: self.licenses.clone(),
            });
        }
        let listed = |license: &String| {
            allow
                .licenses
                .iter()
                .any(|one| one.eq_ignore_ascii_case(license))
        };
        let is_listed = !self.licenses.is_empty() && self.licenses.iter().all(listed);
        if !allow.licenses.is_empty() && !is_listed {
            return Some(Disallowed::License {
                licenses: self.licenses.clone(),
            });
        }
        None
    }

    /// Returns the package as the lock file has it.
    pub(super) fn lock(&self, package: &PackageRequest, group: &str) -> LockedPackage {
        let outputs_to_install = match &package.outputs {
            Outputs::Default => self.outputs_to_install.clone(),
            Outputs::Named(names) => names.clone(),
            Outputs::All => {
                // The main output first: it wins where two outputs have the same file.
                let mut names: Vec<String> = self.outputs.keys().cloned().collect();
                names.sort_by_key(|name| (name != "out", name.clone()));
                names
            }
        };
        LockedPackage {
            install_id: package.install_id.clone(),
            attr_path: package.attr_path.clone(),
            group: group.to_owned(),
            pname: self.pname.clone(),
            version: self.version.clone(),
            priority: package.priority,
            derivation: self.derivation.clone(),
            outputs: self.outputs.clone(),
            outputs_to_install,
            licenses: self.licenses.clone(),
            free: self.free,
            description: self.description.clone(),
            homepage: self.homepage.clone(),
            cpe: self.cpe.clone(),
            purl: self.purl.clone(),
        }
    }
}
