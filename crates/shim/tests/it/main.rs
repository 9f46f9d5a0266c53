//! Plays containerd, and where it matters the agent, to the real shim with the real runc.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails the test, also in what the tests share"
)]

mod agent;
mod bundle;
mod containerd;

mod environments;
mod failures;
mod interrupted;
mod lifecycle;
mod starting;
mod upgraded;
mod user_namespaces;
