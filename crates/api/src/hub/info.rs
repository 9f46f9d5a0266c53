//! `GET /v1/info`: what this hub is. Needs no token.

use serde::{Deserialize, Serialize};

/// The path of this endpoint.
pub const PATH: &str = "/v1/info";

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// The hub's version.
    pub version: String,
    /// Who the token belongs to, if one was sent and is valid.
    pub owner: Option<String>,
}
