//! `GET /v1/info`.

use api::hub::info::Info;
use axum::Json;

use crate::auth::Caller;

/// Says what this hub is, and whose the token is.
pub(crate) async fn get(caller: Caller) -> Json<Info> {
    Json(Info {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        owner: caller.owner(),
    })
}
