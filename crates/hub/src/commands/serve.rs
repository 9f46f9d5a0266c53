//! `nival-hub serve`: runs the hub until SIGTERM.

use std::net::SocketAddr;
use std::time::Duration;

use env_spec::Signed;
use host::lock::FileLock;
use object_store::path::Path;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{CommandError, make_data_folder, settings};
use crate::app::App;
use crate::args::{Global, Serve};
use crate::config::{ConfigError, ConfigFile, Settings};
use crate::db::{NewToken, Scope};
use crate::oidc::Oidc;
use crate::owner::Owner;
use crate::server::{self, Limits};
use crate::storage::layout;

/// How long a hub that is just stopping may hold the folder.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn run(
    mut file: ConfigFile,
    global: &Global,
    options: Serve,
) -> Result<(), CommandError> {
    file.listen = options.listen.or(file.listen);
    file.metrics_listen = options.metrics_listen.or(file.metrics_listen);
    if options.accept_unsigned {
        file.accept_unsigned = Some(true);
    }
    let settings = settings(file, global)?;
    host::telemetry::init(None, settings.log_json);
    let stop = host::shutdown::signal();
    let oidc = Oidc::open(settings.oidc.clone()).map_err(ConfigError::from)?;
    make_data_folder(&settings)?;
    let lock = FileLock::acquire(
        &settings.data.join("serve.lock"),
        "the hub's data",
        LOCK_TIMEOUT,
    )
    .map_err(|source| CommandError::InUse {
        data: settings.data.clone(),
        source,
    })?;
    let app = App::open(settings.clone(), oidc, stop.clone()).await?;
    first_token(&app, &settings.data).await?;
    repair_copies(&app).await?;
    serve(&app, &settings, options.listen_file.as_deref(), stop).await?;
    app.database.close().await;
    drop(lock);
    tracing::info!("stopped");
    Ok(())
}

async fn serve(
    app: &App,
    settings: &Settings,
    listen_file: Option<&std::path::Path>,
    stop: CancellationToken,
) -> Result<(), CommandError> {
    let limits = Limits {
        connections: settings.most_connections,
        stall_timeout: settings.stall_timeout,
        drain_timeout: settings.drain_timeout,
    };
    let (listener, address) = listen(settings.listen).await?;
    let metrics = match settings.metrics_listen {
        Some(wanted) => {
            let (listener, address) = listen(wanted).await?;
            tracing::info!(%address, "serving metrics");
            Some(server::serve(
                listener,
                app.metrics_router(),
                limits,
                stop.clone(),
            ))
        }
        None => None,
    };
    if let Some(file) = listen_file {
        host::fs::write_atomic(file, format!("{address}\n").as_bytes())?;
    }
    if !address.ip().is_loopback() {
        tracing::warn!(
            "this address is reachable by others: put a proxy that speaks TLS before it"
        );
    }
    tracing::info!(%address, data = %settings.data.display(), version = env!("CARGO_PKG_VERSION"), "serving");
    let main = server::serve(listener, app.router(), limits, stop);
    tokio::join!(main, async {
        if let Some(metrics) = metrics {
            metrics.await;
        }
    });
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), CommandError> {
    let failed = |source| CommandError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Makes an admin token where there is none of any kind, so that a new hub can be used with no other step.
async fn first_token(app: &App, data: &std::path::Path) -> Result<(), CommandError> {
    if app
        .database
        .tokens()
        .await?
        .iter()
        .any(|token| token.revoked_at.is_none())
    {
        return Ok(());
    }
    let owner: Owner = "admin".parse()?;
    let new = NewToken {
        owner,
        scope: Scope::Admin,
        expires_at: None,
    };
    let (row, token) = app.database.create_token(&new, "the first start").await?;
    let file = data.join("admin-token");
    let written = host::fs::write_atomic_private(&file, format!("{token}\n").as_bytes());
    if written.is_err() {
        // A token that nobody has seen must not be the reason that none is made next time.
        app.database.revoke_token(&row.id).await?;
    }
    written?;
    tracing::info!(file = %file.display(), "made an admin token");
    Ok(())
}

/// Writes the copies for static servers anew: a crash may have come between the database and the object.
async fn repair_copies(app: &App) -> Result<(), CommandError> {
    for row in app.database.environments(std::iter::empty(), true).await? {
        if let Some(signed) = app.database.live(&row.name).await? {
            repair(app, &layout::live(&row.name), &signed).await?;
        }
    }
    for (owner, signed) in app.database.all_revocations().await? {
        repair(app, &layout::revocations(&owner), &signed).await?;
    }
    Ok(())
}

async fn repair(app: &App, location: &Path, signed: &Signed) -> Result<(), CommandError> {
    let text = serde_json::to_vec(signed).map_err(std::io::Error::other)?;
    if app.storage.get(location).await?.as_deref() != Some(&text[..]) {
        tracing::info!(%location, "wrote a copy for static servers anew");
        app.storage.put(location, text).await?;
    }
    Ok(())
}
