//! Requests by somebody who means harm: sizes, paths, broken and slow bodies.

use std::io::Write as _;
use std::net::TcpStream;

use api::hub::error::ErrorCode;
use nix_data::Compression;
use nix_data::nar::Node;

use crate::fixtures::{Package, Release, pointer, refusal, sign, store_path};
use crate::harness::Hub;

#[tokio::test]
async fn names_that_lead_elsewhere_reach_nothing() {
    let hub = Hub::start();
    let token = hub.token("demo", &[]);
    let before = hub.files();
    let hash = nix_data::Hash::sha256(b"x").digest_nix32();
    let names = [
        "/cache/demo/nar/..%2f..%2f..%2fhub.sqlite".to_owned(),
        "/cache/demo/nar/../../../hub.sqlite".to_owned(),
        "/cache/..%2f..%2f/nar/x.nar".to_owned(),
        "/cache/%2e%2e/nix-cache-info".to_owned(),
        "/cache/demo/..%2fother%2fx.narinfo".to_owned(),
        "/cache/demo/%00.narinfo".to_owned(),
        "/cache/demo/nar/%ff.nar".to_owned(),
        "/cache/de%2fmo/nix-cache-info".to_owned(),
        format!("/cache/demo/nar/{hash}.nar%2f..%2fx"),
        format!("/cache/demo/nar/{hash}.nar%231"),
        "/v1/environments/demo/..".to_owned(),
        "/v1/environments/demo/..%2fx".to_owned(),
        "/v1/environments/demo/app/generations/..%2flive".to_owned(),
        "/v1/environments/demo/app/generations/01".to_owned(),
        "/v1/environments/demo/app/generations/99999999999999999999".to_owned(),
        "/v1/environments/demo/app/documents/..%2f..%2fx".to_owned(),
        "/../../../../etc/passwd".to_owned(),
        "//etc/passwd".to_owned(),
    ];
    for name in names {
        for method in ["GET", "PUT", "POST"] {
            let answer = hub.ask(method, &name, Some(&token), "", b"x");
            assert!(
                (400..500).contains(&answer.status),
                "{method} {name}: {}",
                answer.status
            );
        }
    }
    assert_eq!(hub.files(), before);
}

#[tokio::test]
async fn every_refusal_is_json_with_a_code() {
    let hub = Hub::start();
    let token = hub.token("demo", &[]);
    for (method, path, status, code) in [
        ("GET", "/nothing/here", 404, "not-found"),
        ("DELETE", "/v1/environments/demo/app", 405, "bad-request"),
        ("POST", "/cache/demo/nix-cache-info", 405, "bad-request"),
        ("PUT", "/v1/environments/demo/app", 400, "bad-request"),
        ("PUT", "/v1/environments/demo/app/live", 400, "bad-request"),
        (
            "POST",
            "/v1/environments/demo/app/generations",
            400,
            "bad-request",
        ),
        ("POST", "/v1/owners/demo/missing", 400, "bad-request"),
        ("POST", "/v1/owners/DEMO/missing", 400, "bad-request"),
        ("PUT", "/cache/demo/log/x", 404, "not-found"),
    ] {
        let answer = hub.ask(method, path, Some(&token), "", b"{\"no\":1}");
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn bodies_past_their_limit_are_refused_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hub.toml");
    fs_err::write(&config, "largest-nar = 1000\n").unwrap();
    let hub = Hub::start_with(&["--config", config.to_str().unwrap()]);
    let token = hub.token("demo", &[]);
    let nar = vec![7; 1001];
    let package = Package::of_nar(store_path("large-1"), &nar, Vec::new(), Compression::None).await;
    let answer = hub.put(
        &format!("/cache/demo/{}", package.narinfo.url),
        &token,
        &package.file,
    );
    assert_eq!((answer.status, answer.code().as_str()), (413, "too-large"));
    assert!(answer.text().contains("1000 bytes"), "{}", answer.text());

    for (method, path, size) in [
        (
            "PUT",
            format!("/cache/demo/{}", package.narinfo_file()),
            3 << 20,
        ),
        ("PUT", "/v1/environments/demo/app".to_owned(), 100 << 10),
        (
            "PUT",
            "/v1/environments/demo/app/live".to_owned(),
            100 << 10,
        ),
        ("POST", "/v1/owners/demo/missing".to_owned(), 3 << 20),
    ] {
        let answer = hub.ask(method, &path, Some(&token), "", &vec![b' '; size]);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (413, "too-large"),
            "{path}"
        );
    }
    assert_eq!(hub.files(), [""; 0]);
}

#[tokio::test]
async fn too_many_paths_at_once_are_refused() {
    let hub = Hub::start();
    let token = hub.token("demo", &[]);
    let hash = nix_data::Hash::sha256(b"x");
    let path = store_path("x");
    let one = serde_json::json!({"path": path, "narHash": hash});
    let body = serde_json::json!({"paths": vec![one; 5_001]}).to_string();
    let answer = hub.ask(
        "POST",
        "/v1/owners/demo/missing",
        Some(&token),
        "",
        body.as_bytes(),
    );
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("5001 paths"), "{}", answer.text());
}

#[tokio::test]
async fn a_document_must_be_what_its_digest_says() {
    let hub = Hub::start();
    let token = hub.token("demo", &[]);
    let digest = env_spec::Digest::of(b"document");
    let path = format!("/v1/environments/demo/app/documents/{digest}");
    let answer = hub.put(&path, &token, b"another");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (422, "hash-mismatch")
    );
    assert_eq!(hub.put(&path, &token, b"document").status, 201);
    assert_eq!(hub.get(&path, Some(&token), "").body, b"document");
}

#[tokio::test]
async fn an_upload_that_is_cut_off_leaves_nothing() {
    let hub = Hub::start();
    let token = hub.token("demo", &[]);
    let package = Package::new("tool-1", b"contents", &[]).await;
    let head = format!(
        "PUT /cache/demo/{} HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n",
        package.narinfo.url,
        package.file.len()
    );
    let mut stream = TcpStream::connect(hub.address()).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream
        .write_all(&package.file[..package.file.len() / 2])
        .unwrap();
    // The upload has begun when its unfinished file is there.
    testkit::poll("the upload to begin", || {
        Ok((!hub.files().is_empty()).then_some(()))
    })
    .unwrap();
    drop(stream);
    testkit::poll("the unfinished upload to go", || {
        Ok(hub.files().is_empty().then_some(()))
    })
    .unwrap();
    let path = format!("/cache/demo/{}", package.narinfo.url);
    assert_eq!(hub.get(&path, Some(&token), "").status, 404);
    package.upload(&hub.client(Some(&token)), "demo").await;
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let hub = Hub::start();
    let expired = hub.token("demo", &["--expires", "0s"]);
    let good = hub.token("demo", &[]);
    let package = Package::of_nar(
        store_path("large-1"),
        &vec![7; 16 << 20],
        Vec::new(),
        Compression::None,
    )
    .await;
    for _ in 0..5 {
        let outcome = package
            .upload_nar(&hub.client(Some(&expired)), "demo")
            .await;
        refusal(outcome, ErrorCode::TokenExpired);
        let name = "nar/not-a-hash.nar";
        let outcome = hub
            .client(Some(&good))
            .put_cache_file("demo", name, package.file.clone())
            .await;
        refusal(outcome, ErrorCode::BadRequest);
    }
}

#[tokio::test]
async fn who_stalls_is_let_go() {
    use std::io::Read as _;

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hub.toml");
    fs_err::write(&config, "stall-seconds = 1\n").unwrap();
    let hub = Hub::start_with(&["--config", config.to_str().unwrap()]);
    let token = hub.token("demo", &[]);
    let answer_to = |sent: &str| {
        let mut stream = TcpStream::connect(hub.address()).unwrap();
        stream
            .set_read_timeout(Some(std::time::Duration::from_secs(60)))
            .unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("the hub ends the connection");
        answer
    };
    answer_to("GET /healthz HTTP/1.1\r\nhost: hu");
    let answer = answer_to(&format!(
        "PUT /v1/environments/demo/app HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {token}\r\n\
         connection: close\r\ncontent-length: 100\r\n\r\n{{"
    ));
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("stalled for 1 seconds"), "{answer}");
}

#[tokio::test]
async fn a_nar_with_too_large_a_listing_is_taken_without_one() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let token = hub.token("demo", &[]);
    // Each of these characters takes six in JSON: 17 MiB that become 100.
    let target = vec![1; 4_095];
    let links = (0..4_200).map(|number| {
        let target = target.clone();
        let name = format!("link-{number:05}").into_bytes();
        (name, Node::Symlink(target))
    });
    let nar = Node::Directory(links.collect())
        .write_to(Vec::new())
        .unwrap();
    let large = Package::of_nar(store_path("links-1"), &nar, vec![], Compression::Zstd).await;
    assert!(large.file.len() < 1 << 20, "{}", large.file.len());
    let small = Package::new("tool-1", b"contents", &[]).await;
    for (package, status) in [(&large, 404), (&small, 200)] {
        package.upload(&pusher, "demo").await;
        let path = format!("/cache/demo/{}", package.narinfo_file());
        assert_eq!(hub.get(&path, Some(&token), "").status, 200);
        let listing = path.replace(".narinfo", ".ls");
        assert_eq!(hub.get(&listing, Some(&token), "").status, status);
    }
}

#[tokio::test]
async fn a_narinfo_that_claims_too_large_a_nar_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hub.toml");
    fs_err::write(&config, "largest-unpacked = 1000\n").unwrap();
    let hub = Hub::start_with(&["--config", config.to_str().unwrap()]);
    let pusher = hub.pusher("demo");
    let small = Package::new("small-1", b"contents", &[]).await;
    small.upload(&pusher, "demo").await;
    let large = Package::new("large-1", &[7; 1_000], &[]).await;
    large.upload_nar(&pusher, "demo").await.unwrap();
    let outcome = large.upload_narinfo(&pusher, "demo").await;
    let text = refusal(outcome, ErrorCode::TooLarge);
    assert!(text.contains("1000 bytes"), "{text}");
}

#[tokio::test]
async fn who_asks_and_never_reads_is_let_go() {
    use std::io::Read as _;

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hub.toml");
    fs_err::write(&config, "stall-seconds = 1\nmost-connections = 1\n").unwrap();
    let hub = Hub::start_with(&["--config", config.to_str().unwrap()]);
    let token = hub.token("demo", &[]);
    // Larger than what the system takes for a connection that nobody reads.
    let nar = Node::File {
        executable: false,
        contents: vec![7; 32 << 20],
    };
    let nar = nar.write_to(Vec::new()).unwrap();
    let package = Package::of_nar(store_path("large-1"), &nar, vec![], Compression::None).await;
    let path = format!("/cache/demo/{}", package.narinfo.url);
    assert_eq!(hub.put(&path, &token, &package.file).status, 201);
    let mut idle = TcpStream::connect(hub.address()).unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {token}\r\n\r\n");
    idle.write_all(request.as_bytes()).unwrap();
    // The answer has begun: the only connection is taken.
    idle.read_exact(&mut [0; 12]).unwrap();
    assert_eq!(hub.get("/healthz", None, "").status, 200);
    let mut rest = Vec::new();
    let _broken = idle.read_to_end(&mut rest);
    assert!(rest.len() < nar.len(), "the answer was cut off");
}

#[tokio::test]
async fn numbers_that_canonical_json_rounds_are_refused() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let name = crate::fixtures::name("demo/app");
    let release = Release::new("1").await;
    let digest = release.push(&pusher, "demo/app", 1, None).await;
    for number in [1 << 53, 1 << 60] {
        let moved = sign(&pointer("demo/app", 1, digest, number));
        let text = refusal(pusher.put_live(&name, &moved).await, ErrorCode::BadRequest);
        assert!(text.contains("9007199254740991"), "{text}");
        let record = sign(&release.record("demo/app", number, Some(digest)));
        let outcome = pusher.post_generation(&name, &record).await;
        let text = refusal(outcome, ErrorCode::BadRequest);
        assert!(text.contains("9007199254740991"), "{text}");
    }
}
