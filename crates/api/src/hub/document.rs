//! `PUT` and `GET …/documents/{digest}`: documents that a generation names by digest, such as bills of materials.

use env_spec::{Digest, EnvironmentName};

/// Larger documents are refused.
pub const LARGEST_DOCUMENT: usize = 64 << 20;

/// Returns the path of a document.
#[must_use]
pub fn path(environment: &EnvironmentName, digest: Digest) -> String {
    format!(
        "{}/documents/{digest}",
        super::environment::path(environment)
    )
}
