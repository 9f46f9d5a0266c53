//! The methods that others call over ttrpc.

use std::sync::Arc;
use std::time::Instant;

use api::agent as wire;
use async_trait::async_trait;
use ttrpc::r#async::TtrpcContext;

use crate::agent::Agent;
use crate::error::AgentError;
use crate::fetches::Fetch;
use crate::revocations::View;

/// The service.
pub(crate) struct Service(pub(crate) Arc<Agent>);

impl Service {
    /// Counts how a call ended, and turns an error into what travels.
    fn ended<T>(&self, method: &'static str, result: Result<T, AgentError>) -> ttrpc::Result<T> {
        match result {
            Ok(answer) => {
                self.0.metrics.count(method, "ok");
                Ok(answer)
            }
            Err(error) => {
                self.0.metrics.count(method, error.label());
                Err(error.into())
            }
        }
    }
}

#[async_trait]
impl wire::Agent for Service {
    async fn prepare(
        &self,
        _: &TtrpcContext,
        asked: wire::PrepareRequest,
    ) -> ttrpc::Result<wire::PrepareResponse> {
        let begun = Instant::now();
        let result = self.0.prepare(&asked).await;
        self.0.metrics.prepared(begun.elapsed());
        if let Err(error) = &result {
            tracing::warn!(
                namespace = asked.namespace,
                pod = asked.pod,
                container = asked.container,
                error = error.line(),
                "refused"
            );
        }
        self.ended("prepare", result)
    }

    async fn release(
        &self,
        _: &TtrpcContext,
        asked: wire::ReleaseRequest,
    ) -> ttrpc::Result<wire::ReleaseResponse> {
        let result = self.0.release(&asked.bundle);
        self.ended("release", result.map(|()| wire::ReleaseResponse::default()))
    }

    async fn prefetch(
        &self,
        _: &TtrpcContext,
        asked: wire::PrefetchRequest,
    ) -> ttrpc::Result<wire::PrefetchResponse> {
        let result = self.0.prefetch(&asked.reference, &asked.system).await;
        self.ended(
            "prefetch",
            result.map(|(pin, outcome)| wire::PrefetchResponse {
                pin: pin.to_string(),
                paths_fetched: outcome.paths_fetched,
                bytes_fetched: outcome.download_bytes,
                ..Default::default()
            }),
        )
    }

    async fn status(
        &self,
        _: &TtrpcContext,
        _: wire::StatusRequest,
    ) -> ttrpc::Result<wire::StatusResponse> {
        let status = self.0.status();
        self.ended("status", status)
    }

    async fn credentials(
        &self,
        _: &TtrpcContext,
        asked: wire::CredentialsRequest,
    ) -> ttrpc::Result<wire::CredentialsResponse> {
        let tokens = asked.credentials.into_iter();
        let result = self
            .0
            .hub
            .hand_over(tokens.map(|credential| (credential.name, credential.token)));
        self.ended(
            "credentials",
            result.map(|()| wire::CredentialsResponse::default()),
        )
    }

    async fn collect(
        &self,
        _: &TtrpcContext,
        asked: wire::CollectRequest,
    ) -> ttrpc::Result<wire::CollectResponse> {
        let result = self.0.collect(u64::MAX, asked.dry_run).await;
        self.ended(
            "collect",
            result.map(|collected| wire::CollectResponse {
                paths_removed: collected.paths,
                bytes_freed: collected.bytes,
                ..Default::default()
            }),
        )
    }
}

impl Agent {
    fn revocation_views(&self) -> Vec<wire::Revocations> {
        let wire = |view: View| wire::Revocations {
            owner: view.owner,
            sequence: view.sequence,
            revoked: view.revoked,
            checked_at: view.checked_at,
            ..Default::default()
        };
        self.revocations.view().into_iter().map(wire).collect()
    }

    fn status(&self) -> Result<wire::StatusResponse, AgentError> {
        let mut closures = Vec::new();
        let there = self.store.closures()?;
        for seen in self.generations.all() {
            if !there.contains(&seen.closure) {
                continue;
            }
            let failed = |error| AgentError::Present {
                generation: seen.pin.to_string(),
                source: Box::new(error),
            };
            let presented = self
                .presentation
                .presented(&self.store, seen.closure)
                .map_err(failed)?;
            closures.push(wire::Closure {
                pin: seen.pin.to_string(),
                environment: seen.environment,
                paths: seen.paths,
                nar_bytes: seen.nar_bytes,
                mounted: presented.is_some(),
                ..Default::default()
            });
        }
        let leases = self.leases.all().into_iter().flat_map(|lease| {
            let of = move |pin: String| wire::Lease {
                bundle: lease.bundle.display().to_string(),
                namespace: lease.namespace.clone(),
                pod: lease.pod.clone(),
                container: lease.container.clone(),
                sandbox_id: lease.sandbox_id.clone(),
                pin,
                ..Default::default()
            };
            lease
                .holds
                .into_iter()
                .map(move |hold| of(hold.pin.to_string()))
        });
        let fetches = self.fetches.running();
        let (store_paths, store_bytes) = self.store.totals();
        Ok(wire::StatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            closures,
            leases: leases.collect(),
            fetches: fetches.iter().map(|fetch| to_wire(fetch)).collect(),
            store_paths,
            store_bytes,
            peak_memory_kib: peak_memory_kib(),
            bytes_fetched: self.fetches.bytes(),
            instance: self.instance.clone(),
            revocations: self.revocation_views(),
            ..Default::default()
        })
    }
}

/// Tells of a fetch by the whole pin: the neighbour finds it by what it asked for.
fn to_wire(fetch: &Fetch) -> wire::Fetch {
    let progress = fetch.progress.view();
    wire::Fetch {
        pin: fetch.pin.to_string(),
        bytes_done: progress.bytes_done,
        bytes_total: progress.bytes_total,
        ..Default::default()
    }
}

/// Returns the most memory that this process ever had, as the kernel counts it; 0 where it does not.
fn peak_memory_kib() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use env_spec::{Digest, Pin};
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::fetches::{Fetches, Wanted};

    #[tokio::test]
    async fn a_fetch_is_told_by_the_pin_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = store::Store::open(folder.path()).unwrap();
        let fetches = Fetches::new(store, TaskTracker::new(), CancellationToken::new());
        let pin: Pin = format!("acme/api:12@{}", Digest::of(b"")).parse().unwrap();
        let wanted = Wanted {
            pin: pin.clone(),
            generation: "acme/api:12".to_owned(),
            closure: Vec::new(),
            sources: Vec::new(),
        };
        let mut waiting = Box::pin(fetches.fetch(wanted, Duration::from_secs(60), || {}));
        // Its task begins only when this one waits.
        assert!(futures::poll!(&mut waiting).is_pending());
        let running = fetches.running();
        assert_eq!(to_wire(&running[0]).pin, pin.to_string());
        waiting.await.unwrap();
    }
}
