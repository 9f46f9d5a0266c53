//! One of several replicas leads: it holds the Lease `nival-operator`, and works only while it surely does.

use std::fmt;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use workload::names::OPERATOR;

use crate::http::Metrics;

/// How long the work of a leader that is told to stop may go on.
const LAST_WORK: Duration = Duration::from_secs(5);

/// A candidate for leading.
pub(crate) struct Candidate {
    leases: Api<Lease>,
    identity: String,
    /// How long a lease counts after it was last renewed.
    duration: Duration,
    seen: Option<Seen>,
}

/// Another's lease as it was when it last changed, by this machine's own clock: those of others may be wrong.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    holder: String,
    renewed: Option<Timestamp>,
    transitions: i32,
    since: Instant,
}

/// Whether this replica leads, as others in the program see it.
#[derive(Debug, Clone)]
pub(crate) struct Leadership(watch::Receiver<bool>);

impl fmt::Debug for Candidate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Candidate({})", self.identity)
    }
}

impl Leadership {
    /// Tells whether this replica leads.
    pub(crate) fn is_held(&self) -> bool {
        *self.0.borrow()
    }

    /// Works for as long as this replica leads, again and again, until told to stop. The token that the work gets is
    /// cancelled when the lease is lost.
    pub(crate) async fn while_leading<F: Future<Output = ()>>(
        mut self,
        stop: CancellationToken,
        mut work: impl FnMut(CancellationToken) -> F,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                leads = self.0.wait_for(|leads| *leads) => if leads.is_err() { return },
            }
            let term = stop.child_token();
            let lost = async {
                // An error means that nobody renews the lease any more.
                self.0.wait_for(|leads| !*leads).await.is_ok()
            };
            let working = work(term.clone());
            tokio::pin!(working);
            tokio::select! {
                () = &mut working => tokio::select! {
                    () = stop.cancelled() => return,
                    _ = self.0.wait_for(|leads| !*leads) => {}
                },
                _ = lost => {
                    term.cancel();
                    working.await;
                }
            }
        }
    }
}

impl Candidate {
    /// Returns a candidate of this name.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        identity: String,
        duration: Duration,
    ) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            identity,
            duration,
            seen: None,
        }
    }

    /// Stands for leading until told to stop, and gives the lease back then.
    pub(crate) fn stand(
        self,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> (Leadership, impl Future<Output = ()>) {
        let (tell, leadership) = watch::channel(false);
        (Leadership(leadership), self.run(tell, metrics, stop))
    }

    async fn run(mut self, tell: watch::Sender<bool>, metrics: Metrics, stop: CancellationToken) {
        // Three tries fit into the time after which a leader gives up, and it gives up before others may follow.
        let every = self.duration / 5;
        let patience = self.duration * 2 / 3;
        let mut renewed: Option<Instant> = None;
        loop {
            let begun = Instant::now();
            let answer = tokio::time::timeout(every, self.try_to_hold()).await;
            match answer {
                Ok(Ok(true)) => renewed = Some(begun),
                Ok(Ok(false)) => renewed = None,
                Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be renewed"),
                Err(_elapsed) => tracing::warn!("the API server does not answer about the lease"),
            }
            let leads = renewed.is_some_and(|renewed| renewed.elapsed() < patience);
            if tell.send_if_modified(|before| std::mem::replace(before, leads) != leads) {
                tracing::info!(identity = self.identity, leads, "leadership changed");
                metrics.leads(leads);
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(every.saturating_sub(begun.elapsed())) => {}
            }
        }
        let led = tell.send_replace(false);
        // Whoever led ends first what it does; the others then need not wait until the lease runs out.
        tokio::time::timeout(LAST_WORK, tell.closed()).await.ok();
        if !led {
            return;
        }
        match tokio::time::timeout(LAST_WORK, self.give_back()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the lease cannot be given back; it runs out by itself");
            }
            Err(_elapsed) => tracing::warn!("the lease is not given back in time; it runs out"),
        }
    }

    /// Takes or renews the lease, if nobody else holds it.
    async fn try_to_hold(&mut self) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.leases.get_opt(OPERATOR).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(OPERATOR.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.held(None)),
            };
            return accepted(self.leases.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.take().unwrap_or_default();
        if self.is_anothers(&spec) {
            return Ok(false);
        }
        lease.spec = Some(self.held(Some(&spec)));
        // The resource version in it lets nobody win who has not seen the last change.
        accepted(
            self.leases
                .replace(OPERATOR, &PostParams::default(), &lease)
                .await,
        )
    }

    /// Tells whether another holds the lease and may still renew it.
    fn is_anothers(&mut self, spec: &LeaseSpec) -> bool {
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return false;
        }
        let renewed = spec.renew_time.as_ref().map(|time| time.0);
        let transitions = spec.lease_transitions.unwrap_or_default();
        let same = |seen: &Seen| {
            seen.holder == holder && seen.renewed == renewed && seen.transitions == transitions
        };
        let Some(seen) = self.seen.as_ref().filter(|seen| same(seen)) else {
            self.seen = Some(Seen {
                holder,
                renewed,
                transitions,
                since: Instant::now(),
            });
            return true;
        };
        let theirs = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        let theirs = theirs.map_or(self.duration, Duration::from_secs);
        seen.since.elapsed() < theirs
    }

    fn held(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let mine = before.filter(|spec| spec.holder_identity.as_ref() == Some(&self.identity));
        let transitions = before
            .and_then(|spec| spec.lease_transitions)
            .unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs().max(1)).ok(),
            acquire_time: mine
                .and_then(|spec| spec.acquire_time.clone())
                .or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(match mine {
                Some(_) => transitions,
                None => transitions.saturating_add(1),
            }),
            ..LeaseSpec::default()
        }
    }

    async fn give_back(&self) -> Result<(), kube::Error> {
        loop {
            let mut lease = self.leases.get(OPERATOR).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_ref() != Some(&self.identity) {
                return Ok(());
            }
            spec.holder_identity = None;
            // A conflict is this one's own last renewal, which came late.
            let put = PostParams::default();
            if accepted(self.leases.replace(OPERATOR, &put, &lease).await)? {
                return Ok(());
            }
        }
    }
}

/// A conflict is an answer: another was quicker.
fn accepted(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
