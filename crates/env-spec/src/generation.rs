//! Generations, the pointer that says which one is live, and the list of revoked ones.

use std::collections::BTreeMap;

use nix_data::{Hash, StorePath};
use serde::{Deserialize, Serialize};

use crate::activation::ActivationPlan;
use crate::{Digest, EnvironmentName, Pin, Record, System};

/// The version of the record's form that this code writes and reads.
pub const RECORD_VERSION: u32 = 1;

/// One published state of an environment: it fixes every byte of the closure on every system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Generation {
    /// The version of this form.
    pub version: u32,
    /// Whose generation it is.
    pub environment: EnvironmentName,
    /// Counts up by one from 1.
    pub number: u64,
    /// The generation before it.
    pub parent: Option<Digest>,
    /// When it was made (RFC 3339, UTC).
    pub created: String,
    /// Who made it.
    pub author: String,
    /// What the author said of it.
    pub message: String,
    /// The manifest's text.
    pub manifest: String,
    /// The digest of the lock file's text.
    pub lock: Digest,
    /// What to run on each system that it was locked for.
    pub systems: BTreeMap<System, SystemGeneration>,
}

/// A generation as it is on one system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SystemGeneration {
    /// The composed environment.
    pub environment: StorePath,
    /// Every store path that it needs, itself included, sorted by path.
    pub closure: Vec<ClosurePath>,
    /// How to run in it.
    pub activation: ActivationPlan,
    /// The bills of materials, by format (`cyclonedx-1.6`).
    pub sboms: BTreeMap<String, Digest>,
}

/// A store path with what fixes its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClosurePath {
    /// The store path.
    pub path: StorePath,
    /// The SHA-256 of its NAR, in SRI form.
    pub nar_hash: Hash,
    /// The length of its NAR in bytes.
    pub nar_size: u64,
    /// The store paths it refers to, sorted; itself included where it does.
    pub references: Vec<StorePath>,
}

/// Which generation of an environment is live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LivePointer {
    /// The environment.
    pub environment: EnvironmentName,
    /// The live generation's number.
    pub number: u64,
    /// The live generation's digest.
    pub digest: Digest,
    /// Counts up with every change; whoever has seen a higher one refuses this.
    pub sequence: u64,
    /// When it was made (RFC 3339, UTC).
    pub time: String,
}

/// The generations of an owner that must not run any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevocationList {
    /// The owner.
    pub owner: String,
    /// Revoked generations with the reason.
    pub revoked: BTreeMap<Digest, String>,
    /// Counts up with every change.
    pub sequence: u64,
    /// When it was made (RFC 3339, UTC).
    pub time: String,
}

impl Record for Generation {
    const KIND: &'static str = "nival-generation-v1";
}

impl Record for LivePointer {
    const KIND: &'static str = "nival-live-pointer-v1";
}

impl Record for RevocationList {
    const KIND: &'static str = "nival-revocations-v1";
}

/// Why a generation cannot be right, whoever signed it.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// Made by a newer Nival.
    #[error(
        "generation record has version {found}; this Nival reads version {RECORD_VERSION}: upgrade it"
    )]
    Version {
        /// The record's version.
        found: u32,
    },
    /// A record of another environment or generation was put in the place of the right one.
    #[error("record is of {found}, not of {wanted}")]
    Foreign {
        /// What the record says it is.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// It does not exist for this machine.
    #[error(
        "{generation} has nothing for system {system} (it has: {available}): lock and push it for that system too, or let the pod run on other nodes"
    )]
    NoSystem {
        /// The generation.
        generation: String,
        /// The machine's system.
        system: System,
        /// The systems it has.
        available: String,
    },
    /// The closure is not closed under references, unsorted or too large.
    #[error("the closure in the record of {generation} is not valid: {reason}")]
    Closure {
        /// The generation.
        generation: String,
        /// What is wrong.
        reason: String,
    },
}

/// The most store paths that a closure may have.
pub const MOST_PATHS: usize = 5_000;

impl Generation {
    /// Returns `owner/name:number`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}:{}", self.environment, self.number)
    }

    /// Checks that this is the record that was asked for, and that its parts agree.
    ///
    /// # Errors
    /// Fails for another environment, number or version, and for a closure that is not one.
    pub fn check(
        &self,
        environment: &EnvironmentName,
        number: Option<u64>,
    ) -> Result<(), GenerationError> {
        if self.version != RECORD_VERSION {
            return Err(GenerationError::Version {
                found: self.version,
            });
        }
        if self.environment != *environment || number.is_some_and(|number| number != self.number) {
            let wanted = match number {
                Some(number) => format!("{environment}:{number}"),
                None => environment.to_string(),
            };
            return Err(GenerationError::Foreign {
                found: self.label(),
                wanted,
            });
        }
        self.systems
            .values()
            .try_for_each(|system| system.check(&self.label()))
    }

    /// Returns the part for one system.
    ///
    /// # Errors
    /// Fails when the generation was not locked for it.
    pub fn system(&self, system: &System) -> Result<&SystemGeneration, GenerationError> {
        self.systems
            .get(system)
            .ok_or_else(|| GenerationError::NoSystem {
                generation: self.label(),
                system: system.clone(),
                available: self
                    .systems
                    .keys()
                    .map(System::as_str)
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }
}

impl SystemGeneration {
    /// Checks that the closure is sorted, closed under references and holds the environment.
    ///
    /// # Errors
    /// Fails with the first thing that is wrong.
    pub fn check(&self, generation: &str) -> Result<(), GenerationError> {
        let wrong = |reason: String| {
            Err(GenerationError::Closure {
                generation: generation.to_owned(),
                reason,
            })
        };
        if self.closure.len() > MOST_PATHS {
            return wrong(format!(
                "{} store paths; the most allowed is {MOST_PATHS}",
                self.closure.len()
            ));
        }
        if let Some(pair) = self
            .closure
            .windows(2)
            .find(|pair| pair[0].path >= pair[1].path)
        {
            return wrong(format!("{} is out of order or twice there", pair[1].path));
        }
        let has = |path: &StorePath| {
            self.closure
                .binary_search_by(|one| one.path.cmp(path))
                .is_ok()
        };
        if !has(&self.environment) {
            return wrong(format!("it lacks the environment {}", self.environment));
        }
        for one in &self.closure {
            if let Some(missing) = one.references.iter().find(|path| !has(path)) {
                return wrong(format!("{} refers to {missing}, which it lacks", one.path));
            }
        }
        Ok(())
    }

    /// Returns the sum of the NAR sizes.
    #[must_use]
    pub fn nar_bytes(&self) -> u64 {
        self.closure
            .iter()
            .fold(0, |sum, one| sum.saturating_add(one.nar_size))
    }
}

impl LivePointer {
    /// Returns the generation that it points at.
    #[must_use]
    pub fn pin(&self) -> Pin {
        Pin {
            hub: None,
            environment: self.environment.clone(),
            number: self.number,
            digest: self.digest,
        }
    }
}
