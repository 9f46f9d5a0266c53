//! Brings a container and its environment together.

use std::path::Path;
use std::time::Duration;

use api::agent::{PrepareRequest, PrepareResponse};
use serde_json::Value;

use super::agent::Agent;
use crate::error::Result;
use crate::hook::{self, Changes};
use crate::options::{self, RuntimeOptions};
use crate::rootfs;
use crate::spec::{self, SpecError};
use workload::annotations::{self, Annotations, Identity, Wish};

/// How long a sandbox waits for the fetch: the kubelet gives it four minutes, and the answer has to reach it.
const SANDBOX_WAIT: Duration = Duration::from_secs(210);
/// How long a container waits. What its sandbox waited for is there; only a collection in between makes it wait.
const CONTAINER_WAIT: Duration = Duration::from_secs(90);

/// What a container with an environment needs later on.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) exec: ExecEnvironment,
    /// The pin, where the environment has a hook whose report is to be waited for.
    pub(crate) hook: Option<String>,
}

/// What a process gets that is added to a container later.
#[derive(Debug, Clone)]
pub(crate) struct ExecEnvironment {
    plan: PrepareResponse,
    home: String,
    outside: bool,
    changes: Changes,
}

impl ExecEnvironment {
    /// Adds the environment's variables: containerd takes a process from its own copy of the specification, which
    /// knows nothing of them.
    pub(crate) fn apply(&self, variables: &mut Vec<String>) -> Result<(), SpecError> {
        if self.outside {
            return Ok(());
        }
        spec::add_variables(variables, &self.plan, &self.home)?;
        self.changes.apply(variables);
        Ok(())
    }

    /// Takes over what the hook left.
    pub(crate) fn with_changes(mut self, changes: Changes) -> Self {
        self.changes = changes;
        self
    }
}

/// Waits until every environment that the pod names is on the node. Returns whether there is any.
pub(crate) async fn prepare_sandbox(
    annotations: &Annotations,
    options: &RuntimeOptions,
    bundle: &Path,
    id: &str,
    patience: Option<Duration>,
) -> Result<bool> {
    let wishes = annotations::wishes_of_pod(annotations)?;
    if wishes.is_empty() {
        return Ok(false);
    }
    let identity = Identity {
        container: String::new(),
        image: String::new(),
        ..annotations::identity(annotations)
    };
    let agent = Agent::at(&options::agent_socket(options)?);
    let wait = patience.unwrap_or(SANDBOX_WAIT).min(SANDBOX_WAIT);
    let requests = wishes
        .iter()
        .map(|wish| request(wish, &identity, bundle, id, wait));
    let requests: Vec<PrepareRequest> = requests.collect();
    // Together, so that the agent fetches together.
    let answers = requests.iter().map(|request| agent.prepare(request));
    futures::future::try_join_all(answers).await?;
    Ok(true)
}

/// Gives a container its environment, where it has one: edits its specification and its root filesystem.
pub(crate) async fn prepare_container(
    spec: &mut Value,
    annotations: &Annotations,
    options: &RuntimeOptions,
    bundle: &Path,
    rootfs: &Path,
    id: &str,
    patience: Option<Duration>,
) -> Result<Option<Prepared>> {
    let identity = annotations::identity(annotations);
    let Some(wish) = annotations::wish_of_container(annotations, &identity)? else {
        return Ok(None);
    };
    let agent = Agent::at(&options::agent_socket(options)?);
    let wait = patience.unwrap_or(CONTAINER_WAIT).min(CONTAINER_WAIT);
    let plan = agent
        .prepare(&request(&wish, &identity, bundle, id, wait))
        .await?;
    let has_hook = !plan.hook.trim().is_empty();
    if has_hook && plan.shell.is_empty() {
        let pin = plan.pin;
        return Err(SpecError::NoShell { pin }.into());
    }
    let hook = if has_hook {
        let user = spec::on_host(spec, spec::user(spec));
        Some(hook::lay_out(bundle, &plan.hook, &plan.shell, user)?)
    } else {
        None
    };
    let user = spec::user(spec);
    if wish.placeholder {
        let owner = spec::on_host(spec, spec::ROOT);
        rootfs::lay_out(rootfs, &plan, user, owner)?;
    }
    let home = rootfs::home(rootfs, user.uid);
    spec::apply(spec, &plan, hook.as_ref(), &home)?;
    Ok(Some(Prepared {
        hook: has_hook.then(|| plan.pin.clone()),
        exec: ExecEnvironment {
            plan,
            home,
            outside: wish.exec_outside,
            changes: Changes::default(),
        },
    }))
}

fn request(
    wish: &Wish,
    identity: &Identity,
    bundle: &Path,
    id: &str,
    wait: Duration,
) -> PrepareRequest {
    PrepareRequest {
        bundle: bundle.to_string_lossy().into_owned(),
        sandbox_id: identity.sandbox_id.clone(),
        container_id: id.to_owned(),
        namespace: identity.namespace.clone(),
        pod: identity.pod.clone(),
        container: identity.container.clone(),
        image: identity.image.clone(),
        reference: wish.reference.clone(),
        pin: wish.pin.clone(),
        pinned_from: wish.pinned_from.clone(),
        activate_mode: wish.mode.clone(),
        wait_milliseconds: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        system: format!("{}-linux", std::env::consts::ARCH),
        ..PrepareRequest::default()
    }
}
