//! `GET` and `PUT /v1/environments/{owner}/{name}`, and `GET /v1/environments`: environments and who may see them.

use env_spec::{Digest, EnvironmentName};
use serde::{Deserialize, Serialize};

/// The path that lists the environments that the asker may see.
pub const LIST_PATH: &str = "/v1/environments";

/// Returns the path of one environment.
#[must_use]
pub fn path(environment: &EnvironmentName) -> String {
    format!("{LIST_PATH}/{environment}")
}

/// Who may read an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Visibility {
    /// Everybody.
    Public,
    /// Who holds a token of its owner.
    Private,
}

/// The body of `PUT`: makes the environment or changes it. A push to a new name makes a private one by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutEnvironment {
    /// Who may read it.
    pub visibility: Visibility,
}

/// One environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Environment {
    /// Its name.
    pub environment: EnvironmentName,
    /// Who may read it.
    pub visibility: Visibility,
    /// The newest generation.
    pub head: Option<GenerationId>,
    /// The generation that the live pointer names.
    pub live: Option<GenerationId>,
    /// The live pointer's sequence; 0 before the first.
    pub sequence: u64,
}

/// A generation's number and digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerationId {
    /// Its number.
    pub number: u64,
    /// Its digest.
    pub digest: Digest,
}

/// The answer of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentList {
    /// The environments, sorted by name.
    pub environments: Vec<Environment>,
}
