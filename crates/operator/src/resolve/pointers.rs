//! The newest live pointer of each environment that this process has seen, so that none can be replayed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use env_spec::generation::LivePointer;
use env_spec::{Digest, EnvironmentName, Signed, TrustedKeys};

use super::error::ResolveError;

/// The newest pointers. They are kept for all environments that workloads use, and those are bounded by the cluster.
#[derive(Debug, Default)]
pub(super) struct Pointers(Mutex<BTreeMap<EnvironmentName, Newest>>);

#[derive(Debug, Clone, Copy)]
struct Newest {
    sequence: u64,
    digest: Digest,
}

impl Pointers {
    /// Believes a pointer if a trusted key signed it, it is of this environment, and no newer one was seen.
    pub(super) fn accept(
        &self,
        signed: &Signed,
        environment: &EnvironmentName,
        trusted: &TrustedKeys,
    ) -> Result<LivePointer, ResolveError> {
        let subject = format!("the live pointer of {environment}");
        let pointer: LivePointer = signed.verify(&subject, environment.owner(), trusted)?;
        if pointer.environment != *environment {
            return Err(ResolveError::ForeignPointer {
                found: pointer.environment,
                wanted: environment.clone(),
            });
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = all.get(environment) {
            if pointer.sequence < seen.sequence {
                return Err(ResolveError::Replayed {
                    what: subject,
                    found: pointer.sequence,
                    seen: seen.sequence,
                });
            }
            if pointer.sequence == seen.sequence && pointer.digest != seen.digest {
                return Err(ResolveError::Twofold {
                    environment: environment.clone(),
                    sequence: pointer.sequence,
                    found: pointer.digest,
                    seen: seen.digest,
                });
            }
        }
        let newest = Newest {
            sequence: pointer.sequence,
            digest: pointer.digest,
        };
        all.insert(environment.clone(), newest);
        Ok(pointer)
    }
}
