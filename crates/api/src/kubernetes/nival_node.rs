//! `NivalNode`: what a node holds, and what it is asked to fetch.

#![expect(
    clippy::duplicated_attributes,
    reason = "several printed columns are of one type, each in an attribute of its own"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a node is asked to do.
#[derive(Debug, Clone, Default, PartialEq, CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "nival.dev",
    version = "v1alpha1",
    kind = "NivalNode",
    plural = "nivalnodes",
    shortname = "nnode",
    category = "nival",
    status = "NivalNodeStatus",
    doc = "What Nival is on a node: what it holds, and what it is asked to fetch.",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "System", type_ = "string", json_path = ".status.system"),
    printcolumn(
        name = "Generations",
        type_ = "integer",
        json_path = ".status.generationCount"
    ),
    printcolumn(name = "Agent", type_ = "string", json_path = ".status.agentVersion"),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".status.message"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct NivalNodeSpec {
    /// Generations to fetch before pods need them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub prefetch: Vec<Prefetch>,
    /// Whether Nival is to be taken off the node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remove: bool,
}

/// A generation to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Prefetch {
    /// In full: `owner/name:12@sha256:…`.
    pub generation: String,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NivalNodeStatus {
    /// Whether pods may run in environments here.
    #[serde(default)]
    pub state: NodeState,
    /// Why, in one word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Why, in one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The machine, as Nix names systems.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub system: String,
    /// The agent's version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
    /// The version of `nival-operator node`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub operator_version: String,
    /// containerd's version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub runtime_version: String,
    /// The generations that the node holds whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generations: Vec<String>,
    /// How many they are.
    #[serde(default)]
    pub generation_count: u32,
    /// How the fetches that were asked for stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefetch: Vec<PrefetchStatus>,
    /// The bytes of the store on the node.
    #[serde(default)]
    pub store_bytes: u64,
    /// `Installed`, `AgentReady` and `RuntimeReady`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Whether pods may run in environments on a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeState {
    /// Something is missing or broken.
    #[default]
    NotReady,
    /// They may.
    Ready,
    /// Nival was taken off the node.
    Removed,
}

/// How a fetch stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrefetchStatus {
    /// The generation.
    pub generation: String,
    /// How it stands.
    pub state: PrefetchState,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// NAR bytes that are there.
    #[serde(default)]
    pub bytes_done: u64,
    /// NAR bytes in all.
    #[serde(default)]
    pub bytes_total: u64,
}

/// How a fetch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PrefetchState {
    /// It is under way.
    Fetching,
    /// The node holds the generation.
    Done,
    /// It was tried and failed; it is tried again.
    Failed,
}
