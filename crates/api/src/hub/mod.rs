//! The hub's HTTP API: one file per endpoint with its path and its bodies, and the client behind `hub-client`.
//!
//! Besides these, the hub serves a Nix binary cache per owner below [`cache_path`]: `nix-cache-info`,
//! `<hash>.narinfo`, `<hash>.ls` and `nar/<file>`, with `GET`, `HEAD` and `PUT` as Nix's own HTTP store uses them.

pub mod document;
pub mod environment;
pub mod error;
pub mod generation;
pub mod history;
pub mod info;
pub mod live;
pub mod missing;
pub mod revocations;

#[cfg(feature = "hub-client")]
mod client;
#[cfg(feature = "hub-client")]
pub use client::{ClientError, HubClient, install_token};

/// The address that the hub listens on, and that its clients ask, unless told otherwise.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:7878";

/// Returns the path of an owner's binary cache.
#[must_use]
pub fn cache_path(owner: &str) -> String {
    format!("/cache/{owner}")
}
