//! `GET …/history`: all generations and every move of the live pointer, newest first.

use env_spec::{Digest, EnvironmentName};
use serde::{Deserialize, Serialize};

/// Returns the path of an environment's history.
#[must_use]
pub fn path(environment: &EnvironmentName) -> String {
    format!("{}/history", super::environment::path(environment))
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// The generations, newest first.
    pub generations: Vec<GenerationSummary>,
    /// The moves of the live pointer, newest first.
    pub pointers: Vec<PointerSummary>,
}

/// One generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerationSummary {
    /// Its number.
    pub number: u64,
    /// Its digest.
    pub digest: Digest,
    /// When it was made, as its author says (RFC 3339).
    pub created: String,
    /// Who made it.
    pub author: String,
    /// What the author said of it.
    pub message: String,
}

/// One move of the live pointer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PointerSummary {
    /// Its sequence.
    pub sequence: u64,
    /// The generation it points at.
    pub number: u64,
    /// That generation's digest.
    pub digest: Digest,
    /// When it moved, as the mover says (RFC 3339).
    pub time: String,
}
