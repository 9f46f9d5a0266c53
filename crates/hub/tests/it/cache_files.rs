//! The binary cache takes only what is true, and gives it back byte for byte.

use api::hub::error::ErrorCode;
use nix_data::nar::Listing;
use nix_data::{Compression, Hash, NarInfo, SecretKey};

use crate::fixtures::{Package, refusal, store_path};
use crate::harness::Hub;

#[tokio::test]
async fn ranges_tags_and_heads_are_served() {
    let hub = Hub::start();
    let token = hub.token("demo", &[]);
    let package = Package::new("tool-1", &vec![5; 100_000], &[]).await;
    package.upload(&hub.client(Some(&token)), "demo").await;
    let path = format!("/cache/demo/{}", package.narinfo.url);
    let get = |more: &str| hub.get(&path, Some(&token), more);
    let size = package.file.len();

    let whole = get("");
    assert_eq!((whole.status, &whole.body), (200, &package.file));
    assert!(
        whole.headers.contains(&format!("content-length: {size}")),
        "{}",
        whole.headers
    );
    let tag = whole
        .headers
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .unwrap()
        .to_owned();

    let part = get("range: bytes=4-9\r\n");
    assert_eq!((part.status, &part.body[..]), (206, &package.file[4..10]));
    assert!(
        part.headers
            .contains(&format!("content-range: bytes 4-9/{size}")),
        "{}",
        part.headers
    );
    let rest = get(&format!("range: bytes=10-\r\nif-range: {tag}\r\n"));
    assert_eq!((rest.status, &rest.body[..]), (206, &package.file[10..]));
    assert_eq!(
        get("range: bytes=10-\r\nif-range: \"other\"\r\n").status,
        200
    );
    assert_eq!(get(&format!("range: bytes={size}-\r\n")).status, 416);
    assert_eq!(get(&format!("if-none-match: {tag}\r\n")).status, 304);

    let before = hub.counter("nival_hub_nar_served_bytes_total");
    let head = hub.ask("HEAD", &path, Some(&token), "", b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(
        head.headers.contains(&format!("content-length: {size}")),
        "{}",
        head.headers
    );
    assert_eq!(hub.counter("nival_hub_nar_served_bytes_total"), before);
    get("");
    assert_eq!(
        hub.counter("nival_hub_nar_served_bytes_total"),
        before + size as u64
    );
    assert_eq!(
        hub.counter("nival_hub_nar_received_bytes_total"),
        size as u64
    );
}

#[tokio::test]
async fn narinfo_and_listing_come_back() {
    let hub = Hub::start();
    let token = hub.token("demo", &[]);
    let mut package = Package::new("tool-1", b"contents", &[]).await;
    package
        .narinfo
        .sign(&SecretKey::generate_from_seed("one", [1; 32]).unwrap());
    package.upload(&hub.client(Some(&token)), "demo").await;
    let narinfo = hub.get(
        &format!("/cache/demo/{}", package.narinfo_file()),
        Some(&token),
        "",
    );
    assert_eq!(narinfo.text(), package.narinfo.to_string());
    assert!(
        narinfo.headers.contains("content-type: text/x-nix-narinfo"),
        "{}",
        narinfo.headers
    );
    let listing = format!("/cache/demo/{}.ls", package.path().hash_part());
    let listing = Listing::from_json(&hub.get(&listing, Some(&token), "").body).unwrap();
    assert!(listing.lookup("file").is_some());
    assert_eq!(hub.counter("nival_hub_narinfo_served_total"), 1);
}

#[tokio::test]
async fn signatures_of_the_same_path_add_up() {
    let hub = Hub::start();
    let token = hub.token("demo", &[]);
    let pusher = hub.client(Some(&token));
    let mut package = Package::new("tool-1", b"contents", &[]).await;
    package.upload(&pusher, "demo").await;
    for (name, seed) in [("one", 1), ("two", 2)] {
        package.narinfo.signatures.clear();
        package
            .narinfo
            .sign(&SecretKey::generate_from_seed(name, [seed; 32]).unwrap());
        package.upload_narinfo(&pusher, "demo").await.unwrap();
    }
    let text = hub
        .get(
            &format!("/cache/demo/{}", package.narinfo_file()),
            Some(&token),
            "",
        )
        .text();
    let stored = NarInfo::parse(&text).unwrap();
    let names: Vec<_> = stored
        .signatures
        .iter()
        .map(nix_data::Signature::name)
        .collect();
    assert_eq!(names, ["one", "two"]);
}

#[tokio::test]
async fn bytes_under_a_wrong_name_leave_nothing() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let package = Package::new("tool-1", b"contents", &[]).await;
    let mut corrupt = package.clone();
    corrupt.file[3] ^= 1;
    let text = refusal(
        corrupt.upload_nar(&pusher, "demo").await,
        ErrorCode::HashMismatch,
    );
    assert!(
        text.contains("has hash") && text.contains("sent as"),
        "{text}"
    );
    let mut short = package.clone();
    short.file.pop();
    refusal(
        short.upload_nar(&pusher, "demo").await,
        ErrorCode::HashMismatch,
    );
    assert_eq!(hub.files(), [""; 0]);
    let text = refusal(
        package.upload_narinfo(&pusher, "demo").await,
        ErrorCode::Incomplete,
    );
    assert!(text.contains(&package.narinfo.url), "{text}");
}

#[tokio::test]
async fn a_narinfo_that_lies_is_refused() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let package = Package::new("tool-1", b"contents", &[]).await;
    package.upload_nar(&pusher, "demo").await.unwrap();
    let put = async |change: &dyn Fn(&mut NarInfo)| {
        let mut lie = package.clone();
        change(&mut lie.narinfo);
        lie.upload_narinfo(&pusher, "demo").await
    };
    let hash = |text: &str| Hash::sha256(text.as_bytes());

    let outcome = put(&|info| info.nar_hash = hash("other")).await;
    let text = refusal(outcome, ErrorCode::HashMismatch);
    assert!(
        text.contains("tool-1") && text.contains(&package.narinfo.nar_hash.to_nix32()),
        "{text}"
    );
    let outcome = put(&|info| info.nar_size += 1).await;
    refusal(outcome, ErrorCode::HashMismatch);
    let outcome = put(&|info| info.nar_size -= 1).await;
    let text = refusal(outcome, ErrorCode::HashMismatch);
    assert!(text.contains("unpacks to more"), "{text}");
    let outcome = put(&|info| info.file_size = Some(1)).await;
    refusal(outcome, ErrorCode::HashMismatch);
    let outcome = put(&|info| info.file_hash = Some(hash("other"))).await;
    refusal(outcome, ErrorCode::BadRequest);
    let outcome = put(&|info| info.file_hash = None).await;
    refusal(outcome, ErrorCode::BadRequest);
    let outcome = put(&|info| info.url = "nar/other.nar.zst".to_owned()).await;
    refusal(outcome, ErrorCode::BadRequest);
    let outcome = put(&|info| info.compression = Compression::Xz).await;
    refusal(outcome, ErrorCode::BadRequest);
    let outcome = put(&|info| info.references = vec![store_path("absent-1")]).await;
    let text = refusal(outcome, ErrorCode::Incomplete);
    assert!(text.contains("absent-1"), "{text}");
    let outcome = put(&|info| {
        info.ca = Some(format!("fixed:r:{}", hash("x").to_nix32()).parse().unwrap());
    })
    .await;
    refusal(outcome, ErrorCode::BadRequest);

    let other = format!("{}.narinfo", store_path("other-1").hash_part());
    let outcome = pusher
        .put_cache_file("demo", &other, package.narinfo.to_string())
        .await;
    let text = refusal(outcome, ErrorCode::BadRequest);
    assert!(text.contains("was sent as"), "{text}");

    for body in [
        "",
        "hello",
        "StorePath: /nix/store/../../etc/passwd\n",
        "StorePath: /gnu/store/x\n",
    ] {
        let outcome = pusher
            .put_cache_file("demo", &package.narinfo_file(), body)
            .await;
        refusal(outcome, ErrorCode::BadRequest);
    }
    assert!(
        !hub.files().iter().any(|file| file.ends_with(".narinfo")),
        "{:?}",
        hub.files()
    );
    package.upload_narinfo(&pusher, "demo").await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_nar_is_never_advertised() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let node = nix_data::nar::Node::Symlink(b"target".to_vec());
    let mut trailing = node.write_to(Vec::new()).unwrap();
    trailing.extend_from_slice(&[0; 8]);
    for nar in [b"no archive".to_vec(), trailing] {
        for compression in [Compression::None, Compression::Zstd] {
            let path = store_path("tool-1");
            let package = Package::of_nar(path, &nar, Vec::new(), compression).await;
            package.upload_nar(&pusher, "demo").await.unwrap();
            let text = refusal(
                package.upload_narinfo(&pusher, "demo").await,
                ErrorCode::HashMismatch,
            );
            assert!(text.contains("no valid NAR"), "{text}");
        }
    }
    // Says zstd, is none.
    let nar = node.write_to(Vec::new()).unwrap();
    let mut package = Package::of_nar(store_path("t"), &nar, Vec::new(), Compression::None).await;
    package.narinfo.compression = Compression::Zstd;
    package.narinfo.url.push_str(".zst");
    package.upload_nar(&pusher, "demo").await.unwrap();
    refusal(
        package.upload_narinfo(&pusher, "demo").await,
        ErrorCode::HashMismatch,
    );
}

#[tokio::test]
async fn a_small_file_that_unpacks_to_much_is_read_only_as_far_as_it_says() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let package = Package::new("bomb-1", &vec![0; 64 << 20], &[]).await;
    assert!(package.file.len() < 64 << 10);
    package.upload_nar(&pusher, "demo").await.unwrap();
    let mut lie = package.clone();
    lie.narinfo.nar_size = 1000;
    let text = refusal(
        lie.upload_narinfo(&pusher, "demo").await,
        ErrorCode::HashMismatch,
    );
    assert!(text.contains("more than the 1000 bytes"), "{text}");
}

#[tokio::test]
async fn what_the_cache_has_is_never_replaced() {
    let hub = Hub::start();
    let token = hub.token("demo", &[]);
    let pusher = hub.client(Some(&token));
    let ours = Package::new("tool-1", b"ours", &[]).await;
    let theirs = Package::new("tool-1", b"theirs", &[]).await;
    ours.upload(&pusher, "demo").await;
    theirs.upload_nar(&pusher, "demo").await.unwrap();
    let text = refusal(
        theirs.upload_narinfo(&pusher, "demo").await,
        ErrorCode::Conflict,
    );
    assert!(
        text.contains("tool-1") && text.contains("keeps what it has"),
        "{text}"
    );
    let path = format!("/cache/demo/{}", ours.narinfo_file());
    assert_eq!(
        hub.get(&path, Some(&token), "").text(),
        ours.narinfo.to_string()
    );

    // Same bytes, other references: signatures cover them, so this is another claim.
    let library = Package::new("library-1", b"library", &[]).await;
    library.upload(&pusher, "demo").await;
    let mut other = ours.clone();
    other.narinfo.references = vec![library.path().clone()];
    refusal(
        other.upload_narinfo(&pusher, "demo").await,
        ErrorCode::Conflict,
    );

    // Each owner has a cache of their own.
    theirs.upload(&hub.pusher("other"), "other").await;
}

#[tokio::test]
async fn many_clients_may_upload_the_same_at_once() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let package = Package::new("tool-1", &vec![9; 300_000], &[]).await;
    let uploads = (0..8).map(|_| package.upload(&pusher, "demo"));
    futures::future::join_all(uploads).await;
    assert_eq!(hub.counter("nival_hub_paths_added_total"), 1);
}
