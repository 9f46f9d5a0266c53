//! The agent's ttrpc protocol, generated from `proto/agent.proto`, and where its socket is.

/// The Unix socket that the agent listens on, unless told otherwise. Only root may open it.
pub const DEFAULT_SOCKET: &str = "/run/nival/agent.sock";

pub use agent::*;
pub use service::{Agent, AgentClient, create_agent};

// The generated service looks for its messages at `super::agent`, hence the name.
#[allow(warnings, clippy::all, clippy::restriction, reason = "generated code")]
mod agent {
    include!(concat!(env!("OUT_DIR"), "/agent.rs"));
}

#[allow(warnings, clippy::all, clippy::restriction, reason = "generated code")]
mod service {
    include!(concat!(env!("OUT_DIR"), "/agent_ttrpc.rs"));
}
