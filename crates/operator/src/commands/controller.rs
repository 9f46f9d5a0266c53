//! `nival-operator controller`: admission, rollouts and the state of environments.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use clap::Args;
use kube::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{self, Judge, Nodes};
use crate::args::Global;
use crate::certificates::Keeper;
use crate::env_vars;
use crate::error::Failure;
use crate::http::{self, Metrics, Readiness};
use crate::leader::Candidate;
use crate::resolve::{ClusterTokens, Resolver};
use crate::rollouts::Rollouts;
use crate::settings::Config;

/// The Service through which the API server asks, unless told otherwise.
const SERVICE: &str = "nival-controller";
/// How long nodes that cannot be watched keep the webhooks from being served.
const NODES_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests that are under way may take to end.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// Options of `controller`.
#[derive(Debug, Args)]
pub(crate) struct Controller {
    /// Where the API server's questions are answered
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
    listen: SocketAddr,
    /// Where /metrics, /healthz and /readyz are served
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    metrics: SocketAddr,
    /// A host name or address by which the API server calls, if not the Service nival-controller (may be repeated)
    #[arg(long = "webhook-name", value_name = "NAME")]
    webhook_names: Vec<String>,
    /// How long a certificate of the webhooks lasts; a new one is served after a third of it
    #[arg(long, value_name = "SECONDS", default_value_t = 90 * 24 * 3600, value_parser = clap::value_parser!(u64).range(9..))]
    certificate_seconds: u64,
    /// The name by which this replica leads the others; they must differ
    #[arg(long, value_name = "NAME", env = env_vars::POD)]
    identity: Option<String>,
    /// How long a leader that is gone is waited for
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=300))]
    lease_seconds: u64,
    /// How long questions are still answered after the signal to stop: until then the API server may not know of it
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    drain_seconds: u64,
}

/// Runs to its end.
pub(crate) async fn run(global: &Global, wish: &Controller) -> Result<(), Failure> {
    host::telemetry::init(None, global.log_json);
    let stop = host::shutdown::signal();
    let (config, file) = Config::load(&global.config)?;
    if config.now().trusted.iter().next().is_none() {
        tracing::warn!(
            file = %global.config.display(),
            "no key is trusted, so no environment will be let in: add owners and keys to [trust]"
        );
    }
    let client = Client::try_default().await?;
    let (metrics, readiness) = (Metrics::default(), Readiness::default());
    let tasks = TaskTracker::new();
    let listener = TcpListener::bind(wish.metrics).await?;
    let probes = http::serve(listener, metrics.clone(), readiness.clone(), stop.clone());
    tasks.spawn(probes);
    tasks.spawn(config.clone().follow(file, stop.clone()));

    let tokens = Arc::new(ClusterTokens(client.clone()));
    let resolver = Resolver::new(config, tokens)?;
    let lease = Duration::from_secs(wish.lease_seconds);
    let candidate = Candidate::new(client.clone(), &global.namespace, wish.identity(), lease);
    let (leadership, standing) = candidate.stand(metrics.clone(), stop.clone());
    tasks.spawn(standing);

    let lifetime = Duration::from_secs(wish.certificate_seconds);
    let names = wish.names(&global.namespace);
    let mut keeper = Keeper::new(client.clone(), &global.namespace, names, lifetime);
    let Some(tls) = keeper.first(&metrics, &stop).await else {
        return Ok(());
    };
    tasks.spawn(keeper.keep(leadership.clone(), metrics.clone(), stop.clone()));
    let rollouts = Rollouts::new(client.clone(), resolver.clone(), &metrics, wish.identity());
    let lead = move |term| rollouts.clone().lead(term);
    tasks.spawn(leadership.while_leading(stop.clone(), lead));

    let nodes = Nodes::watch(client, stop.clone());
    let judge = Judge {
        resolver,
        nodes: nodes.clone(),
    };
    let router = admission::router(judge, metrics);
    let handle = Handle::new();
    let drain = Duration::from_secs(wish.drain_seconds);
    let ending = end_gently(handle.clone(), nodes, readiness, drain, stop.clone());
    tasks.spawn(ending);
    let server = axum_server::bind_rustls(wish.listen, tls).handle(handle);
    let served = server.serve(router.into_make_service()).await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(served?)
}

/// Says when the webhooks are served, and ends them when told to stop.
async fn end_gently(
    handle: Handle<SocketAddr>,
    nodes: Nodes,
    readiness: Readiness,
    drain: Duration,
    stop: CancellationToken,
) {
    if let Some(address) = handle.listening().await {
        // Whoever does not know the nodes lets in what they have nothing for.
        let known = stop.run_until_cancelled(nodes.known(NODES_TIMEOUT)).await;
        if known == Some(false) {
            tracing::warn!(
                "the nodes are not known yet: until they are, generations are not checked for their systems"
            );
        }
        tracing::info!(%address, "serving webhooks");
        readiness.set(true);
    }
    stop.cancelled().await;
    readiness.set(false);
    tokio::time::sleep(drain).await;
    handle.graceful_shutdown(Some(LAST_REQUESTS));
}

impl Controller {
    fn names(&self, namespace: &str) -> Vec<String> {
        match self.webhook_names.is_empty() {
            true => vec![format!("{SERVICE}.{namespace}.svc")],
            false => self.webhook_names.clone(),
        }
    }

    /// Pods are named; what runs elsewhere is told by its process.
    fn identity(&self) -> String {
        let own = || format!("process-{}", std::process::id());
        self.identity.clone().unwrap_or_else(own)
    }
}
