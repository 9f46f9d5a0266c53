//! The record of a new generation, and the documents that it names.

use std::collections::BTreeMap;

use env_spec::generation::{Generation, RECORD_VERSION, SystemGeneration};
use env_spec::lockfile::{LockedEnvironment, LockedSystem, Lockfile};
use env_spec::{Digest, EnvironmentName, System};
use sbom::{CYCLONEDX_FORMAT, SPDX_FORMAT, SbomInput, cyclonedx, spdx};

/// One system of what is published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemContent<'a> {
    /// The system.
    pub(crate) system: &'a System,
    /// What was resolved for it.
    pub(crate) locked: &'a LockedSystem,
    /// Its environment.
    pub(crate) environment: &'a LockedEnvironment,
}

/// What a generation is about, apart from its number, time and author.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content<'a> {
    pub(super) manifest: &'a str,
    pub(super) lock: &'a str,
    pub(super) systems: &'a [SystemContent<'a>],
}

/// The rest of a generation.
#[derive(Debug, Clone)]
pub(super) struct Draft<'a> {
    pub(super) environment: &'a EnvironmentName,
    pub(super) number: u64,
    pub(super) parent: Option<Digest>,
    pub(super) created: String,
    pub(super) author: String,
    pub(super) message: &'a str,
}

impl Content<'_> {
    /// Tells whether a generation is about the same.
    pub(super) fn is_in(&self, generation: &Generation) -> bool {
        generation.manifest == self.manifest
            && generation.lock == Lockfile::digest_of(self.lock)
            && generation.systems.len() == self.systems.len()
            && self.systems.iter().all(|one| {
                generation.systems.get(one.system).is_some_and(|there| {
                    there.environment == one.environment.path
                        && there.closure == one.environment.closure
                        && there.activation == one.environment.activation
                })
            })
    }
}

impl Draft<'_> {
    /// Returns the record and the documents that it names, by digest.
    pub(super) fn finish(&self, content: &Content<'_>) -> (Generation, BTreeMap<Digest, String>) {
        let mut documents = BTreeMap::new();
        let systems = content.systems.iter().map(|one| {
            let input = SbomInput {
                environment: self.environment.to_string(),
                number: self.number,
                system: one.system,
                environment_path: &one.environment.path,
                packages: &one.locked.packages,
                closure: &one.environment.closure,
                created: &self.created,
                tool_version: env!("CARGO_PKG_VERSION"),
            };
            let made = [
                (CYCLONEDX_FORMAT, cyclonedx(&input)),
                (SPDX_FORMAT, spdx(&input)),
            ];
            let sboms = made
                .into_iter()
                .map(|(format, text)| {
                    let digest = Digest::of(text.as_bytes());
                    documents.insert(digest, text);
                    (format.to_owned(), digest)
                })
                .collect();
            let system = SystemGeneration {
                environment: one.environment.path.clone(),
                closure: one.environment.closure.clone(),
                activation: one.environment.activation.clone(),
                sboms,
            };
            (one.system.clone(), system)
        });
        let systems = systems.collect();
        let generation = Generation {
            version: RECORD_VERSION,
            environment: self.environment.clone(),
            number: self.number,
            parent: self.parent,
            created: self.created.clone(),
            author: self.author.clone(),
            message: self.message.to_owned(),
            manifest: content.manifest.to_owned(),
            lock: Lockfile::digest_of(content.lock),
            systems,
        };
        (generation, documents)
    }
}
