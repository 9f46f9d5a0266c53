//! Looks after one node: what is in place, what the cluster asks of it, and what its agent needs to know.

mod agent;
mod credentials;
mod look;
mod metrics;
mod prefetch;
mod report;
mod state;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::kubernetes::{NivalNode, NivalNodeSpec, NodeState};
use env_spec::System;
use futures::StreamExt as _;
use host::error::one_line;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::again;
use crate::error::Failure;
use crate::install::{self, Installation};
use agent::Agent;
use credentials::Credentials;
use look::Looker;
use metrics::Metrics;
use prefetch::Prefetches;
use report::Reporter;
pub(crate) use state::PODS_LEFT;
use state::{Readiness, Removal, State};

/// How often everything is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often old shims are looked for, and the configuration is read again.
const TIDY_EVERY: Duration = Duration::from_secs(30);
/// How long the label may take to go before Nival is taken off all the same.
const LABEL_PATIENCE: Duration = Duration::from_secs(20);
/// How long pods in environments may take to end before what they need stays.
const PODS_PATIENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Which node is looked after.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) name: String,
    pub(crate) installation: Installation,
    pub(crate) agent_socket: PathBuf,
    /// The configuration that the agent reads, too.
    pub(crate) config: PathBuf,
    /// Where metrics and health are served.
    pub(crate) listen: Option<SocketAddr>,
}

/// Looks after the node until it is told to stop.
pub(crate) async fn run(
    setup: Setup,
    client: Client,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let system = System::of(std::env::consts::ARCH, std::env::consts::OS)?.to_string();
    let metrics = Arc::new(Metrics::new());
    let mut tasks = JoinSet::new();
    if let Some(address) = setup.listen {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| format!("cannot serve metrics on {address}: {error}"))?;
        tasks.spawn(metrics::serve(Arc::clone(&metrics), listener, stop.clone()));
    }
    let reporter = Reporter::new(client.clone(), &setup.name, &system, Arc::clone(&metrics));
    let labels = reporter.labels();
    let (states, told) = watch::channel(State::default());
    let (wishes, asked) = watch::channel(NivalNodeSpec::default());
    tasks.spawn(watch_wishes(
        Api::all(client.clone()),
        setup.name.clone(),
        wishes,
    ));
    let agent = Agent::new(&setup.agent_socket);
    let keeper = Keeper {
        looker: Looker {
            host: setup.installation.host.clone(),
            containerd: setup.installation.socket(),
            agent: agent.clone(),
        },
        prefetches: Prefetches::new(agent, system),
        credentials: Credentials::new(client),
        agent: None,
        readiness: Readiness::default(),
        removal: Removal::No,
        setup,
        metrics,
        states,
        labels,
    };
    // The first look comes before the first report: the cluster is told nothing that is not known.
    tokio::select! {
        () = stop.cancelled() => {}
        () = keeper.keep(asked, |states| { tasks.spawn(reporter.keep(states, stop.clone())); }, told) => {}
    }
    Ok(())
}

/// Follows what the cluster asks of the node. While the API server is away, the last wishes count.
async fn watch_wishes(api: Api<NivalNode>, name: String, wishes: watch::Sender<NivalNodeSpec>) {
    let mut seen = std::pin::pin!(watch_object(api, &name).backoff(again::pauses()));
    while let Some(event) = seen.next().await {
        match event {
            Ok(Some(node)) => {
                // What an earlier installation was asked for does not hold for this one.
                let over = node
                    .status
                    .is_some_and(|status| status.state == NodeState::Removed);
                let spec = if over {
                    NivalNodeSpec::default()
                } else {
                    node.spec
                };
                wishes.send_if_modified(|old| {
                    let differs = *old != spec;
                    *old = spec;
                    differs
                });
            }
            // It is made anew, and asks for the same soon.
            Ok(None) => {}
            Err(error) => tracing::warn!(error = %one_line(&error), "cannot follow the cluster"),
        }
    }
}

/// Does what the node itself needs; none of it waits for the API server.
struct Keeper {
    setup: Setup,
    looker: Looker,
    prefetches: Prefetches,
    credentials: Credentials,
    /// The agent that answered last.
    agent: Option<String>,
    readiness: Readiness,
    removal: Removal,
    metrics: Arc<Metrics>,
    states: watch::Sender<State>,
    labels: watch::Receiver<Option<bool>>,
}

impl Keeper {
    async fn keep(
        mut self,
        mut asked: watch::Receiver<NivalNodeSpec>,
        begin: impl FnOnce(watch::Receiver<State>),
        told: watch::Receiver<State>,
    ) {
        self.look(&NivalNodeSpec::default()).await;
        begin(told);
        let mut tidied: Option<Instant> = None;
        loop {
            let wish = asked.borrow_and_update().clone();
            if wish.remove && !self.removal.is_done() {
                self.remove().await;
            }
            if !self.removal.is_done() {
                if tidied.is_none_or(|time| time.elapsed() >= TIDY_EVERY) {
                    self.looker.tidy();
                    self.credentials.configure(&self.setup.config);
                    tidied = Some(Instant::now());
                }
                self.look(&wish).await;
            } else {
                // Nothing is left to look after, and nothing is wrong with that.
                self.metrics.touch();
            }
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                // A rollout waits for it.
                () = self.prefetches.wait() => {}
                changed = asked.changed() => if changed.is_err() {
                    sleep(LOOK_EVERY).await;
                },
            }
        }
    }

    async fn look(&mut self, wish: &NivalNodeSpec) {
        let seen = self.looker.look().await;
        self.prefetches.ask(&wish.prefetch);
        let mut prefetch = None;
        if let Some(told) = &seen.agent {
            if self.agent.as_ref() != Some(&told.instance) {
                // It may have begun anew with another configuration, and is to get no token that was meant for the one before.
                self.credentials.configure(&self.setup.config);
                self.agent = Some(told.instance.clone());
            }
            self.credentials
                .hand_over(&self.looker.agent, &told.instance)
                .await;
            prefetch = Some(self.prefetches.advance(told, Instant::now()));
        }
        let label = self
            .readiness
            .label(seen.problem().is_none(), Instant::now());
        let before = self.states.borrow().clone();
        let state = State {
            seen,
            prefetch: prefetch.unwrap_or(before.prefetch),
            removal: self.removal.clone(),
            labelled: label.or(before.labelled),
        };
        self.show(state);
    }

    fn show(&self, state: State) {
        self.metrics.set(&state);
        self.states.send_if_modified(|old| {
            let differs = *old != state;
            *old = state;
            differs
        });
    }

    /// Takes Nival off the node, and tries that again until it is done.
    async fn remove(&mut self) {
        self.removing(Removal::Begun);
        // No new pod is sent here while what it needs goes away.
        let gone = self.labels.wait_for(|label| *label == Some(false));
        if timeout(LABEL_PATIENCE, gone).await.is_err() {
            tracing::warn!("the node's label is still there");
        }
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            match self.setup.installation.uninstall().await {
                Ok(()) => break,
                Err(install::Failure::PodsRun { .. }) if begun.elapsed() < PODS_PATIENCE => {
                    sleep(LOOK_EVERY).await;
                }
                // They need the handler, and so does whoever wants to stop them.
                Err(error @ install::Failure::PodsRun { .. }) => {
                    let left = one_line(&error);
                    tracing::warn!("{left}");
                    self.removing(Removal::Done(Some(left)));
                    return;
                }
                Err(error) => {
                    let failure = one_line(&error);
                    tracing::error!(failure, "cannot take Nival off this node");
                    self.removing(Removal::Failed(failure));
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        // Nothing refers to it any more, and with nobody to look after it it may as well stay.
        if let Err(error) = self.looker.remove_placeholder().await {
            tracing::warn!(error = %one_line(&error), "the placeholder image stays");
        }
        tracing::info!("Nival is off this node");
        self.removing(Removal::Done(None));
    }

    fn removing(&mut self, removal: Removal) {
        self.removal = removal.clone();
        let state = State {
            removal,
            labelled: Some(false),
            ..self.states.borrow().clone()
        };
        self.show(state);
    }
}
