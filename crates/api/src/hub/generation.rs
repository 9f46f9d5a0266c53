//! `POST …/generations` and `GET …/generations/{number or digest}`: signed generation records, as `env_spec::Signed`.
//!
//! The hub takes a record only when its parent is the head (else 409 `parent-is-not-head`), its number is the next,
//! every path of its closure is in the owner's cache with the same NAR hash and size, and every document it names is there.

use env_spec::{Digest, EnvironmentName};

/// Returns the path to post new generations to.
#[must_use]
pub fn post_path(environment: &EnvironmentName) -> String {
    format!("{}/generations", super::environment::path(environment))
}

/// Returns the path of a generation by number.
#[must_use]
pub fn path_by_number(environment: &EnvironmentName, number: u64) -> String {
    format!("{}/{number}", post_path(environment))
}

/// Returns the path of a generation by digest.
#[must_use]
pub fn path_by_digest(environment: &EnvironmentName, digest: Digest) -> String {
    format!("{}/{digest}", post_path(environment))
}
