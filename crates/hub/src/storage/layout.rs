//! Where everything lies in the object store: a tree that any static HTTP server could serve.

use env_spec::{Digest, EnvironmentName};
use object_store::path::Path;

use crate::owner::Owner;

/// All parts are checked names, so that no object's path can lead elsewhere.
fn path(text: &str) -> Path {
    Path::parse(text).expect("checked names make a valid path")
}

/// Returns where a cache's `nix-cache-info` is.
pub(crate) fn cache_info(owner: &Owner) -> Path {
    path(&format!("cache/{owner}/nix-cache-info"))
}

/// Returns where a narinfo is.
pub(crate) fn narinfo(owner: &Owner, hash_part: &str) -> Path {
    path(&format!("cache/{owner}/{hash_part}.narinfo"))
}

/// Returns where a listing is.
pub(crate) fn listing(owner: &Owner, hash_part: &str) -> Path {
    path(&format!("cache/{owner}/{hash_part}.ls"))
}

/// Returns where a NAR file is.
pub(crate) fn nar(owner: &Owner, file: &str) -> Path {
    path(&format!("cache/{owner}/nar/{file}"))
}

/// Returns where a generation's signed record is.
pub(crate) fn generation(name: &EnvironmentName, number: u64) -> Path {
    path(&format!("environments/{name}/generations/{number}.json"))
}

/// Returns where the copy of the live pointer is.
pub(crate) fn live(name: &EnvironmentName) -> Path {
    path(&format!("environments/{name}/live.json"))
}

/// Returns where the copy of an owner's revocation list is.
pub(crate) fn revocations(owner: &Owner) -> Path {
    path(&format!("owners/{owner}/revocations.json"))
}

/// Returns where a document is.
pub(crate) fn document(name: &EnvironmentName, digest: Digest) -> Path {
    path(&format!("environments/{name}/documents/{}", digest.hex()))
}
