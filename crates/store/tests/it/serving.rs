//! Fetching over HTTP, from a server that fails in every way that servers and networks do.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fs_err as fs;
use nix_data::Compression;
use store::{Key, Progress, Source};

use crate::caches::{Cache, TestStore, closure_in, file, sources};

/// What happens to requests.
#[derive(Default)]
struct Faults {
    /// How many requests from now on get this status.
    status: Option<(StatusCode, u32)>,
    /// How many NARs from now on end in the middle.
    truncate: u32,
    /// The length is not said, so that an early end looks like a whole answer.
    hide_length: bool,
    /// Bytes after which a body stops coming, for ever.
    hang_after: Option<usize>,
    /// Only this token opens.
    token: Option<&'static str>,
    requests: Vec<String>,
}

struct Server {
    address: SocketAddr,
    faults: Arc<Mutex<Faults>>,
}

impl Server {
    async fn start(folder: PathBuf) -> Self {
        let faults = Arc::new(Mutex::new(Faults::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/cache/{*file}", get(answer))
            .with_state((folder, Arc::clone(&faults)));
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { address, faults }
    }

    fn url(&self) -> String {
        format!("http://{}/cache", self.address)
    }

    fn faults(&self) -> std::sync::MutexGuard<'_, Faults> {
        self.faults.lock().unwrap()
    }

    fn nars_asked(&self) -> usize {
        self.faults()
            .requests
            .iter()
            .filter(|file| file.starts_with("nar/"))
            .count()
    }
}

type Shared = (PathBuf, Arc<Mutex<Faults>>);

async fn answer(
    State((folder, faults)): State<Shared>,
    headers: HeaderMap,
    Path(file): Path<String>,
) -> Response {
    let mut faults = faults.lock().unwrap();
    faults.requests.push(file.clone());
    if let Some((status, left)) = faults.status.as_mut()
        && *left > 0
    {
        *left -= 1;
        return status.into_response();
    }
    let sent = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if faults
        .token
        .is_some_and(|token| sent != Some(&format!("Bearer {token}")))
    {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Ok(bytes) = fs::read(folder.join(&file)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if !file.starts_with("nar/") {
        return bytes.into_response();
    }
    let length = bytes.len();
    let mut sent = length;
    if faults.truncate > 0 {
        faults.truncate -= 1;
        sent = length / 2;
    }
    let hang = faults.hang_after;
    let pieces: Vec<Bytes> = bytes[..hang.unwrap_or(sent).min(sent)]
        .chunks(8 << 10)
        .map(Bytes::copy_from_slice)
        .collect();
    let stream = futures_of(pieces, hang.is_some());
    let body = Body::from_stream(stream);
    if faults.hide_length {
        body.into_response()
    } else {
        ([(header::CONTENT_LENGTH, length)], body).into_response()
    }
}

fn futures_of(
    pieces: Vec<Bytes>,
    hang: bool,
) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    futures::stream::unfold(pieces.into_iter(), move |mut pieces| async move {
        match pieces.next() {
            Some(piece) => Some((Ok(piece), pieces)),
            None if hang => std::future::pending().await,
            None => None,
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_closure_comes_over_http_and_every_byte_is_counted() {
    testkit::require!(setup);
    let cache = testkit::setup::cache_dir();
    let closure = closure_in(&cache, "redis-");
    let server = Server::start(cache).await;
    let store = TestStore::new();
    let progress = Arc::new(Progress::default());
    let outcome = store::realise(
        &store.store,
        &closure,
        &sources(&[&server.url()]),
        &progress,
    )
    .await
    .unwrap();
    assert_eq!(outcome.paths_fetched, closure.len() as u64);
    let view = progress.view();
    assert_eq!(
        (view.bytes_done, view.paths_done),
        (view.bytes_total, view.paths_total)
    );
    assert_eq!(outcome.download_bytes, view.downloaded);
    assert!(outcome.download_bytes < outcome.nar_bytes && outcome.download_bytes > 0);
    assert!(store.store.has_closure(&closure));
    store.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_network_did_is_asked_for_again() {
    let cache = Cache::new();
    let path = cache.add_noise("noise", 200_000, Compression::Zstd);
    let server = Server::start(cache.folder().to_owned()).await;
    server.faults().status = Some((StatusCode::SERVICE_UNAVAILABLE, 2));
    server.faults().truncate = 1;
    let store = TestStore::new();
    store
        .realise(std::slice::from_ref(&path), &[&server.url()])
        .await
        .unwrap();
    assert!(store.store.is_present(&Key::of(&path)));
    assert_eq!(server.nars_asked(), 2);
    store.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_body_of_unknown_length_is_told_from_a_corrupt_one() {
    for compression in [Compression::Zstd, Compression::Xz, Compression::None] {
        let cache = Cache::new();
        let path = cache.add_noise("noise", 200_000, compression);
        let server = Server::start(cache.folder().to_owned()).await;
        server.faults().hide_length = true;
        server.faults().truncate = 1;
        let store = TestStore::new();
        store
            .realise(std::slice::from_ref(&path), &[&server.url()])
            .await
            .unwrap();
        assert_eq!(server.nars_asked(), 2, "{compression:?}");

        server.faults().truncate = u32::MAX;
        let other = TestStore::new();
        let error = other
            .realise(std::slice::from_ref(&path), &[&server.url()])
            .await
            .unwrap_err();
        let fault = error.source_error().unwrap().to_string();
        assert!(
            fault.starts_with(&format!("truncated NAR of {}: got ", path.path)),
            "{compression:?}: {fault}"
        );
        other.assert_sound();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_for_good_is_named_and_the_next_source_is_asked() {
    let cache = Cache::new();
    let path = cache.add_noise("noise", 20_000, Compression::Zstd);
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/cache", listener.local_addr().unwrap())
    };
    let store = TestStore::new();
    let error = store
        .realise(std::slice::from_ref(&path), &[&gone])
        .await
        .unwrap_err();
    let fault = error.source_error().unwrap();
    assert!(fault.is_transient());
    assert_eq!(
        fault.to_string(),
        format!("cannot fetch {} from {gone}", path.path)
    );
    store
        .realise(std::slice::from_ref(&path), &[&gone, &cache.address()])
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_not_asked_for_again_and_tokens_open() {
    let cache = Cache::new();
    let path = cache.add("secret", &file(b"secret"), Compression::None);
    let server = Server::start(cache.folder().to_owned()).await;
    server.faults().token = Some("token");
    let store = TestStore::new();
    let error = store
        .realise(std::slice::from_ref(&path), &[&server.url()])
        .await
        .unwrap_err();
    let fault = error.source_error().unwrap().to_string();
    assert_eq!(
        fault,
        format!("{} answered 401 when asked for {}", server.url(), path.path)
    );
    assert_eq!(server.faults().requests.len(), 1);
    host::tls::install();
    let http = store::http_client("test").unwrap();
    let source = Source::new(&server.url(), Some("token".to_owned()), &http).unwrap();
    store::realise(&store.store, &[path], &[source], &Default::default())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_narinfo_is_cut_off() {
    let cache = Cache::new();
    let path = cache.add("package", &file(b"x"), Compression::None);
    fs::write(cache.narinfo_of(&path.path), vec![b'x'; 3 << 20]).unwrap();
    let server = Server::start(cache.folder().to_owned()).await;
    for address in [server.url(), cache.address()] {
        let error = TestStore::new()
            .realise(std::slice::from_ref(&path), &[&address])
            .await
            .unwrap_err();
        assert!(
            error
                .source_error()
                .unwrap()
                .to_string()
                .contains("is larger than 2097152 bytes"),
            "{error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nar_longer_than_the_record_says_is_cut_off_there() {
    let cache = Cache::new();
    // 64 MB of zeros in a few kilobytes, under a record that promises little.
    let mut path = cache.add("bomb", &file(&vec![0; 64 << 20]), Compression::Zstd);
    path.nar_size = 1000;
    let store = TestStore::new();
    let progress = Arc::new(Progress::default());
    let error = store::realise(
        &store.store,
        &[path],
        &sources(&[&cache.address()]),
        &progress,
    )
    .await
    .unwrap_err();
    assert!(
        error
            .source_error()
            .unwrap()
            .to_string()
            .starts_with("corrupt NAR of"),
        "{error:?}"
    );
    assert_eq!(progress.view().bytes_done, 0);
    store.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_nothing_and_frees_the_path() {
    let cache = Cache::new();
    let path = cache.add_noise("noise", 300_000, Compression::Zstd);
    let server = Server::start(cache.folder().to_owned()).await;
    server.faults().hang_after = Some(100_000);
    let store = TestStore::new();
    let (address, patience) = (server.url(), Duration::from_millis(500));
    let addresses = [address.as_str()];
    let hanging = store.realise(std::slice::from_ref(&path), &addresses);
    assert!(tokio::time::timeout(patience, hanging).await.is_err());
    server.faults().hang_after = None;
    store
        .realise(std::slice::from_ref(&path), &[&server.url()])
        .await
        .unwrap();
    assert!(store.store.is_present(&Key::of(&path)));
    store.assert_sound();
}
