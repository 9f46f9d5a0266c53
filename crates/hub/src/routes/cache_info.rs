//! `nix-cache-info`: what every owner's cache says of itself.

use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use nix_data::{CacheInfo, STORE_DIR};

use crate::auth::Caller;
use crate::error::HubError;
use crate::owner::Owner;

/// The kind that Nix gives the file.
const KIND: &str = "text/x-nix-cache-info";

/// Returns the file. It is the same for owners that do not exist, so it tells nobody who does.
pub(crate) async fn get(
    Path(owner): Path<String>,
    _caller: Caller,
) -> Result<impl IntoResponse, HubError> {
    owner.parse::<Owner>()?;
    Ok(([(CONTENT_TYPE, KIND)], text()))
}

/// Returns the file's text. Nix asks caches of lower priority first: this one before the public cache's 40.
pub(crate) fn text() -> String {
    let info = CacheInfo {
        store_dir: STORE_DIR.to_owned(),
        want_mass_query: true,
        priority: Some(30),
    };
    info.to_string()
}
