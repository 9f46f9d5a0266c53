//! Documents that generations name by digest.

use api::hub::document::LARGEST_DOCUMENT;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::IntoResponse;
use env_spec::Digest;

use super::environment_name;
use crate::app::App;
use crate::auth::Caller;
use crate::body::Pieces;
use crate::error::HubError;
use crate::owner::Owner;
use crate::storage::layout;

/// Returns one. Its owner sees it before the first generation names it.
pub(crate) async fn get(
    State(app): State<App>,
    Path((owner, name, digest)): Path<(String, String, String)>,
    caller: Caller,
) -> Result<impl IntoResponse, HubError> {
    let name = environment_name(&owner, &name)?;
    let digest = read_digest(&digest)?;
    if !caller.may_read(&Owner::from(&name)) {
        caller.environment(&app, &name).await?;
    }
    let found = app.storage.get(&layout::document(&name, digest)).await?;
    let found = found.ok_or_else(|| caller.not_found(&format!("document {digest} of {name}")))?;
    let kind = "application/octet-stream".to_owned();
    Ok((
        [(CONTENT_TYPE, kind), (ETAG, format!("\"{digest}\""))],
        found,
    ))
}

/// Stores one under its digest.
pub(crate) async fn put(
    State(app): State<App>,
    Path((owner, name, digest)): Path<(String, String, String)>,
    caller: Caller,
    body: Body,
) -> Result<StatusCode, HubError> {
    let name = environment_name(&owner, &name)?;
    let digest = read_digest(&digest)?;
    caller.require_push(&Owner::from(&name))?;
    let receiving = app.turn_to_receive().await;
    let limit = LARGEST_DOCUMENT as u64;
    let bytes = Pieces::new(body, "the document", limit, app.settings.stall_timeout)
        .collect()
        .await?;
    // The bytes stay in memory until they are stored, whoever still waits for it.
    let work = move || (Digest::of(&bytes), bytes, receiving);
    let (actual, bytes, _receiving) = tokio::task::spawn_blocking(work).await?;
    if actual != digest {
        return Err(HubError::HashMismatch {
            what: "the document".to_owned(),
            actual: format!("digest {actual}"),
            claimed: digest.to_string(),
        });
    }
    app.storage
        .put(&layout::document(&name, digest), bytes)
        .await?;
    Ok(StatusCode::CREATED)
}

fn read_digest(text: &str) -> Result<Digest, HubError> {
    text.parse()
        .map_err(|error: env_spec::DigestError| HubError::BadRequest(error.to_string()))
}
