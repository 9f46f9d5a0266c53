//! `GET` and `PUT /v1/owners/{owner}/revocations`: the signed list of an owner's revoked generations, as `env_spec::Signed`.
//!
//! Everybody may read it, as whoever runs an environment must know what of it is revoked. The hub takes a list only when
//! its sequence follows the present one's (else 409 `revocations-changed`).

/// Returns the path of an owner's revocation list.
#[must_use]
pub fn path(owner: &str) -> String {
    format!("/v1/owners/{owner}/revocations")
}
