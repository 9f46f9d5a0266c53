//! `nival-agent` as a process, asked over its socket, with a hub whose answers the tests decide.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod configuring;
mod credentials;
mod faults;
mod hub;
mod keeping;
mod preparing;
mod refusing;
mod revoking;
mod scene;
