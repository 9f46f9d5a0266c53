//! The agent: from a reference in a pod's annotation to a folder that can be mounted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::agent as wire;
use env_spec::generation::{Generation, GenerationError};
use env_spec::{EnvironmentName, Pin, Reference, System};
use host::mount::Mounts;
use store::{BindTree, FetchError, FetchOutcome, Presentation, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::AgentError;
use crate::fetches::{self, Fetches};
use crate::generations::Generations;
use crate::hub::Hub;
use crate::leases::{Hold, Lease, Leases};
use crate::metrics::Metrics;
use crate::pointers::Pointers;
use crate::ready::{Known, Ready};
use crate::records::Records;
use crate::request::{self, Mode, Wanted};
use crate::revocations::Revocations;
use crate::sandboxes::Sandboxes;
use crate::settings::Settings;
use workload::policy::Verdict;

/// The longest that a caller may wait: beyond it every client has given up.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// How long the hub is asked even for a caller that does not wait: a healthy one answers within milliseconds.
const SHORTEST_QUESTION: Duration = Duration::from_secs(1);

/// The agent's parts.
pub(crate) struct Agent {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) presentation: Arc<dyn Presentation>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) fetches: Fetches,
    pub(crate) leases: Leases,
    pub(crate) sandboxes: Sandboxes,
    pub(crate) generations: Arc<Generations>,
    pub(crate) records: Records,
    pub(crate) metrics: Metrics,
    pub(crate) collecting: tokio::sync::Mutex<()>,
    pointers: Pointers,
    pub(crate) revocations: Arc<Revocations>,
    /// Chosen at each start, so that others see that the agent has forgotten what it was handed.
    pub(crate) instance: String,
    pub(crate) known: Known,
}

/// The credential to ask the hub with.
type Access = Option<String>;

impl Agent {
    /// Opens the state folder and takes over what an earlier process left.
    pub(crate) fn open(
        settings: Settings,
        mounts: Arc<dyn Mounts>,
        http: reqwest::Client,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, AgentError> {
        let state = settings.state.clone();
        let store = Store::open(&state.join("store"))?;
        let presentation =
            BindTree::recover(&store, mounts).map_err(|error| AgentError::Present {
                generation: "what was presented before".to_owned(),
                source: Box::new(error),
            })?;
        let hub = Arc::new(Hub::new(&settings, http)?);
        let agent = Self {
            fetches: Fetches::new(store.clone(), tasks, stop),
            leases: Leases::recover(state.join("leases"))?,
            sandboxes: Sandboxes::recover(state.join("sandboxes"))?,
            generations: Arc::new(Generations::recover(state.join("generations"))?),
            records: Records::open(state.join("records"))?,
            pointers: Pointers::open(state.join("pointers"))?,
            revocations: Revocations::open(
                state.join("revocations"),
                settings.revocations,
                settings.trusted.clone(),
                Arc::clone(&hub),
            )?,
            hub,
            instance: random_name()?,
            metrics: Metrics::default(),
            collecting: tokio::sync::Mutex::default(),
            known: Known::default(),
            presentation: Arc::new(presentation),
            store,
            settings,
        };
        agent.store.settle();
        agent.sandboxes.sweep(|id| agent.leases.knows_sandbox(id))?;
        Ok(agent)
    }

    /// Makes an environment ready for a container.
    pub(crate) async fn prepare(
        &self,
        asked: &wire::PrepareRequest,
    ) -> Result<wire::PrepareResponse, AgentError> {
        let begun = Instant::now();
        let wanted = Wanted::new(&asked.reference, &asked.pin, &asked.pinned_from)?;
        let mode = Mode::parse(&asked.activate_mode)?;
        let system = request::system(&asked.system)?;
        let mut lease = Lease {
            bundle: request::bundle(&asked.bundle)?,
            sandbox_id: request::name(sandbox_of(asked), "sandbox's identifier")?,
            namespace: request::name(&asked.namespace, "namespace")?,
            pod: request::name(&asked.pod, "pod's name")?,
            container: request::name(&asked.container, "container's name")?,
            holds: Vec::new(),
        };
        self.hub.check_is_meant(&wanted.reference)?;
        if let Some(pin) = &wanted.pin {
            self.hub.check_is_meant(&pin.clone().into())?;
        }
        let wait = Duration::from_millis(asked.wait_milliseconds).min(LONGEST_WAIT);
        let questions = async {
            let access = self
                .check_policy(&lease.namespace, &wanted.reference.environment)
                .await?;
            let ready = self.resolve(&wanted, &system, &access, &lease).await?;
            self.revocations.check(&ready.pin).await?;
            Ok::<_, AgentError>((access, ready))
        };
        let answers = tokio::time::timeout(wait.max(SHORTEST_QUESTION), questions).await;
        let (access, ready) = answers.map_err(|_elapsed| AgentError::SilentHub {
            what: wanted.reference.to_string(),
            hub: self.hub.address().to_owned(),
        })??;
        // From here until the lease is written, the collector keeps off.
        let _protection = self.store.protect(&ready.closure);
        let rest = wait.saturating_sub(begun.elapsed());
        self.have(&ready, &access, rest).await?;
        let mount_source = self.present(&ready).await?;
        lease.holds.push(Hold {
            pin: ready.pin.clone(),
            closure: ready.id,
        });
        self.leases.take(&lease)?;
        self.generations.note(ready.seen())?;
        self.store.touch_closure(ready.id);
        tracing::info!(
            pin = %ready.pin, namespace = lease.namespace, pod = lease.pod, container = lease.container,
            elapsed = ?begun.elapsed(), "prepared"
        );
        Ok(self.answer(&ready, mode, &mount_source))
    }

    /// Fetches a generation without running it.
    pub(crate) async fn prefetch(
        &self,
        reference: &str,
        system: &str,
    ) -> Result<(Pin, FetchOutcome), AgentError> {
        let reference: Reference = reference.parse()?;
        let system = request::system(system)?;
        self.hub.check_is_meant(&reference)?;
        let Verdict::Allowed { credential } = self
            .settings
            .policy
            .verdict_for_node(&reference.environment)
        else {
            unreachable!("the node itself may fetch everything");
        };
        let exact = match reference.digest {
            Some(_) => reference,
            None => self.look_up(&reference, &credential).await?.into(),
        };
        let ready = self.verified(&exact, &system, &credential).await?;
        self.revocations.check(&ready.pin).await?;
        let _protection = self.store.protect(&ready.closure);
        let outcome = self.have(&ready, &credential, LONGEST_WAIT).await?;
        self.store.record_closure(&ready.closure)?;
        self.generations.note(ready.seen())?;
        Ok((ready.pin.clone(), outcome))
    }

    /// Ends the lease of a bundle.
    pub(crate) fn release(&self, bundle: &str) -> Result<(), AgentError> {
        let lease = self.leases.release(Path::new(bundle))?;
        if let Some(lease) = lease.filter(|lease| {
            lease.container.is_empty() && !self.leases.knows_sandbox(&lease.sandbox_id)
        }) {
            self.sandboxes.forget(&lease.sandbox_id)?;
        }
        Ok(())
    }

    /// Checks at every start, whatever is present, that this namespace may use this environment.
    async fn check_policy(
        &self,
        namespace: &str,
        environment: &EnvironmentName,
    ) -> Result<Access, AgentError> {
        let refused = || AgentError::NotVisible {
            environment: environment.clone(),
            namespace: if namespace.is_empty() {
                "(none)".to_owned()
            } else {
                namespace.to_owned()
            },
            file: self.settings.file.display().to_string(),
        };
        match self.settings.policy.verdict(namespace, environment) {
            Verdict::Allowed { credential } => Ok(credential),
            Verdict::Denied => Err(refused()),
            // What nobody may see and what does not exist look the same, here and at the hub.
            Verdict::IfPublic if self.hub.is_public(environment).await? => Ok(None),
            Verdict::IfPublic => Err(refused()),
        }
    }

    /// Finds out which generation is meant, once per sandbox, and verifies its record.
    async fn resolve(
        &self,
        wanted: &Wanted,
        system: &System,
        access: &Access,
        lease: &Lease,
    ) -> Result<Arc<Ready>, AgentError> {
        if let Some(pin) = &wanted.pin {
            return self.verified(&pin.clone().into(), system, access).await;
        }
        let reference = &wanted.reference;
        if reference.digest.is_some() {
            return self.verified(reference, system, access).await;
        }
        let pin = match self.sandboxes.pin(&lease.sandbox_id, reference) {
            Some(pin) => pin,
            None => {
                let pin = self.look_up(reference, access).await?;
                self.sandboxes
                    .remember(&lease.sandbox_id, &lease.bundle, reference, pin)?
            }
        };
        self.verified(&pin.into(), system, access).await
    }

    /// Asks the hub which generation a reference without a digest means.
    async fn look_up(&self, reference: &Reference, access: &Access) -> Result<Pin, AgentError> {
        let environment = &reference.environment;
        if reference.number.is_none() {
            let signed = self.hub.live(environment, access.as_deref()).await?;
            return self
                .pointers
                .accept(&signed, environment, &self.settings.trusted);
        }
        let signed = self.hub.generation(reference, access.as_deref()).await?;
        let (_, pin) = Generation::believe(&signed, reference, &self.settings.trusted)?;
        self.records.write(&signed)?;
        Ok(pin)
    }

    /// Returns the generation with this digest, from memory, from disk or from the hub; believed only when signed.
    async fn verified(
        &self,
        reference: &Reference,
        system: &System,
        access: &Access,
    ) -> Result<Arc<Ready>, AgentError> {
        let digest = reference.digest.expect("the reference is exact by now");
        if let Some(ready) = self.known.get(digest, system) {
            // A digest that is known from one environment must open no other one's door.
            if reference.means(&ready.pin) {
                return Ok(ready);
            }
            let wanted = match reference.number {
                Some(number) => format!("{}:{number}", reference.environment),
                None => reference.environment.to_string(),
            };
            return Err(GenerationError::Foreign {
                found: ready.label(),
                wanted,
            }
            .into());
        }
        let trusted = &self.settings.trusted;
        let (generation, _) = match self.records.read(digest) {
            Some(signed) => Generation::believe(&signed, reference, trusted)?,
            None => {
                let signed = self.hub.generation(reference, access.as_deref()).await?;
                let believed = Generation::believe(&signed, reference, trusted)?;
                self.records.write(&signed)?;
                believed
            }
        };
        Ok(self.known.put(Ready::new(generation, digest, system)?))
    }

    /// Waits until the closure is present. Where the disk is too full, what nobody needs is removed first.
    async fn have(
        &self,
        ready: &Arc<Ready>,
        access: &Access,
        wait: Duration,
    ) -> Result<FetchOutcome, AgentError> {
        let begun = Instant::now();
        let error = match self.fetch(ready, access, wait).await {
            Err(AgentError::Fetch { generation, source }) => match *source {
                FetchError::DiskFull {
                    available, needed, ..
                } => {
                    let excess = needed.saturating_sub(available).max(1);
                    if self.collect(excess, false).await?.bytes > 0 {
                        return self
                            .fetch(ready, access, wait.saturating_sub(begun.elapsed()))
                            .await;
                    }
                    AgentError::Fetch { generation, source }
                }
                _ => AgentError::Fetch { generation, source },
            },
            other => return other,
        };
        Err(error)
    }

    async fn fetch(
        &self,
        ready: &Arc<Ready>,
        access: &Access,
        wait: Duration,
    ) -> Result<FetchOutcome, AgentError> {
        if self.store.has_closure(&ready.closure) {
            return Ok(FetchOutcome::default());
        }
        let wanted = fetches::Wanted {
            pin: ready.pin.clone(),
            generation: ready.label(),
            closure: ready.closure.clone(),
            sources: self
                .hub
                .sources(ready.pin.environment.owner(), access.as_deref())?,
        };
        // Who asked may be gone when the fetch ends: the closure is kept all the same, for when it comes back.
        let (store, generations, ready) = (
            self.store.clone(),
            Arc::clone(&self.generations),
            Arc::clone(ready),
        );
        let after = move || {
            let kept = store
                .record_closure(&ready.closure)
                .map_err(AgentError::from);
            if let Err(error) = kept.and_then(|_| generations.note(ready.seen())) {
                tracing::warn!(error = error.line(), "a fetched generation is not noted");
            }
        };
        self.fetches.fetch(wanted, wait, after).await
    }

    async fn present(&self, ready: &Arc<Ready>) -> Result<PathBuf, AgentError> {
        let failed = |error| AgentError::Present {
            generation: ready.label(),
            source: Box::new(error),
        };
        if let Some(place) = self
            .presentation
            .presented(&self.store, ready.id)
            .map_err(failed)?
        {
            return Ok(place);
        }
        let (presentation, store, wanted) = (
            Arc::clone(&self.presentation),
            self.store.clone(),
            Arc::clone(ready),
        );
        let mounting =
            tokio::task::spawn_blocking(move || presentation.present(&store, &wanted.closure));
        mounting
            .await
            .map_err(|_| AgentError::Stopping)?
            .map_err(failed)
    }
}

/// Containers outside any sandbox count as one of their own.
fn sandbox_of(asked: &wire::PrepareRequest) -> &str {
    if asked.sandbox_id.is_empty() {
        &asked.bundle
    } else {
        &asked.sandbox_id
    }
}

/// Returns a name that no other start has.
fn random_name() -> Result<String, AgentError> {
    let uuid = fs_err::read_to_string("/proc/sys/kernel/random/uuid");
    let uuid = uuid.map_err(|source| AgentError::State {
        what: "choose a name for this start".to_owned(),
        source,
    })?;
    Ok(uuid.trim().to_owned())
}
