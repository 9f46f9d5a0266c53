//! `Environment`: what a namespace's workloads run of an environment, and how their rollouts stand.

#![expect(
    clippy::duplicated_attributes,
    reason = "several printed columns are of one type, each in an attribute of its own"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An environment as the workloads of one namespace use it.
#[derive(Debug, Clone, Default, PartialEq, CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "nival.dev",
    version = "v1alpha1",
    kind = "Environment",
    namespaced,
    shortname = "nenv",
    category = "nival",
    status = "EnvironmentStatus",
    doc = "An environment as the workloads of one namespace use it.",
    printcolumn(
        name = "Environment",
        type_ = "string",
        json_path = ".spec.environment"
    ),
    printcolumn(name = "Live", type_ = "integer", json_path = ".status.live.number"),
    printcolumn(
        name = "Workloads",
        type_ = "integer",
        json_path = ".status.workloadCount"
    ),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodeCount"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type=='Ready')].message"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentSpec {
    /// The environment: `owner/name`.
    #[schemars(length(min = 3, max = 127))]
    pub environment: String,
    /// Holds all rollouts of new generations in this namespace while it is true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentStatus {
    /// The generation of the specification that this state is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The generation that the hub says is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
    /// The workloads of the namespace that use the environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<Workload>,
    /// How many they are.
    #[serde(default)]
    pub workload_count: u32,
    /// The nodes that hold generations that these workloads run, whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Holder>,
    /// How many they are.
    #[serde(default)]
    pub node_count: u32,
    /// The last rollout that went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Failure>,
    /// `Resolved`, `Ready` and `Progressing`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The live generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Live {
    /// In full: `owner/name:12@sha256:…`.
    pub generation: String,
    /// Its number.
    pub number: u64,
    /// The sequence of the pointer that says so.
    pub sequence: u64,
    /// When it was made live (RFC 3339).
    pub since: String,
}

/// A workload that uses the environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// `Deployment` and so on.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The container that names the environment for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The pin in its template; absent where nothing has pinned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// Whether new generations are rolled out.
    #[serde(default)]
    pub tracking: bool,
    /// How its last rollout stands.
    pub phase: Phase,
    /// How many of its pods are ready.
    #[serde(default)]
    pub ready: i32,
    /// How many there should be.
    #[serde(default)]
    pub desired: i32,
}

/// How a rollout stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Nothing is under way.
    #[default]
    Stable,
    /// Nodes fetch the new generation.
    Prefetching,
    /// Pods are replaced.
    Progressing,
    /// All pods run the new generation.
    Complete,
    /// The new generation did not come up, and the one before is back.
    RolledBack,
    /// A person went back, or said to pause.
    Held,
}

/// A node with the generations that it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The node's name.
    pub name: String,
    /// The numbers of the generations that it holds.
    pub generations: Vec<u64>,
}

/// A rollout that went wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// `kind/name` of the workload.
    pub workload: String,
    /// The generation that did not come up.
    pub generation: String,
    /// In one word.
    pub reason: String,
    /// In one line.
    pub message: String,
    /// When (RFC 3339).
    pub time: String,
}
