//! `GET` and `PUT …/live`: the signed live pointer, as `env_spec::Signed`.
//!
//! The hub takes a pointer only when its sequence follows the present one's (else 409 `pointer-moved`) and the
//! generation exists with that number and digest.

use env_spec::EnvironmentName;

/// Returns the path of an environment's live pointer.
#[must_use]
pub fn path(environment: &EnvironmentName) -> String {
    format!("{}/live", super::environment::path(environment))
}
