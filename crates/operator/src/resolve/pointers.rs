//! The newest live pointer of each environment that this process has seen, so that none can be replayed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use env_spec::believe::Seen;
use env_spec::generation::LivePointer;
use env_spec::{EnvironmentName, Signed, TrustedKeys};

use super::error::ResolveError;

/// The newest pointers. They are kept for all environments that workloads use, and those are bounded by the cluster.
#[derive(Debug, Default)]
pub(super) struct Pointers(Mutex<BTreeMap<EnvironmentName, Seen>>);

impl Pointers {
    /// Believes a pointer if a trusted key signed it, it is of this environment, and no newer one was seen.
    pub(super) fn accept(
        &self,
        signed: &Signed,
        environment: &EnvironmentName,
        trusted: &TrustedKeys,
    ) -> Result<LivePointer, ResolveError> {
        let pointer = LivePointer::believe(signed, environment, trusted)?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = all.get(environment) {
            pointer.check_after(*seen)?;
        }
        all.insert(environment.clone(), pointer.seen());
        Ok(pointer)
    }
}
