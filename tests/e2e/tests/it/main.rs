//! Stories through all parts: a laptop, a hub and a node without Nix, each test in a world of its own.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop right there"
)]

mod contract;
mod faults;
mod guest;
mod hooks;
mod laptop;
mod leaks;
mod pods;
mod refusals;
mod revoking;
mod tampering;
