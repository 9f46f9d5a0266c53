//! `nival-agent serve`.

use std::sync::Arc;

use host::mount::Linux;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use ttrpc::r#async::Server;
use ttrpc::r#async::transport::Listener;

use super::CommandError;
use crate::agent::Agent;
use crate::args::{Global, Serve};
use crate::service::Service;
use crate::settings::Settings;
use crate::{housekeeping, metrics, socket};

/// Serves until it is told to stop. Fetches that are under way end; what they have published stays.
pub(super) async fn run(global: &Global, serve: &Serve) -> Result<(), CommandError> {
    host::telemetry::init(None, serve.log_json);
    let settings = Settings::load(global, Some(serve))?;
    if settings.trusted.iter().next().is_none() {
        tracing::warn!(
            file = %settings.file.display(),
            "no key is trusted, so no environment will start: add owners and keys to [trust]"
        );
    }
    let stop = host::shutdown::signal();
    let tasks = TaskTracker::new();
    let http = store::http_client(concat!("nival-agent/", env!("CARGO_PKG_VERSION")))?;
    let (path, metrics_address) = (settings.socket.clone(), settings.metrics);
    let agent = Arc::new(Agent::open(
        settings,
        Arc::new(Linux),
        http,
        tasks.clone(),
        stop.clone(),
    )?);

    let listener = socket::listen(&path)?;
    let service = api::agent::create_agent(Arc::new(Service(Arc::clone(&agent))));
    let mut server = Server::new()
        .add_listener(Listener::new(socket::connections(listener)))
        .register_service(service);
    server.start().await.map_err(CommandError::Serve)?;
    if let Some(address) = metrics_address {
        let failed = |source| CommandError::Metrics { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        tasks.spawn(metrics::serve(Arc::clone(&agent), listener, stop.clone()));
    }
    tasks.spawn(housekeeping::keep(Arc::clone(&agent), stop.clone()));
    tasks.spawn(housekeeping::keep_revocations(
        Arc::clone(&agent),
        stop.clone(),
    ));
    tracing::info!(socket = %path.display(), hub = agent.hub.address(), "serving");

    stop.cancelled().await;
    tasks.close();
    server.shutdown().await.map_err(CommandError::Serve)?;
    tasks.wait().await;
    Ok(())
}
