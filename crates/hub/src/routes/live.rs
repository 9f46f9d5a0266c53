//! The live pointer: which generation a name means.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use env_spec::generation::LivePointer;
use env_spec::{EnvironmentName, Signed};

use super::{LARGEST_SMALL, environment_name, read_record, require_same, require_signature};
use crate::app::App;
use crate::auth::Caller;
use crate::body::Pieces;
use crate::error::HubError;
use crate::owner::Owner;
use crate::storage::layout;

/// Returns the pointer.
pub(crate) async fn get(
    State(app): State<App>,
    Path((owner, name)): Path<(String, String)>,
    caller: Caller,
) -> Result<Json<Signed>, HubError> {
    let name = environment_name(&owner, &name)?;
    caller.environment(&app, &name).await?;
    let live = app.database.live(&name).await?;
    live.map(Json)
        .ok_or_else(|| caller.not_found(&format!("live generation of {name}")))
}

/// Moves the pointer. The same move again changes nothing, so a client whose answer was lost may repeat.
pub(crate) async fn put(
    State(app): State<App>,
    Path((owner, name)): Path<(String, String)>,
    caller: Caller,
    body: Body,
) -> Result<StatusCode, HubError> {
    let name = environment_name(&owner, &name)?;
    let actor = caller.require_push(&(&name).into())?;
    let stall = app.settings.stall_timeout;
    let signed: Signed = Pieces::new(body, "the pointer", LARGEST_SMALL, stall)
        .json()
        .await?;
    let pointer: LivePointer = read_record(&signed)?;
    require_same(&pointer.environment, &name)?;
    let subject = format!("the live pointer of {name}");
    require_signature(&app, &signed, &subject)?;

    let mut writing = app.database.write().await?;
    let present = app
        .database
        .environment(&name)
        .await?
        .map_or(0, |row| row.sequence);
    if pointer.sequence != present + 1 {
        let live = app.database.live(&name).await?;
        if let Some(live) = live.filter(|live| live.record == signed.record) {
            write_copy(&app, &name, &live).await?;
            return Ok(StatusCode::OK);
        }
        let given = pointer.sequence;
        return Err(HubError::PointerMoved {
            environment: name,
            present,
            given,
        });
    }
    if app
        .database
        .generation_number(&name, pointer.digest)
        .await?
        != Some(pointer.number)
    {
        let lacking = format!(
            "generation {} with digest {}",
            pointer.number, pointer.digest
        );
        return Err(HubError::Incomplete { subject, lacking });
    }
    require_not_revoked(&app, &pointer).await?;
    let text = serde_json::to_string(&signed).map_err(|source| HubError::BadBody { source })?;
    writing.move_pointer(&pointer, &text, &actor).await?;
    let turn = writing.commit().await?;
    let (number, sequence) = (pointer.number, pointer.sequence);
    tracing::info!(environment = %name, number, sequence, actor, "live pointer moved");
    write_copy(&app, &name, &signed).await?;
    drop(turn);
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses to make live what its owner revoked.
async fn require_not_revoked(app: &App, pointer: &LivePointer) -> Result<(), HubError> {
    let owner = Owner::from(&pointer.environment);
    let list = app.database.revocation_list(&owner).await?;
    match list.as_ref().and_then(|list| list.reason(pointer.digest)) {
        Some(reason) => Err(HubError::Revoked {
            generation: format!("{}:{}", pointer.environment, pointer.number),
            reason: reason.to_owned(),
        }),
        None => Ok(()),
    }
}

/// Writes the copy for static servers. It comes after the commit: were it first, a crash could let it run ahead of the
/// hub, and who had seen its sequence would refuse the hub's. The turn to write keeps copies in order.
async fn write_copy(app: &App, name: &EnvironmentName, signed: &Signed) -> Result<(), HubError> {
    let text = serde_json::to_vec(signed).map_err(|source| HubError::BadBody { source })?;
    app.storage.put(&layout::live(name), text).await
}
