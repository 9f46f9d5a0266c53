//! From a reference to the one generation that it means now, as far as policy, keys and revocations allow it.

mod error;
mod hub;
mod pointers;
mod records;
mod revocations;
#[cfg(test)]
pub(crate) mod testing;
mod tokens;

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::hub::error::ErrorCode;
use env_spec::generation::{Generation, LivePointer};
use env_spec::{EnvironmentName, Pin, Reference, System};
use workload::policy::Verdict;

pub(crate) use error::ResolveError;
use hub::{Hub, Way};
use pointers::Pointers;
use records::{Records, Verified};
use revocations::Revocations;
pub(crate) use tokens::{ClusterTokens, Tokens, token_of};

use crate::settings::{Config, Settings};

/// How long a healthy hub may take for one answer. Callers that must answer sooner set their own bound.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the hub is asked for a pointer that may have moved, where it does not say by itself.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Resolves references. Cheap to clone: all clones share what they have seen.
#[derive(Debug, Clone)]
pub(crate) struct Resolver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    hub: Hub,
    pointers: Pointers,
    records: Records,
    revocations: Revocations,
}

/// What a reference means now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The generation.
    pub(crate) pin: Pin,
    /// The systems that it was locked for, sorted.
    pub(crate) systems: Vec<System>,
    /// The pointer that named it, where the reference left the generation open.
    pub(crate) pointer: Option<LivePointer>,
}

impl Resolved {
    /// Refuses a generation that lacks one of the systems that its pods may run on.
    pub(crate) fn check_systems(&self, wanted: &[System]) -> Result<(), ResolveError> {
        let missing: Vec<String> = wanted
            .iter()
            .filter(|system| !self.systems.contains(system))
            .map(System::to_string)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let available: Vec<&str> = self.systems.iter().map(System::as_str).collect();
        Err(ResolveError::MissingSystem {
            generation: format!("{}:{}", self.pin.environment, self.pin.number),
            systems: missing,
            available: available.join(", "),
        })
    }
}

impl Resolver {
    /// Returns a resolver that has seen nothing yet.
    pub(crate) fn new(config: Config, tokens: Arc<dyn Tokens>) -> Result<Self, reqwest::Error> {
        Ok(Self(Arc::new(Inner {
            config,
            hub: Hub::new(tokens)?,
            pointers: Pointers::default(),
            records: Records::default(),
            revocations: Revocations::default(),
        })))
    }

    /// Returns the generation that a reference of a namespace's workload means now.
    pub(crate) async fn resolve(
        &self,
        namespace: &str,
        reference: &Reference,
    ) -> Result<Resolved, ResolveError> {
        let settings = self.0.config.now();
        Hub::check_is_meant(&settings, reference)?;
        let environment = &reference.environment;
        let questions = async {
            let way = self.0.hub.way(&settings, namespace, environment).await?;
            let pointer = match (reference.number, reference.digest) {
                (None, None) => Some(self.live(&settings, &way, environment).await?),
                _ => None,
            };
            let exact = match &pointer {
                Some(pointer) => pointer.pin().into(),
                None => reference.clone(),
            };
            let Verified { pin, systems } = self.verified(&settings, &way, &exact).await?;
            let revocations = &self.0.revocations;
            revocations.check(&settings, &way, &pin).await?;
            Ok(Resolved {
                pin,
                systems,
                pointer,
            })
        };
        tokio::time::timeout(PATIENCE, questions)
            .await
            .map_err(|_elapsed| Self::silent(&settings, reference))?
    }

    /// Waits until an environment's live pointer has a higher sequence than this, at most for so long.
    pub(crate) async fn live_after(
        &self,
        namespace: &str,
        environment: &EnvironmentName,
        after: u64,
        wait: Duration,
    ) -> Result<Option<LivePointer>, ResolveError> {
        let settings = self.0.config.now();
        let way = self.0.hub.way(&settings, namespace, environment).await?;
        let begun = Instant::now();
        loop {
            let left = wait.saturating_sub(begun.elapsed());
            let asked = match left.is_zero() {
                true => way.client.live(environment).await.map(Some),
                false => way.client.live_after(environment, after, left).await,
            };
            let signed = match asked {
                Ok(signed) => signed,
                // Where too many wait there, this one asks now and then.
                Err(error) if error.code() == Some(ErrorCode::Busy) => None,
                Err(error) => {
                    let what = format!("the live generation of {environment}");
                    return Err(way.failed(what, error));
                }
            };
            if let Some(signed) = signed {
                let trusted = &settings.trusted;
                let pointer = self.0.pointers.accept(&signed, environment, trusted)?;
                if pointer.sequence > after {
                    return Ok(Some(pointer));
                }
            }
            if begun.elapsed() >= wait {
                return Ok(None);
            }
            // A static copy of a hub answers at once with what it has.
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Refuses a namespace that policy keeps from an environment; the hub is not asked.
    pub(crate) fn check_policy(
        &self,
        namespace: &str,
        environment: &EnvironmentName,
    ) -> Result<(), ResolveError> {
        match self.0.config.now().policy.verdict(namespace, environment) {
            Verdict::Denied => Err(ResolveError::NotVisible {
                environment: environment.clone(),
                namespace: namespace.to_owned(),
            }),
            Verdict::Allowed { .. } | Verdict::IfPublic => Ok(()),
        }
    }

    /// Tells whether a hub in a reference is the one that is asked.
    pub(crate) fn is_own(&self, hub: &str) -> bool {
        api::node::is_own_hub(&self.0.config.now().hub, hub)
    }

    /// Returns the error of a caller that could not wait for an answer any longer.
    pub(crate) fn gave_up(&self, reference: &Reference) -> ResolveError {
        Self::silent(&self.0.config.now(), reference)
    }

    fn silent(settings: &Settings, reference: &Reference) -> ResolveError {
        ResolveError::Silent {
            what: reference.to_string(),
            hub: settings.hub.clone(),
        }
    }

    async fn live(
        &self,
        settings: &Settings,
        way: &Way,
        environment: &EnvironmentName,
    ) -> Result<LivePointer, ResolveError> {
        let signed =
            way.client.live(environment).await.map_err(|error| {
                way.failed(format!("the live generation of {environment}"), error)
            })?;
        self.0
            .pointers
            .accept(&signed, environment, &settings.trusted)
    }

    /// Returns the generation of a reference that leaves nothing open; believed only when signed.
    async fn verified(
        &self,
        settings: &Arc<Settings>,
        way: &Way,
        reference: &Reference,
    ) -> Result<Verified, ResolveError> {
        let known = reference
            .digest
            .and_then(|digest| self.0.records.get(digest, settings))
            // A digest that is known from one environment must open no other one's door.
            .filter(|known| reference.means(&known.pin));
        if let Some(known) = known {
            return Ok(known);
        }
        let signed = way
            .client
            .generation(reference)
            .await
            .map_err(|error| way.failed(format!("generation {reference}"), error))?;
        let (generation, pin) = Generation::believe(&signed, reference, &settings.trusted)?;
        let verified = Verified {
            pin,
            systems: generation.systems.into_keys().collect(),
        };
        self.0.records.put(verified.clone(), settings);
        Ok(verified)
    }
}
