//! The body of every answer that is an error.

use serde::{Deserialize, Serialize};

/// The body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// What went wrong, for programs.
    pub code: ErrorCode,
    /// What went wrong and what to do, for people.
    pub message: String,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The request is not understood.
    BadRequest,
    /// No token, or one that is not valid.
    Unauthenticated,
    /// The token has expired.
    TokenExpired,
    /// The token does not allow this.
    Forbidden,
    /// There is no such thing, or the asker may not know of it.
    NotFound,
    /// The generation's parent is not the environment's head: somebody else pushed.
    ParentIsNotHead,
    /// The live pointer moved since it was read.
    PointerMoved,
    /// The revocation list changed since it was read.
    RevocationsChanged,
    /// The generation is revoked.
    Revoked,
    /// The hub does as much of this as it can; the same later may succeed.
    Busy,
    /// The record names paths or documents that the hub lacks or has with other bytes.
    Incomplete,
    /// Bytes do not match the hash they were sent under.
    HashMismatch,
    /// The cache has other bytes under this store path, and keeps them.
    Conflict,
    /// The record has no signature.
    Unsigned,
    /// Larger than the hub takes.
    TooLarge,
    /// The hub is at fault.
    Internal,
    /// A code that a newer hub uses.
    #[serde(other)]
    Unknown,
}
