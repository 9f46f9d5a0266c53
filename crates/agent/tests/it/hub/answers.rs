//! What the hub answers.

use std::sync::{Arc, Mutex};

use api::hub::environment::{Environment, Visibility};
use api::hub::error::{ErrorBody, ErrorCode};
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::{Contents, Entry, TOKEN};

type Shared = State<Arc<Mutex<Contents>>>;

pub(super) fn router(contents: Arc<Mutex<Contents>>) -> Router {
    Router::new()
        .route("/v1/environments/{owner}/{name}", get(environment))
        .route("/v1/environments/{owner}/{name}/live", get(live))
        .route(
            "/v1/environments/{owner}/{name}/generations/{which}",
            get(generation),
        )
        .route("/v1/owners/{owner}/revocations", get(revocations))
        .route("/cache/{owner}/{*file}", get(cache))
        .with_state(contents)
}

fn refuse(status: StatusCode, code: ErrorCode) -> Response {
    (
        status,
        Json(ErrorBody {
            code,
            message: "no".to_owned(),
        }),
    )
        .into_response()
}

/// Finds an environment as the asker may see it.
fn with_entry(
    State(contents): &Shared,
    headers: &HeaderMap,
    name: &str,
    request: String,
    answer: impl FnOnce(&Entry) -> Option<Response>,
) -> Response {
    let mut contents = contents.lock().unwrap();
    contents.requests.push(request);
    if contents.fail > 0 {
        contents.fail -= 1;
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal);
    }
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let known = token == Some(&format!("Bearer {TOKEN}"));
    let entry = contents
        .environments
        .get(name)
        .filter(|entry| entry.public || known);
    entry
        .and_then(answer)
        .unwrap_or_else(|| refuse(StatusCode::NOT_FOUND, ErrorCode::NotFound))
}

async fn environment(
    shared: Shared,
    headers: HeaderMap,
    Path((owner, name)): Path<(String, String)>,
) -> Response {
    let name = format!("{owner}/{name}");
    with_entry(
        &shared,
        &headers,
        &name,
        format!("environment {name}"),
        |entry| {
            let visibility = if entry.public {
                Visibility::Public
            } else {
                Visibility::Private
            };
            let environment = Environment {
                environment: name.parse().unwrap(),
                visibility,
                head: None,
                live: None,
                sequence: 0,
            };
            Some(Json(environment).into_response())
        },
    )
}

async fn live(
    shared: Shared,
    headers: HeaderMap,
    Path((owner, name)): Path<(String, String)>,
) -> Response {
    let name = format!("{owner}/{name}");
    if shared.lock().unwrap().silent {
        return std::future::pending().await;
    }
    with_entry(&shared, &headers, &name, format!("live {name}"), |entry| {
        entry.live.clone().map(|live| Json(live).into_response())
    })
}

async fn generation(
    shared: Shared,
    headers: HeaderMap,
    Path((owner, name, which)): Path<(String, String, String)>,
) -> Response {
    let name = format!("{owner}/{name}");
    with_entry(
        &shared,
        &headers,
        &name,
        format!("generation {name} {which}"),
        |entry| {
            // By position, not by the record's own digest: a tampered record is served in the place of the right one.
            let by_number = which
                .parse::<usize>()
                .ok()
                .and_then(|number| entry.generations.get(number.checked_sub(1)?));
            let by_digest = || {
                entry
                    .generations
                    .iter()
                    .find(|one| one.digest().to_string() == which)
            };
            let found = by_number
                .or_else(by_digest)
                .or_else(|| entry.generations.last().filter(|_| which.contains(':')));
            found.map(|signed| Json(signed.clone()).into_response())
        },
    )
}

async fn revocations(State(contents): Shared, Path(owner): Path<String>) -> Response {
    contents
        .lock()
        .unwrap()
        .requests
        .push(format!("revocations {owner}"));
    if contents.lock().unwrap().silent_about_revocations {
        return std::future::pending().await;
    }
    let list = contents.lock().unwrap().revocations.clone();
    match list.filter(|_| owner == "demo") {
        Some(list) => Json(list).into_response(),
        None => refuse(StatusCode::NOT_FOUND, ErrorCode::NotFound),
    }
}

async fn cache(State(contents): Shared, Path((_, file)): Path<(String, String)>) -> Response {
    let mut contents = contents.lock().unwrap();
    contents.requests.push(format!("cache {file}"));
    if contents.fail > 0 {
        contents.fail -= 1;
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let Some(bytes) = contents.files.get(&file).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if !file.starts_with("nar/") {
        return bytes.into_response();
    }
    let length = bytes.len();
    let cut = if contents.truncate > 0 {
        contents.truncate -= 1;
        length / 2
    } else {
        length
    };
    let (slow, held) = (contents.slow, contents.held.clone());
    let pieces = bytes
        .slice(..cut)
        .chunks(16 << 10)
        .map(Bytes::copy_from_slice)
        .collect::<Vec<_>>();
    let stream = futures::stream::unfold(pieces.into_iter(), move |mut pieces| {
        let held = held.clone();
        async move {
            let piece = pieces.next()?;
            if let Some(gate) = held {
                gate.cancelled().await;
            }
            if let Some(pause) = slow {
                tokio::time::sleep(pause).await;
            }
            Some((Ok::<_, std::io::Error>(piece), pieces))
        }
    });
    let body = Body::from_stream(stream);
    ([(header::CONTENT_LENGTH, length)], body).into_response()
}
