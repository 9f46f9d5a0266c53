//! `POST /v1/owners/{owner}/missing`: which of these paths the owner's cache lacks.

use nix_data::{Hash, StorePath};
use serde::{Deserialize, Serialize};

/// Returns the path of this endpoint.
#[must_use]
pub fn path(owner: &str) -> String {
    format!("/v1/owners/{owner}/missing")
}

/// The question: at most 5,000 paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MissingRequest {
    /// The paths.
    pub paths: Vec<PathAndHash>,
}

/// A store path with the bytes that are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathAndHash {
    /// The store path.
    pub path: StorePath,
    /// Its NAR's hash.
    pub nar_hash: Hash,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MissingResponse {
    /// The paths to upload.
    pub missing: Vec<StorePath>,
    /// The paths that the cache has with other bytes: the hub keeps what it has, so the push cannot go on as it is.
    pub different: Vec<StorePath>,
}
