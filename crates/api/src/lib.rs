//! Every type that crosses a process boundary, and, by feature, its clients.

pub mod hub;
pub mod node;

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
