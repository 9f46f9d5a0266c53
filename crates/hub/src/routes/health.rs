//! Whether the hub lives, whether it can serve, and what it has counted.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::app::App;
use crate::error::HubError;
use crate::owner::Owner;
use crate::storage::layout;

/// Says that the process lives.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Says that database and object store answer.
pub(crate) async fn readyz(State(app): State<App>) -> Result<&'static str, HubError> {
    app.database.check().await?;
    let anyone: Owner = "nobody".parse()?;
    app.storage.has(&layout::cache_info(&anyone)).await?;
    Ok("ready\n")
}

/// Returns the counters.
pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (
        [(CONTENT_TYPE, kind)],
        app.metrics.page(app.waiting.under_way()),
    )
}
