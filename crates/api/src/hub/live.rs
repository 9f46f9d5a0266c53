//! `GET` and `PUT …/live`: the signed live pointer, as `env_spec::Signed`.
//!
//! The hub takes a pointer only when its sequence follows the present one's (else 409 `pointer-moved`) and the
//! generation exists with that number and digest.
//!
//! `GET …/live?after=<sequence>&wait=<seconds>` answers with a pointer of a higher sequence as soon as there is one, and
//! with 304 when the wait ends without. Where too many wait, it answers 429 `busy` at once.

use std::time::Duration;

use env_spec::EnvironmentName;

/// The longest wait that a hub grants.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Returns the path of an environment's live pointer.
#[must_use]
pub fn path(environment: &EnvironmentName) -> String {
    format!("{}/live", super::environment::path(environment))
}
