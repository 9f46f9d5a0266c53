//! `nar/<file>`: the NAR files, stored under the hash of their bytes.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use nix_data::{Compression, Hash, HashingWriter};

use crate::app::App;
use crate::auth::Caller;
use crate::body::Pieces;
use crate::error::HubError;
use crate::owner::Owner;
use crate::storage::{InspectError, Upload, layout};

/// Digits of a SHA-256 in Nix's base 32.
const HASH_LENGTH: usize = 52;

/// Returns a NAR file, or the part of it that was asked for.
pub(crate) async fn get(
    State(app): State<App>,
    Path((owner, file)): Path<(String, String)>,
    caller: Caller,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, HubError> {
    let owner: Owner = owner.parse()?;
    let shown: String = file.chars().take(100).collect();
    let absent = || caller.not_found(&format!("file nar/{shown} in the cache of {owner}"));
    if split(&file).is_none() {
        return Err(absent());
    }
    let row = app.database.nar(&owner, &file).await?;
    let row = row
        .filter(|row| row.is_public || caller.may_read(&owner))
        .ok_or_else(absent)?;
    let tag = format!("\"{file}\"");
    let common = [
        (CONTENT_TYPE, "application/x-nix-nar".to_owned()),
        (ACCEPT_RANGES, "bytes".to_owned()),
        (ETAG, tag.clone()),
        // The name is the hash: the bytes never change. Who may read them can.
        (
            CACHE_CONTROL,
            "private, immutable, max-age=31536000".to_owned(),
        ),
    ];
    if text_of(&headers, &IF_NONE_MATCH).is_some_and(|tags| tags == "*" || tags.contains(&tag)) {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    // A range of another version is a whole one.
    let range = text_of(&headers, &RANGE)
        .filter(|_| text_of(&headers, &IF_RANGE).is_none_or(|one| one == tag));
    let range = match range.map_or(Wanted::All, |text| Wanted::parse(text, row.file_size)) {
        Wanted::All => None,
        Wanted::Part(range) => Some(range),
        Wanted::Outside => {
            let length = [(CONTENT_RANGE, format!("bytes */{}", row.file_size))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, length, common).into_response());
        }
    };
    let length = range
        .as_ref()
        .map_or(row.file_size, |range| range.end - range.start);
    let body = if method == Method::HEAD || length == 0 {
        Body::empty()
    } else {
        let metrics = Arc::clone(&app.metrics);
        let stream = app
            .storage
            .stream(&layout::nar(&owner, &file), range.clone())
            .await?;
        Body::from_stream(stream.inspect(move |piece| {
            if let Ok(piece) = piece {
                metrics.nar_served.inc_by(piece.len() as u64);
            }
        }))
    };
    let length = [(CONTENT_LENGTH, length.to_string())];
    Ok(match range {
        None => (StatusCode::OK, common, length, body).into_response(),
        Some(range) => {
            let text = format!("bytes {}-{}/{}", range.start, range.end - 1, row.file_size);
            (
                StatusCode::PARTIAL_CONTENT,
                common,
                length,
                [(CONTENT_RANGE, text)],
                body,
            )
                .into_response()
        }
    })
}

/// Takes a NAR file. It appears only when all of it has come and its name is its hash.
pub(crate) async fn put(
    State(app): State<App>,
    Path((owner, file)): Path<(String, String)>,
    caller: Caller,
    body: Body,
) -> Result<StatusCode, HubError> {
    let owner: Owner = owner.parse()?;
    let actor = caller.require_push(&owner)?;
    let (claimed, compression) = split(&file).ok_or_else(|| {
        let shown: String = file.chars().take(100).collect();
        HubError::BadRequest(format!(
            "nar/{shown} is no name of a NAR file: <SHA-256 in base 32>.nar, .nar.zst or .nar.xz"
        ))
    })?;
    if compression == Compression::Bzip2 {
        return Err(HubError::Nar(InspectError::Compression(compression)));
    }
    let settings = &app.settings;
    let pieces = Pieces::new(
        body,
        "the NAR file",
        settings.largest_nar,
        settings.stall_timeout,
    );
    let mut upload = app.storage.upload(layout::nar(&owner, &file)).await?;
    let size = match receive(&app, pieces, &mut upload, claimed).await {
        Ok(size) => size,
        Err(error) => {
            upload.abort().await;
            return Err(error);
        }
    };
    upload.finish().await?;
    app.database.add_nar(&owner, &file, size, &actor).await?;
    tracing::debug!(%owner, file, size, "NAR file added");
    Ok(StatusCode::CREATED)
}

/// Writes what comes, and compares its hash.
async fn receive(
    app: &App,
    mut pieces: Pieces,
    upload: &mut Upload,
    claimed: Hash,
) -> Result<u64, HubError> {
    use std::io::Write as _;

    let mut hasher = HashingWriter::new(std::io::sink());
    while let Some(piece) = pieces.next().await? {
        // A piece is what one read of the socket gave: hashing it takes less than handing it to another thread.
        hasher.write_all(&piece).expect("a sink takes every write");
        app.metrics.nar_received.inc_by(piece.len() as u64);
        upload.write(piece).await?;
    }
    let (actual, size, _) = hasher.finish();
    if actual == claimed {
        return Ok(size);
    }
    Err(HubError::HashMismatch {
        what: format!("the NAR file of {size} bytes"),
        actual: format!("hash {}", actual.digest_nix32()),
        claimed: claimed.digest_nix32(),
    })
}

/// Splits a file's name into hash and compression. Everything else is no name, so none can lead elsewhere.
fn split(file: &str) -> Option<(Hash, Compression)> {
    let (hash, extension) = file.split_at_checked(HASH_LENGTH)?;
    let hash: Hash = format!("sha256:{hash}").parse().ok()?;
    // Other spellings of the same hash would be other files.
    if !file.starts_with(&hash.digest_nix32()) {
        return None;
    }
    [
        Compression::None,
        Compression::Xz,
        Compression::Zstd,
        Compression::Bzip2,
    ]
    .into_iter()
    .find(|one| one.extension() == extension)
    .map(|compression| (hash, compression))
}

fn text_of<'headers>(headers: &'headers HeaderMap, name: &HeaderName) -> Option<&'headers str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    Outside,
}

impl Wanted {
    /// Several ranges and malformed ones are answered with the whole file, as RFC 9110 allows.
    fn parse(text: &str, size: u64) -> Self {
        let Some((first, last)) = text
            .strip_prefix("bytes=")
            .and_then(|one| one.split_once('-'))
        else {
            return Self::All;
        };
        let range = match (first.parse::<u64>().ok(), last.parse::<u64>().ok()) {
            (Some(first), Some(last)) if first <= last => first..size.min(last.saturating_add(1)),
            (Some(first), None) if last.is_empty() => first..size,
            (None, Some(length)) if first.is_empty() => size.saturating_sub(length)..size,
            _ => return Self::All,
        };
        if range.start < range.end {
            Self::Part(range)
        } else {
            Self::Outside
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hashes_are_names() {
        let hash = Hash::sha256(b"").digest_nix32();
        for (extension, compression) in [
            (".nar", Compression::None),
            (".nar.zst", Compression::Zstd),
            (".nar.xz", Compression::Xz),
        ] {
            let (_, found) = split(&format!("{hash}{extension}")).unwrap();
            assert_eq!(found, compression);
        }
        let hex = Hash::sha256(b"").to_hex();
        for name in [
            format!("{hash}.nar.gz"),
            format!("{hash}.nar/../x"),
            format!("{}.nar", hash.to_uppercase()),
            format!("{hex}.nar"),
            format!("../{hash}.nar"),
            String::new(),
            "é".repeat(40),
        ] {
            assert!(split(&name).is_none(), "{name}");
        }
    }

    #[test]
    fn ranges_are_cut_to_the_file() {
        for (text, wanted) in [
            ("bytes=0-3", Wanted::Part(0..4)),
            ("bytes=4-", Wanted::Part(4..10)),
            ("bytes=8-99", Wanted::Part(8..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-99", Wanted::Part(0..10)),
            ("bytes=10-", Wanted::Outside),
            ("bytes=-0", Wanted::Outside),
            ("bytes=3-2", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("lines=0-1", Wanted::All),
            ("bytes=18446744073709551615-", Wanted::Outside),
        ] {
            assert_eq!(Wanted::parse(text, 10), wanted, "{text}");
        }
        assert_eq!(Wanted::parse("bytes=0-0", 0), Wanted::Outside);
    }
}
