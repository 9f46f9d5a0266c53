//! The live pointer: which generation a name means.

use std::time::Duration;

use api::hub::live::LONGEST_WAIT;
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use env_spec::generation::LivePointer;
use env_spec::{EnvironmentName, Signed};
use serde::Deserialize;
use tokio::time::Instant;

use super::{LARGEST_SMALL, environment_name, read_record, require_same, require_signature};
use crate::app::App;
use crate::auth::Caller;
use crate::body::Pieces;
use crate::error::HubError;
use crate::owner::Owner;
use crate::storage::layout;

/// How to ask for the pointer.
#[derive(Debug, Deserialize)]
pub(crate) struct Question {
    /// The highest sequence that the asker knows.
    after: Option<u64>,
    /// How many seconds to wait for a higher one.
    wait: Option<u64>,
}

/// Returns the pointer; or, for who knows one already, the first one after it, as soon as there is one.
pub(crate) async fn get(
    State(app): State<App>,
    Path((owner, name)): Path<(String, String)>,
    question: Result<Query<Question>, QueryRejection>,
    caller: Caller,
) -> Result<Response, HubError> {
    let name = environment_name(&owner, &name)?;
    let Query(question) = question.map_err(|error| HubError::BadRequest(error.body_text()))?;
    let wait = question.wait.unwrap_or(0);
    if wait > LONGEST_WAIT.as_secs() {
        let most = LONGEST_WAIT.as_secs();
        let text = format!("wait is {wait} seconds; the most allowed is {most}");
        return Err(HubError::BadRequest(text));
    }
    let Some(after) = question.after else {
        if wait > 0 {
            let text = "wait needs after: the sequence that is known already";
            return Err(HubError::BadRequest(text.to_owned()));
        }
        caller.environment(&app, &name).await?;
        let live = app.database.live(&name).await?;
        return live
            .map(|live| Json(live).into_response())
            .ok_or_else(|| caller.not_found(&format!("live generation of {name}")));
    };
    let until = Instant::now() + Duration::from_secs(wait);
    // It hears of moves before the hub looks, so that none is missed in between.
    let mut waiter = app.waiting.waiter(&name);
    loop {
        // Meanwhile it may have become private.
        let environment = caller.environment(&app, &name).await?;
        if environment.sequence > after
            && let Some(live) = app.database.live(&name).await?
        {
            return Ok(Json(live).into_response());
        }
        if wait == 0 || !waiter.wait(until).await? {
            return Ok(StatusCode::NOT_MODIFIED.into_response());
        }
    }
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
    app.waiting.moved(&name);
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
