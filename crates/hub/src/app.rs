//! The application: what all requests share, and which address leads where.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::body::Leftover;
use crate::config::Settings;
use crate::db::Database;
use crate::error::HubError;
use crate::metrics::Metrics;
use crate::oidc::Oidc;
use crate::owner::Owner;
use crate::routes;
use crate::storage::Storage;
use crate::waiting::Waiting;

/// NAR files, listings and records that are read through at the same time: each costs a core, and memory for a listing.
const READ_AT_ONCE: usize = 4;

/// Records, documents and listings that are received at the same time: each may cost 64 MiB of memory, for as long as it is sent.
const RECEIVED_AT_ONCE: usize = 16;

/// What all requests share.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// Names, access and history.
    pub(crate) database: Database,
    /// All bytes.
    pub(crate) storage: Storage,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// What the hub does.
    pub(crate) settings: Arc<Settings>,
    /// Turns for reading NAR files, listings and records through.
    pub(crate) reading: Arc<Semaphore>,
    /// Who else may issue tokens.
    pub(crate) oidc: Oidc,
    /// Who waits for a live pointer to move.
    pub(crate) waiting: Waiting,
    /// Turns for receiving records, documents and listings.
    pub(crate) receiving: Arc<Semaphore>,
    /// Owners whose cache has its `nix-cache-info` object.
    pub(crate) known_owners: Arc<Mutex<HashSet<Owner>>>,
}

impl App {
    /// Opens database and object store. Once it is told to stop, nothing waits any more.
    ///
    /// # Errors
    /// Fails when either cannot be opened.
    pub(crate) async fn open(
        settings: Settings,
        oidc: Oidc,
        stop: CancellationToken,
    ) -> Result<Self, HubError> {
        let storage = Storage::local(&settings.objects())?;
        let database = Database::open(&settings.database()).await?;
        Ok(Self {
            database,
            storage,
            metrics: Arc::default(),
            oidc,
            waiting: Waiting::new(settings.most_connections, stop),
            settings: Arc::new(settings),
            reading: Arc::new(Semaphore::new(READ_AT_ONCE)),
            receiving: Arc::new(Semaphore::new(RECEIVED_AT_ONCE)),
            known_owners: Arc::default(),
        })
    }

    /// Waits for a turn to read a NAR file, a listing or a record through.
    pub(crate) async fn turn_to_read(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.reading)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed")
    }

    /// Waits for a turn to receive a record, a document or a listing.
    pub(crate) async fn turn_to_receive(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.receiving)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed")
    }

    /// Returns everything that is served.
    pub(crate) fn router(&self) -> Router {
        let environment = "/v1/environments/{owner}/{name}";
        let below = |rest: &str| format!("{environment}/{rest}");
        let router = Router::new()
            .route(api::hub::info::PATH, get(routes::info::get))
            .route(
                api::hub::environment::LIST_PATH,
                get(routes::environments::list),
            )
            .route(
                environment,
                get(routes::environments::get).put(routes::environments::put),
            )
            .route(&below("generations"), post(routes::generations::post))
            .route(&below("generations/{which}"), get(routes::generations::get))
            .route(
                &below("live"),
                get(routes::live::get).put(routes::live::put),
            )
            .route(&below("history"), get(routes::history::get))
            .route(
                &below("documents/{digest}"),
                get(routes::documents::get).put(routes::documents::put),
            )
            .route("/v1/owners/{owner}/missing", post(routes::missing::post))
            .route(
                "/v1/owners/{owner}/revocations",
                get(routes::revocations::get).put(routes::revocations::put),
            )
            .route(
                "/cache/{owner}/nix-cache-info",
                get(routes::cache_info::get),
            )
            .route(
                "/cache/{owner}/{file}",
                get(routes::narinfo::get).put(routes::narinfo::put),
            )
            .route(
                "/cache/{owner}/nar/{file}",
                get(routes::nar::get).put(routes::nar::put),
            )
            .route("/healthz", get(routes::health::healthz))
            .route("/readyz", get(routes::health::readyz));
        let router = match self.settings.metrics_listen {
            Some(_) => router,
            None => router.route("/metrics", get(routes::health::metrics)),
        };
        self.finish(router)
    }

    /// Returns what is served on the address for metrics, where it is another one.
    pub(crate) fn metrics_router(&self) -> Router {
        self.finish(Router::new().route("/metrics", get(routes::health::metrics)))
    }

    fn finish(&self, router: Router<Self>) -> Router {
        router
            .fallback(unknown_route)
            .method_not_allowed_fallback(method_not_allowed)
            // Each handler bounds its own body, knowing what it is.
            .layer(DefaultBodyLimit::disable())
            .layer(middleware::from_fn_with_state(self.clone(), count))
            .with_state(self.clone())
    }
}

async fn unknown_route(uri: Uri) -> HubError {
    HubError::UnknownRoute {
        path: uri.path().chars().take(200).collect(),
    }
}

async fn method_not_allowed(method: Method) -> HubError {
    HubError::MethodNotAllowed { method }
}

/// Takes one down again when the request ends, however it ends.
struct InFlight(Arc<Metrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}

async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    app.metrics.in_flight.inc();
    let in_flight = InFlight(Arc::clone(&app.metrics));
    let (request, leftover) = Leftover::of(request);
    let response = next.run(request).await;
    let refused = response.status().is_client_error() || response.status().is_server_error();
    // Who has stalled already gets no more patience.
    if refused && response.status() != StatusCode::REQUEST_TIMEOUT {
        leftover.drain().await;
    }
    drop(in_flight);
    let (status, took) = (response.status(), begun.elapsed());
    app.metrics.count(&method, &path, status, took);
    tracing::debug!(%method, path, status = status.as_u16(), ?took, "request");
    response
}
