//! What makes the shim Nival's: from annotations to a container that sees its environment.

mod agent;
mod environment;

pub(crate) use agent::{Agent, AgentError};
pub(crate) use environment::{ExecEnvironment, Prepared, prepare_container, prepare_sandbox};
