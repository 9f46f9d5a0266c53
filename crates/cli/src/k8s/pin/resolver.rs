//! What references mean now, by the hub and the developer's trusted keys: as strict as admission.

use std::collections::BTreeMap;

use env_spec::generation::RevocationList;
use env_spec::{Pin, Reference, System};

use crate::context::Context;
use crate::error::{CommandError, Outcome};
use crate::hub::{TrustedHub, require_not_revoked};

/// Resolves references, each once.
#[derive(Debug)]
pub(super) struct Resolver<'a> {
    context: &'a Context,
    known: BTreeMap<String, Resolved>,
    /// By hub and owner.
    revocations: BTreeMap<(String, String), RevocationList>,
}

/// What a reference means.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    /// Without the hub's address, as admission writes it: a cluster has one hub.
    pub(super) pin: Pin,
    systems: Vec<System>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        Self {
            context,
            known: BTreeMap::new(),
            revocations: BTreeMap::new(),
        }
    }

    pub(super) async fn resolve(&mut self, reference: &Reference) -> Outcome<Resolved> {
        let key = reference.to_string();
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let hub = TrustedHub::of(self.context, reference)?;
        let published = hub.resolve(reference).await?;
        let owner = reference.environment.owner();
        let place = (hub.client.base().to_string(), owner.to_owned());
        if !self.revocations.contains_key(&place) {
            let list = hub.revocations(owner).await?;
            self.revocations.insert(place.clone(), list);
        }
        if let Some(list) = self.revocations.get(&place) {
            require_not_revoked(list, &published.pin)?;
        }
        let resolved = Resolved {
            pin: Pin {
                hub: None,
                ..published.pin
            },
            systems: published.generation.systems.into_keys().collect(),
        };
        self.known.insert(key, resolved.clone());
        Ok(resolved)
    }
}

impl Resolved {
    /// Refuses a generation that lacks a system that the pods may run on.
    pub(super) fn check_systems(&self, wanted: &[System]) -> Outcome {
        let Some(missing) = wanted.iter().find(|one| !self.systems.contains(one)) else {
            return Ok(());
        };
        let available: Vec<&str> = self.systems.iter().map(System::as_str).collect();
        Err(CommandError::user(format!(
            "{}:{} has nothing for system {missing}, on which the pods may run (it has: {})",
            self.pin.environment,
            self.pin.number,
            available.join(", ")
        ))
        .hint("lock and push it for that system too, or change the template's node selector"))
    }
}
