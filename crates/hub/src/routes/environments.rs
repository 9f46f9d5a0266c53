//! Environments: which there are, and who may see them.

use api::hub::environment::{Environment, EnvironmentList, PutEnvironment};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};

use super::{LARGEST_SMALL, environment_name};
use crate::app::App;
use crate::auth::Caller;
use crate::body::Pieces;
use crate::error::HubError;

/// Lists what the caller may see.
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
) -> Result<Json<EnvironmentList>, HubError> {
    let rows = app
        .database
        .environments(caller.owners(), caller.is_admin())
        .await?;
    let environments = rows
        .into_iter()
        .map(crate::db::EnvironmentRow::into_wire)
        .collect();
    Ok(Json(EnvironmentList { environments }))
}

/// Returns one.
pub(crate) async fn get(
    State(app): State<App>,
    Path((owner, name)): Path<(String, String)>,
    caller: Caller,
) -> Result<Json<Environment>, HubError> {
    let name = environment_name(&owner, &name)?;
    Ok(Json(caller.environment(&app, &name).await?.into_wire()))
}

/// Makes one, or changes who may see it.
pub(crate) async fn put(
    State(app): State<App>,
    Path((owner, name)): Path<(String, String)>,
    caller: Caller,
    body: Body,
) -> Result<Json<Environment>, HubError> {
    let name = environment_name(&owner, &name)?;
    let actor = caller.require_push(&(&name).into())?;
    let stall = app.settings.stall_timeout;
    let wanted: PutEnvironment = Pieces::new(body, "the request", LARGEST_SMALL, stall)
        .json()
        .await?;
    let mut writing = app.database.write().await?;
    let mut row = writing.environment_or_new(&name, &actor).await?;
    if row.visibility != wanted.visibility {
        writing
            .set_visibility(&name, wanted.visibility, &actor)
            .await?;
        row.visibility = wanted.visibility;
    }
    writing.commit().await?;
    tracing::info!(environment = %name, visibility = ?row.visibility, actor, "environment set");
    Ok(Json(row.into_wire()))
}
