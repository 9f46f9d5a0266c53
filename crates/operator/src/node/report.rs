//! Tells the cluster: the node's resource with its state, and the node's label. The API server may be away for long.

use std::sync::Arc;
use std::time::Duration;

use api::kubernetes::{NivalNode, NivalNodeSpec, NodeState};
use host::error::one_line;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference};
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use workload::names::{NODE, NODE_READY};

use super::metrics::Metrics;
use super::state::State;
use crate::error::Failure;

/// Who writes the state.
const MANAGER: &str = "nival-operator-node";
/// A server that does not answer in this time is away.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the cluster is told anew, whoever has changed what in the meantime.
const RESYNC: Duration = Duration::from_secs(60);
/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Writes about one node.
pub(super) struct Reporter {
    name: String,
    system: String,
    nodes: Api<Node>,
    resources: Api<NivalNode>,
    metrics: Arc<Metrics>,
    /// Whether the resource is known to be there.
    is_made: bool,
    conditions: Vec<Condition>,
    /// The state that was written last, and when.
    written: Option<(State, Instant)>,
    /// The label as the cluster has it.
    labelled: Arc<watch::Sender<Option<bool>>>,
}

impl Reporter {
    pub(super) fn new(client: Client, name: &str, system: &str, metrics: Arc<Metrics>) -> Self {
        Self {
            name: name.to_owned(),
            system: system.to_owned(),
            nodes: Api::all(client.clone()),
            resources: Api::all(client),
            metrics,
            is_made: false,
            conditions: Vec::new(),
            written: None,
            labelled: Arc::new(watch::Sender::new(None)),
        }
    }

    /// Returns where the label as the cluster has it can be seen.
    pub(super) fn labels(&self) -> watch::Receiver<Option<bool>> {
        self.labelled.subscribe()
    }

    /// Tells every change until it is told to stop, or Nival is off the node and the cluster knows it.
    pub(super) async fn keep(
        mut self,
        mut states: watch::Receiver<State>,
        stop: CancellationToken,
    ) {
        let mut pause = FIRST_PAUSE;
        let mut next = Duration::ZERO;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(next) => {}
                changed = states.changed(), if next > pause => if changed.is_err() {
                    return;
                },
            }
            let state = states.borrow_and_update().clone();
            if let Some(rest) = self.too_early(&state) {
                next = rest;
                continue;
            }
            let outcome = timeout(PATIENCE, self.write(&state)).await;
            match outcome.unwrap_or_else(|_late| Err("it did not answer in time".into())) {
                Ok(()) if state.removal.is_done() => return,
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    next = RESYNC;
                }
                Err(error) => {
                    self.metrics.failed_writes.inc();
                    tracing::warn!(error = %one_line(&*error), "cannot tell the API server");
                    self.forget();
                    next = pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Returns how long to wait where nothing but progress is to be told, and that was told just now.
    fn too_early(&self, state: &State) -> Option<Duration> {
        let (written, time) = self.written.as_ref()?;
        let rest = PROGRESS.checked_sub(time.elapsed())?;
        (!state.differs(written) && !rest.is_zero()).then_some(rest)
    }

    /// After a failure nothing is known of what the cluster has.
    fn forget(&mut self) {
        self.is_made = false;
        self.written = None;
        self.labelled.send_replace(None);
    }

    async fn write(&mut self, state: &State) -> Result<(), Failure> {
        let resync = self
            .written
            .as_ref()
            .is_none_or(|(_, time)| time.elapsed() >= RESYNC);
        if resync {
            self.make().await?;
        }
        // Away before anything is taken off, and set only when everything is there.
        self.label(state, resync).await?;
        let same = self
            .written
            .as_ref()
            .is_some_and(|(written, _)| written == state);
        if !same || resync {
            let status = state.status(&self.system, &self.conditions);
            let patch = json!({
                "apiVersion": NivalNode::api_version(&()),
                "kind": NivalNode::kind(&()),
                "metadata": {"name": self.name},
                "status": status,
            });
            self.resources
                .patch_status(
                    &self.name,
                    &PatchParams::apply(MANAGER).force(),
                    &Patch::Apply(&patch),
                )
                .await?;
            self.conditions = status.conditions;
            self.written = Some((state.clone(), Instant::now()));
        }
        Ok(())
    }

    /// Makes the resource where it is missing. One that an earlier installation has left is made anew.
    async fn make(&mut self) -> Result<(), Failure> {
        let found = self.resources.get_opt(&self.name).await?;
        if let Some(found) = found {
            let removed = found
                .status
                .as_ref()
                .is_some_and(|status| status.state == NodeState::Removed);
            if self.is_made || !(removed && found.spec.remove) {
                self.is_made = true;
                if let Some(status) = found.status.filter(|_| self.conditions.is_empty()) {
                    self.conditions = status.conditions;
                }
                return Ok(());
            }
            self.resources
                .delete(&self.name, &DeleteParams::default())
                .await?;
        }
        let node = self.nodes.get(&self.name).await?;
        let owner = OwnerReference {
            api_version: Node::api_version(&()).into_owned(),
            kind: Node::kind(&()).into_owned(),
            name: self.name.clone(),
            uid: node.uid().unwrap_or_default(),
            ..OwnerReference::default()
        };
        let resource = NivalNode {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: NivalNodeSpec::default(),
            status: None,
        };
        self.resources
            .create(&PostParams::default(), &resource)
            .await?;
        self.is_made = true;
        Ok(())
    }

    async fn label(&mut self, state: &State, resync: bool) -> Result<(), Failure> {
        let Some(wanted) = state.labelled else {
            return Ok(());
        };
        if resync || self.labelled.borrow().is_none() {
            let node = self.nodes.get_metadata(&self.name).await?;
            let value = node.labels().get(NODE);
            self.labelled
                .send_replace(Some(value.is_some_and(|value| value == NODE_READY)));
        }
        if *self.labelled.borrow() == Some(wanted) {
            return Ok(());
        }
        let value = wanted.then_some(NODE_READY);
        let patch = json!({"metadata": {"labels": {NODE: value}}});
        self.nodes
            .patch_metadata(&self.name, &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        tracing::info!(ready = wanted, "the node's label is set");
        self.labelled.send_replace(Some(wanted));
        Ok(())
    }
}
