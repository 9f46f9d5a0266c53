//! `<hash>.narinfo` and `<hash>.ls`: which store paths a cache has. None is taken that is not true in every part.

use std::sync::PoisonError;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use nix_data::nar::Listing;
use nix_data::{Compression, NarInfo, StorePath};

use crate::app::App;
use crate::auth::Caller;
use crate::body::Pieces;
use crate::db::PathRow;
use crate::error::HubError;
use crate::owner::Owner;
use crate::storage::{Inspected, layout};
use crate::turn;

/// More than the largest narinfo that is read.
const LARGEST_NARINFO: u64 = 2 << 20;

/// A listing of some hundred thousand files.
const LARGEST_LISTING: u64 = 64 << 20;

/// The most signatures that are kept of one path.
const MOST_SIGNATURES: usize = 50;

/// A file that lies directly in a cache.
enum File {
    Narinfo(String),
    Listing(String),
}

impl File {
    /// Only what is made of a valid hash part is a name; all else does not exist.
    fn parse(name: &str) -> Option<Self> {
        let (hash_part, kind) = name.split_once('.')?;
        let is_valid = hash_part.len() == 32 && hash_part.bytes().all(nix_data::base32::is_digit);
        match kind {
            "narinfo" if is_valid => Some(Self::Narinfo(hash_part.to_owned())),
            "ls" if is_valid => Some(Self::Listing(hash_part.to_owned())),
            _ => None,
        }
    }
}

/// Returns a narinfo or a listing.
pub(crate) async fn get(
    State(app): State<App>,
    Path((owner, file)): Path<(String, String)>,
    caller: Caller,
) -> Result<Response, HubError> {
    let owner: Owner = owner.parse()?;
    let shown: String = file.chars().take(100).collect();
    let absent = || caller.not_found(&format!("file {shown} in the cache of {owner}"));
    let (hash_part, location, kind) = match File::parse(&file).ok_or_else(absent)? {
        File::Narinfo(part) => {
            let location = layout::narinfo(&owner, &part);
            (part, location, "text/x-nix-narinfo")
        }
        File::Listing(part) => {
            let location = layout::listing(&owner, &part);
            (part, location, "application/json")
        }
    };
    let found = app.database.path(&owner, &hash_part).await?;
    found
        .filter(|(_, is_public)| *is_public || caller.may_read(&owner))
        .ok_or_else(absent)?;
    let bytes = app.storage.get(&location).await?.ok_or_else(absent)?;
    if kind == "text/x-nix-narinfo" {
        app.metrics.narinfo_served.inc();
    }
    Ok(([(CONTENT_TYPE, kind)], bytes).into_response())
}

/// Takes a narinfo whose NAR is there. Listings are checked and then made by the hub itself.
pub(crate) async fn put(
    State(app): State<App>,
    Path((owner, file)): Path<(String, String)>,
    caller: Caller,
    body: Body,
) -> Result<StatusCode, HubError> {
    let owner: Owner = owner.parse()?;
    let actor = caller.require_push(&owner)?;
    let stall = app.settings.stall_timeout;
    let hash_part = match File::parse(&file) {
        Some(File::Narinfo(hash_part)) => hash_part,
        Some(File::Listing(_)) => {
            let receiving = app.turn_to_receive().await;
            let text = Pieces::new(body, "the listing", LARGEST_LISTING, stall)
                .collect()
                .await?;
            let turns = (receiving, app.turn_to_read().await);
            let checked = turn::work(turns, move || Listing::from_json(&text).map(drop)).await?;
            checked.map_err(|error| HubError::BadRequest(format!("no valid listing: {error}")))?;
            return Ok(StatusCode::NO_CONTENT);
        }
        None => {
            let shown: String = file.chars().take(100).collect();
            return Err(HubError::BadRequest(format!(
                "{shown:?} is no file of a binary cache: <hash>.narinfo, <hash>.ls and nar/<file> are"
            )));
        }
    };
    let text = Pieces::new(body, "the narinfo", LARGEST_NARINFO, stall)
        .collect()
        .await?;
    let text = std::str::from_utf8(&text)
        .map_err(|_| HubError::BadRequest("the narinfo is not UTF-8".to_owned()))?;
    let narinfo = NarInfo::parse(text)?;
    let nar_file = check_form(&narinfo, &hash_part)?;
    let limit = app.settings.largest_unpacked;
    if narinfo.nar_size > limit {
        let what = "the unpacked NAR that the narinfo claims";
        return Err(HubError::TooLarge { what, limit });
    }
    if let Some((present, _)) = app.database.path(&owner, &hash_part).await? {
        return merge(&app, &owner, &present, &narinfo).await;
    }
    add(&app, &owner, narinfo, nar_file, &actor).await
}

/// Checks what can be seen in the narinfo alone, and returns the NAR file's name.
fn check_form(narinfo: &NarInfo, hash_part: &str) -> Result<String, HubError> {
    let path = &narinfo.store_path;
    let wrong = |text: String| Err(HubError::BadRequest(text));
    if path.hash_part() != hash_part {
        return wrong(format!(
            "the narinfo of {path} was sent as {hash_part}.narinfo"
        ));
    }
    if narinfo.compression == Compression::Bzip2 {
        let refused = crate::storage::InspectError::Compression(narinfo.compression);
        return Err(HubError::Nar(refused));
    }
    let Some(file_hash) = &narinfo.file_hash else {
        return wrong(format!("the narinfo of {path} has no FileHash"));
    };
    let file = format!(
        "{}{}",
        file_hash.digest_nix32(),
        narinfo.compression.extension()
    );
    if narinfo.url != format!("nar/{file}") {
        return wrong(format!(
            "the narinfo of {path} has URL {}, not nar/{file}",
            narinfo.url
        ));
    }
    if narinfo.ca.is_some() && !narinfo.is_content_addressed() {
        return wrong(format!(
            "the narinfo of {path} has a CA that gives another path"
        ));
    }
    if narinfo.signatures.len() > MOST_SIGNATURES {
        return wrong(format!(
            "the narinfo of {path} has more than {MOST_SIGNATURES} signatures"
        ));
    }
    Ok(file)
}

/// Adds a new path, once all that its narinfo says was found true.
async fn add(
    app: &App,
    owner: &Owner,
    narinfo: NarInfo,
    file: String,
    actor: &str,
) -> Result<StatusCode, HubError> {
    let path = narinfo.store_path.clone();
    let nar = app.database.nar(owner, &file).await?;
    let nar = nar.ok_or_else(|| HubError::Incomplete {
        subject: format!("the narinfo of {path}"),
        lacking: format!("nar/{file}"),
    })?;
    if narinfo.file_size.is_some_and(|size| size != nar.file_size) {
        let claimed = narinfo.file_size.unwrap_or_default();
        return Err(HubError::HashMismatch {
            what: format!("nar/{file}"),
            actual: format!("{} bytes", nar.file_size),
            claimed: format!("{claimed} bytes"),
        });
    }
    require_references(app, owner, &narinfo).await?;
    let inspected = inspect(app, owner, &narinfo, &file).await?;
    let narinfo = NarInfo {
        file_size: Some(nar.file_size),
        ..narinfo
    };
    make_cache_info(app, owner).await?;

    let mut writing = app.database.write().await?;
    if let Some(present) = writing.path(owner, path.hash_part()).await? {
        // Somebody else sent the same path meanwhile.
        drop(writing);
        return merge(app, owner, &present, &narinfo).await;
    }
    let row = PathRow {
        store_path: path.clone(),
        nar_hash: narinfo.nar_hash.clone(),
        nar_size: narinfo.nar_size,
        file,
        file_size: nar.file_size,
    };
    if let Some(listing) = inspected.listing {
        app.storage
            .put(&layout::listing(owner, path.hash_part()), listing)
            .await?;
    }
    app.storage
        .put(
            &layout::narinfo(owner, path.hash_part()),
            narinfo.to_string(),
        )
        .await?;
    writing.add_path(owner, &row, actor).await?;
    writing.commit().await?;
    app.metrics.paths_added.inc();
    tracing::debug!(%owner, store_path = %path, "path added");
    Ok(StatusCode::CREATED)
}

/// Nothing may be advertised whose references are missing.
async fn require_references(app: &App, owner: &Owner, narinfo: &NarInfo) -> Result<(), HubError> {
    let path = &narinfo.store_path;
    let others: Vec<&StorePath> = narinfo
        .references
        .iter()
        .filter(|one| *one != path)
        .collect();
    let parts: Vec<&str> = others.iter().map(|one| one.hash_part()).collect();
    let present = app.database.paths(owner, &parts).await?;
    let has = |one: &StorePath| {
        present
            .get(one.hash_part())
            .is_some_and(|row| row.store_path == *one)
    };
    match others.into_iter().find(|one| !has(one)) {
        None => Ok(()),
        Some(missing) => Err(HubError::Incomplete {
            subject: format!("the narinfo of {path}"),
            lacking: format!("its reference {missing}"),
        }),
    }
}

/// Reads the NAR and compares it with what the narinfo says.
async fn inspect(
    app: &App,
    owner: &Owner,
    narinfo: &NarInfo,
    file: &str,
) -> Result<Inspected, HubError> {
    let turn = app.turn_to_read().await;
    let location = layout::nar(owner, file);
    let found = app
        .storage
        .inspect(&location, narinfo.compression, narinfo.nar_size, turn)
        .await?;
    if found.nar_hash == narinfo.nar_hash && found.nar_size == narinfo.nar_size {
        return Ok(found);
    }
    Err(HubError::HashMismatch {
        what: format!("the NAR of {}", narinfo.store_path),
        actual: format!(
            "NAR hash {} and {} bytes",
            found.nar_hash.to_nix32(),
            found.nar_size
        ),
        claimed: format!(
            "{} with {} bytes",
            narinfo.nar_hash.to_nix32(),
            narinfo.nar_size
        ),
    })
}

/// Takes over the signatures of a path that is there, if all that they cover is the same; keeps what it has otherwise.
async fn merge(
    app: &App,
    owner: &Owner,
    present: &PathRow,
    sent: &NarInfo,
) -> Result<StatusCode, HubError> {
    let path = &sent.store_path;
    let conflict = |differs, present: String, given: String| {
        Err(HubError::Conflict {
            path: path.clone(),
            differs,
            present,
            given,
        })
    };
    if present.store_path != *path {
        return conflict(
            "another name",
            present.store_path.to_string(),
            path.to_string(),
        );
    }
    if present.nar_hash != sent.nar_hash {
        return conflict(
            "another NAR hash",
            present.nar_hash.to_nix32(),
            sent.nar_hash.to_nix32(),
        );
    }
    // Two clients may add signatures at once: the writers' turn keeps both.
    let writing = app.database.write().await?;
    let location = layout::narinfo(owner, path.hash_part());
    let text = app.storage.get(&location).await?;
    let text = text.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    let stored = text.as_deref().and_then(|text| NarInfo::parse(text).ok());
    let mut stored =
        stored.ok_or_else(|| HubError::Damaged(format!("{location} cannot be read")))?;
    if stored.fingerprint() != sent.fingerprint() {
        return conflict(
            "another size or other references",
            stored.fingerprint(),
            sent.fingerprint(),
        );
    }
    let before = stored.signatures.len();
    for signature in &sent.signatures {
        if stored.signatures.len() < MOST_SIGNATURES && !stored.signatures.contains(signature) {
            stored.signatures.push(signature.clone());
        }
    }
    if stored.signatures.len() > before {
        app.storage.put(&location, stored.to_string()).await?;
    }
    drop(writing);
    Ok(StatusCode::OK)
}

/// Puts `nix-cache-info` beside an owner's first path, for static servers.
async fn make_cache_info(app: &App, owner: &Owner) -> Result<(), HubError> {
    let known = |owners: &mut std::collections::HashSet<Owner>| !owners.insert(owner.clone());
    if known(
        &mut app
            .known_owners
            .lock()
            .unwrap_or_else(PoisonError::into_inner),
    ) {
        return Ok(());
    }
    let location = layout::cache_info(owner);
    if !app.storage.has(&location).await? {
        app.storage
            .put(&location, super::cache_info::text())
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_a_cache_have_names() {
        let hash = "0".repeat(32);
        assert!(matches!(
            File::parse(&format!("{hash}.narinfo")),
            Some(File::Narinfo(_))
        ));
        assert!(matches!(
            File::parse(&format!("{hash}.ls")),
            Some(File::Listing(_))
        ));
        for name in [
            "",
            ".narinfo",
            "../x.narinfo",
            "nix-cache-info",
            "e.narinfo",
            "x",
        ] {
            assert!(File::parse(name).is_none(), "{name}");
            assert!(
                File::parse(&format!("{hash}{name}x.narinfo")).is_none(),
                "{name}"
            );
        }
    }
}
