//! `POST /v1/owners/{owner}/missing`: what a push still has to upload.

use api::hub::missing::{MissingRequest, MissingResponse};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use env_spec::generation::MOST_PATHS;

use crate::app::App;
use crate::auth::Caller;
use crate::body::Pieces;
use crate::error::HubError;
use crate::owner::Owner;

/// The most paths with the longest names, as JSON.
const LARGEST: u64 = (MOST_PATHS as u64) * 512;

/// Returns which of the paths are missing or have other bytes.
pub(crate) async fn post(
    State(app): State<App>,
    Path(owner): Path<String>,
    caller: Caller,
    body: Body,
) -> Result<Json<MissingResponse>, HubError> {
    let owner: Owner = owner.parse()?;
    caller.require_read(&owner)?;
    let pieces = Pieces::new(
        body,
        "the list of paths",
        LARGEST,
        app.settings.stall_timeout,
    );
    let question: MissingRequest = pieces.json().await?;
    if question.paths.len() > MOST_PATHS {
        let count = question.paths.len();
        let text = format!("{count} paths at once; the most allowed is {MOST_PATHS}");
        return Err(HubError::BadRequest(text));
    }
    let parts: Vec<&str> = question
        .paths
        .iter()
        .map(|one| one.path.hash_part())
        .collect();
    let present = app.database.paths(&owner, &parts).await?;
    let mut answer = MissingResponse {
        missing: Vec::new(),
        different: Vec::new(),
    };
    for wanted in &question.paths {
        match present.get(wanted.path.hash_part()) {
            None => answer.missing.push(wanted.path.clone()),
            Some(found) if found.store_path != wanted.path || found.nar_hash != wanted.nar_hash => {
                answer.different.push(wanted.path.clone());
            }
            Some(_) => {}
        }
    }
    Ok(Json(answer))
}
