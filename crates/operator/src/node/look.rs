//! Looks whether everything is in place on the node, and puts the placeholder image there where it is missing.

use std::path::PathBuf;

use host::error::one_line;
use workload::names::{PLACEHOLDER_IMAGE, RUNTIME_CLASS};

use super::agent::{Agent, Told};
use crate::containerd::{Containerd, ContainerdError};
use crate::install::{self, Host};

/// What is looked at.
#[derive(Debug, Clone)]
pub(super) struct Looker {
    pub(super) host: Host,
    /// containerd's socket, as this process sees it.
    pub(super) containerd: PathBuf,
    pub(super) agent: Agent,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Why the shim or the handler is not there, in a word and a line.
    pub(super) not_installed: Option<(&'static str, String)>,
    /// Why containerd cannot run pods in environments.
    pub(super) no_runtime: Option<(&'static str, String)>,
    /// Why the agent cannot.
    pub(super) no_agent: Option<(&'static str, String)>,
    /// containerd's version.
    pub(super) runtime_version: String,
    /// What the agent says of itself.
    pub(super) agent: Option<Told>,
}

impl Seen {
    /// Returns the first thing that is not as it should be.
    pub(super) fn problem(&self) -> Option<&(&'static str, String)> {
        let problems = [&self.not_installed, &self.no_runtime, &self.no_agent];
        problems.into_iter().find_map(Option::as_ref)
    }
}

impl Looker {
    /// Looks at everything.
    pub(super) async fn look(&self) -> Seen {
        let mut seen = Seen::default();
        match self.look_at_containerd(&mut seen).await {
            Ok(()) => {}
            Err(error) => seen.no_runtime = Some(("ContainerdAway", one_line(&error))),
        }
        match self.agent.status().await {
            Ok(told) => seen.agent = Some(told),
            Err(error) => seen.no_agent = Some(("AgentAway", one_line(&error))),
        }
        seen
    }

    async fn look_at_containerd(&self, seen: &mut Seen) -> Result<(), ContainerdError> {
        let containerd = Containerd::connect(&self.containerd).await?;
        seen.runtime_version = containerd.version().await?;
        match containerd.handler(RUNTIME_CLASS).await? {
            None => {
                let text = format!(
                    "containerd has no handler {RUNTIME_CLASS}: its configuration was changed, or it was not restarted \
                     since; restart this pod to install it again"
                );
                seen.not_installed = Some(("HandlerMissing", text));
            }
            // A path is the rule; with none containerd finds the shim by its type, wherever it is.
            Some(handler) if !handler.path.is_empty() && !self.host.has(&handler.path) => {
                let text = format!(
                    "the shim {} is not there: restart this pod to install it again",
                    handler.path
                );
                seen.not_installed = Some(("ShimMissing", text));
            }
            Some(_) => {}
        }
        if !containerd.ensure_placeholder().await? {
            let text =
                format!("containerd was given {PLACEHOLDER_IMAGE}, but does not show it yet");
            seen.no_runtime = Some(("PlaceholderMissing", text));
        }
        Ok(())
    }

    /// Removes shims that nothing runs any more.
    pub(super) fn tidy(&self) {
        if let Err(error) = install::remove_unused(&self.host) {
            tracing::warn!(error = %one_line(&error), "cannot remove old versions of the shim");
        }
    }

    /// Takes the placeholder image away.
    pub(super) async fn remove_placeholder(&self) -> Result<(), ContainerdError> {
        Containerd::connect(&self.containerd)
            .await?
            .remove_placeholder()
            .await
    }
}
