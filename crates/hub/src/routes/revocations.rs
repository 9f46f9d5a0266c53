//! Revocation lists: which of an owner's generations must not run any more.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use env_spec::Signed;
use env_spec::generation::RevocationList;
use env_spec::revocation::{LONGEST_REASON, MOST_REVOKED};

use super::{read_record, require_signature};
use crate::app::App;
use crate::auth::Caller;
use crate::body::Pieces;
use crate::error::HubError;
use crate::owner::Owner;
use crate::storage::layout;

/// The longest list with its signatures; in JSON within JSON a quote takes four bytes.
const LARGEST: u64 = (MOST_REVOKED * (4 * LONGEST_REASON + 100)) as u64 + (64 << 10);

/// Returns an owner's list, to everybody: a node must know what is revoked also where it has no token. An owner who never
/// revoked anything and one who does not exist look the same.
pub(crate) async fn get(
    State(app): State<App>,
    Path(owner): Path<String>,
    _caller: Caller,
) -> Result<Json<Signed>, HubError> {
    let owner: Owner = owner.parse()?;
    let list = app.database.revocations(&owner).await?;
    list.map(Json).ok_or_else(|| HubError::NotFound {
        what: format!("this hub has no revocation list of {owner}"),
    })
}

/// Puts an owner's next list. The same again changes nothing, so a client whose answer was lost may repeat.
pub(crate) async fn put(
    State(app): State<App>,
    Path(owner): Path<String>,
    caller: Caller,
    body: Body,
) -> Result<StatusCode, HubError> {
    let owner: Owner = owner.parse()?;
    let actor = caller.require_push(&owner)?;
    let _receiving = app.turn_to_receive().await;
    let stall = app.settings.stall_timeout;
    let signed: Signed = Pieces::new(body, "the revocation list", LARGEST, stall)
        .json()
        .await?;
    let next: RevocationList = read_record(&signed)?;
    next.check(owner.as_str())
        .map_err(|error| HubError::BadRequest(error.to_string()))?;
    require_signature(&app, &signed, &format!("the revocation list of {owner}"))?;

    let mut writing = app.database.write().await?;
    let present = app.database.revocations(&owner).await?;
    if let Some(present) = present.filter(|present| present.record == signed.record) {
        write_copy(&app, &owner, &present).await?;
        return Ok(StatusCode::OK);
    }
    let present = app.database.revocation_list(&owner).await?;
    let present = present.unwrap_or_else(|| RevocationList::before_the_first(owner.as_str()));
    if next.sequence != present.sequence + 1 {
        return Err(HubError::RevocationsChanged {
            owner: owner.to_string(),
            present: present.sequence,
            given: next.sequence,
        });
    }
    let text = serde_json::to_string(&signed).map_err(|source| HubError::BadBody { source })?;
    writing
        .put_revocations(&owner, &present, &next, &text, &actor)
        .await?;
    let turn = writing.commit().await?;
    let (sequence, count) = (next.sequence, next.revoked.len());
    tracing::info!(%owner, sequence, count, actor, "revocation list changed");
    write_copy(&app, &owner, &signed).await?;
    drop(turn);
    Ok(StatusCode::NO_CONTENT)
}

/// Writes the copy for static servers, after the commit and in its turn, as for live pointers.
async fn write_copy(app: &App, owner: &Owner, signed: &Signed) -> Result<(), HubError> {
    let text = serde_json::to_vec(signed).map_err(|source| HubError::BadBody { source })?;
    app.storage.put(&layout::revocations(owner), text).await
}
