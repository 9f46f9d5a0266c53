//! `GET …/history`.

use api::hub::history::History;
use axum::Json;
use axum::extract::{Path, State};

use super::environment_name;
use crate::app::App;
use crate::auth::Caller;
use crate::error::HubError;

/// Returns all generations and all moves of the live pointer.
pub(crate) async fn get(
    State(app): State<App>,
    Path((owner, name)): Path<(String, String)>,
    caller: Caller,
) -> Result<Json<History>, HubError> {
    let name = environment_name(&owner, &name)?;
    caller.environment(&app, &name).await?;
    Ok(Json(History {
        generations: app.database.generations(&name).await?,
        pointers: app.database.pointers(&name).await?,
    }))
}
