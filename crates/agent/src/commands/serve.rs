//! `nival-agent serve`.

use std::sync::Arc;
use std::time::Duration;

use host::followed::Followed;
use host::mount::Linux;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use ttrpc::r#async::Server;
use ttrpc::r#async::transport::Listener;

use super::CommandError;
use crate::agent::Agent;
use crate::args::{Global, Serve};
use crate::hub::Hub;
use crate::service::Service;
use crate::settings::Settings;
use crate::{housekeeping, metrics, socket};

/// How long answers that are under way are waited for when the configuration has changed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves until it is told to stop, or has to begin anew. Fetches that are under way end; what they have published stays.
pub(super) async fn run(global: &Global, serve: &Serve) -> Result<(), CommandError> {
    host::telemetry::init(None, serve.log_json);
    let told = host::shutdown::signal();
    let (settings, mut file) = Settings::load(global, Some(serve))?;
    if settings.trusted.iter().next().is_none() {
        tracing::warn!(
            file = %settings.file.display(),
            "no key is trusted, so no environment will start: add owners and keys to [trust]"
        );
    }
    let stop = told.child_token();
    let tasks = TaskTracker::new();
    let http = store::http_client(concat!("nival-agent/", env!("CARGO_PKG_VERSION")))?;
    let (path, metrics_address) = (settings.socket.clone(), settings.metrics);
    let agent = Arc::new(Agent::open(
        settings,
        Arc::new(Linux),
        http.clone(),
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

    let changed = configured_anew(&mut file, global, serve, &http);
    let changed = stop.run_until_cancelled(changed).await.is_some();
    stop.cancel();
    tasks.close();
    let ending = async {
        server.shutdown().await.map_err(CommandError::Serve)?;
        tasks.wait().await;
        Ok::<_, CommandError>(())
    };
    if !changed {
        ending.await?;
        return Ok(());
    }
    // Whoever still waits for an answer asks the next process, which takes over as after a crash.
    if let Ok(ended) = tokio::time::timeout(PATIENCE, ending).await {
        ended?;
    }
    if told.is_cancelled() {
        return Ok(());
    }
    Err(CommandError::BeginAnew(host::shutdown::begin_anew()))
}

/// Waits until the file holds another configuration, and one that can be served.
async fn configured_anew(
    file: &mut Followed,
    global: &Global,
    serve: &Serve,
    http: &reqwest::Client,
) {
    let in_force = file.text().to_owned();
    loop {
        file.changed().await;
        if file.text() == in_force {
            continue;
        }
        match check(file, global, serve, http) {
            Ok(()) => {
                return tracing::info!(
                    file = %file.path().display(),
                    "the configuration changed: beginning anew with it"
                );
            }
            Err(error) => tracing::error!(
                "{}; the configuration before stays in force",
                host::error::one_line(&error)
            ),
        }
    }
}

/// Checks a configuration as far as that is possible beside one that is served.
fn check(
    file: &Followed,
    global: &Global,
    serve: &Serve,
    http: &reqwest::Client,
) -> Result<(), CommandError> {
    let settings = Settings::of(file, global, Some(serve))?;
    Hub::new(&settings, http.clone())?;
    Ok(())
}
