//! What is kept of resources, nodes and the hub's answers.

use std::collections::{BTreeMap, BTreeSet};

use api::kubernetes::{
    Environment, EnvironmentSpec, EnvironmentStatus, NivalNode, NodeState, PrefetchState,
};
use env_spec::{EnvironmentName, System};
use kube::ResourceExt as _;
use workload::names::{MANAGED_BY, OPERATOR};

use crate::rollouts::decide::Live;
use crate::rollouts::reason::short;

/// An `Environment` of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resource {
    pub(crate) uid: String,
    pub(crate) generation: Option<i64>,
    pub(crate) environment: EnvironmentName,
    pub(crate) suspend: bool,
    /// Whether the operator made it, and may remove it.
    pub(crate) managed: bool,
    pub(crate) status: EnvironmentStatus,
}

/// A `NivalNode` of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) uid: String,
    pub(crate) ready: bool,
    pub(crate) system: Option<System>,
    /// What it holds whole.
    pub(crate) holds: BTreeSet<String>,
    /// What it has been asked to fetch.
    pub(crate) asked: Vec<String>,
    /// How those fetches stand: whether they are done, or failed and why.
    pub(crate) fetches: BTreeMap<String, Result<bool, String>>,
}

/// What the hub said of an environment to a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    pub(crate) live: Option<Live>,
    /// The systems that the live generation was locked for.
    pub(crate) systems: Vec<System>,
    /// Why there is no newer answer.
    pub(crate) trouble: Option<Trouble>,
}

/// Why the hub gave no answer to a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// In one word.
    pub(crate) reason: &'static str,
    /// In one line.
    pub(crate) message: String,
    /// Whether it is an answer after all, and what was known before counts no longer.
    pub(crate) lasting: bool,
}

/// A workload's wish for its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Want {
    pub(crate) pins: Vec<String>,
    pub(crate) nodes: BTreeSet<String>,
}

impl Resource {
    pub(super) fn of(resource: Environment) -> Option<Self> {
        let labels = resource.labels();
        let managed = labels
            .get(MANAGED_BY)
            .is_some_and(|value| value == OPERATOR);
        let EnvironmentSpec {
            environment,
            suspend,
        } = resource.spec;
        Some(Self {
            uid: resource.metadata.uid.unwrap_or_default(),
            generation: resource.metadata.generation,
            environment: environment.parse().ok()?,
            suspend,
            managed,
            status: resource.status.unwrap_or_default(),
        })
    }
}

impl Node {
    pub(super) fn of(node: &NivalNode) -> Self {
        let status = node.status.clone().unwrap_or_default();
        let fetches = status.prefetch.into_iter().map(|one| {
            let stands = match one.state {
                PrefetchState::Fetching => Ok(false),
                PrefetchState::Done => Ok(true),
                PrefetchState::Failed => Err(short(&one.message)),
            };
            (one.generation, stands)
        });
        Self {
            uid: node.metadata.uid.clone().unwrap_or_default(),
            ready: status.state == NodeState::Ready && !node.spec.remove,
            system: status.system.parse().ok(),
            holds: status.generations.into_iter().collect(),
            asked: node
                .spec
                .prefetch
                .iter()
                .map(|one| one.generation.clone())
                .collect(),
            fetches: fetches.collect(),
        }
    }

    /// Tells whether a pin is there, or failed; nothing where it is neither yet.
    pub(super) fn stands(&self, pin: &str) -> Option<bool> {
        if self.holds.contains(pin) {
            return Some(true);
        }
        match self.fetches.get(pin)? {
            Ok(true) => Some(true),
            Ok(false) => None,
            Err(_) => Some(false),
        }
    }
}
