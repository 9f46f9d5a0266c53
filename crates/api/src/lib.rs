//! Every type that crosses a process boundary, and, by feature, its clients.

pub mod hub;

#[cfg(feature = "agent")]
pub mod agent;
