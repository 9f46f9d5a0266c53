//! Plays containerd, and where it matters the agent, to the real shim with the real runc.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails the test, also in what the tests share"
)]

mod agent;
mod bundle;
mod containerd;
mod runtime;
mod shim;
mod task;

mod cycles;
mod environments;
mod failures;
mod faults;
mod interrupted;
mod lifecycle;
mod processes;
mod starting;
mod upgraded;
mod user_namespaces;
