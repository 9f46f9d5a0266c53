//! The project's own tasks, as a person runs them.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop right there"
)]

mod clusters;
