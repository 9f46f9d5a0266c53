//! kill -9 at any point: what was answered stays, what was not is as if never sent.

use std::io::Write as _;
use std::net::TcpStream;

use api::hub::HubClient;
use env_spec::Digest;

use crate::fixtures::{Package, Release, name, pointer, sign};
use crate::harness::Hub;

#[tokio::test]
async fn a_hub_killed_in_an_upload_tells_no_lie_and_takes_it_again() {
    let mut hub = Hub::start();
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
        .write_all(&package.file[..package.file.len() - 1])
        .unwrap();
    testkit::poll("the upload to begin", || {
        Ok((!hub.files().is_empty()).then_some(()))
    })
    .unwrap();
    hub.kill();
    assert_eq!(hub.files().len(), 1, "the unfinished file is there");
    hub.restart();
    assert_eq!(hub.files(), [""; 0], "the start removes it");
    let path = format!("/cache/demo/{}", package.narinfo.url);
    assert_eq!(hub.get(&path, Some(&token), "").status, 404);
    package.upload(&hub.client(Some(&token)), "demo").await;
}

#[tokio::test]
async fn what_was_answered_outlives_a_kill() {
    let mut hub = Hub::start();
    let token = hub.token("demo", &[]);
    let release = Release::new("1").await;
    let digest = release
        .push(&hub.client(Some(&token)), "demo/app", 1, None)
        .await;
    hub.kill();
    hub.restart();
    let pusher = hub.client(Some(&token));
    assert_eq!(
        pusher
            .environment(&name("demo/app"))
            .await
            .unwrap()
            .live
            .unwrap()
            .digest,
        digest
    );
    let record = pusher
        .generation(&"demo/app:1".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(record.digest(), digest);
    let second = Release::new("2").await;
    second.push(&pusher, "demo/app", 2, Some(digest)).await;
}

#[tokio::test]
async fn garbage_of_a_crash_between_object_and_commit_is_written_over() {
    let hub = Hub::start();
    let token = hub.token("demo", &[]);
    let pusher = hub.client(Some(&token));
    let folder = hub.objects().join("environments/demo/app/generations");
    fs_err::create_dir_all(&folder).unwrap();
    fs_err::write(folder.join("1.json"), "garbage").unwrap();
    let digest = Release::new("1")
        .await
        .push(&pusher, "demo/app", 1, None)
        .await;
    let record = pusher
        .generation(&"demo/app:1".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(record.digest(), digest);
}

#[tokio::test]
async fn a_lost_copy_of_the_pointer_is_written_anew_at_start() {
    let mut hub = Hub::start();
    let pusher = hub.pusher("demo");
    let digest = Release::new("1")
        .await
        .push(&pusher, "demo/app", 1, None)
        .await;
    let copy = hub.objects().join("environments/demo/app/live.json");
    let good = fs_err::read(&copy).unwrap();
    let wanted = serde_json::to_vec(&sign(&pointer("demo/app", 1, digest, 1))).unwrap();
    assert_eq!(good, wanted);
    hub.kill();
    fs_err::remove_file(&copy).unwrap();
    hub.restart();
    assert_eq!(fs_err::read(&copy).unwrap(), good);
}

#[tokio::test]
async fn a_full_disk_is_told_and_harms_nothing_that_is_there() {
    testkit::require!(root);
    let hub = Hub::start_on_small_disk();
    let token = hub.token("demo", &[]);
    let pusher = hub.client(Some(&token));
    let release = Release::new("1").await;
    let digest = release.push(&pusher, "demo/app", 1, None).await;
    let before = hub.files();

    let nar = vec![7; 12 << 20];
    let large = Package::of_nar(
        crate::fixtures::store_path("large-1"),
        &nar,
        Vec::new(),
        nix_data::Compression::None,
    )
    .await;
    let error = large.upload_nar(&pusher, "demo").await.unwrap_err();
    assert!(
        error.to_string().contains("the hub's disk is full"),
        "{error}"
    );
    assert!(
        error.is_transient(),
        "it can be tried again when there is space"
    );
    testkit::poll("the unfinished file to go", || {
        Ok((hub.files() == before).then_some(()))
    })
    .unwrap();
    assert_eq!(
        pusher
            .environment(&name("demo/app"))
            .await
            .unwrap()
            .live
            .unwrap()
            .digest,
        digest
    );
    Release::new("2")
        .await
        .push(&pusher, "demo/app", 2, Some(digest))
        .await;
}

/// Whatever the hub advertises is there, whole.
async fn tells_no_lie(
    hub: &Hub,
    pusher: &HubClient,
    token: &str,
    environment: &str,
    release: &Release,
) {
    let app = name(environment);
    let exists = pusher.environment(&app).await.is_ok();
    let head = if exists {
        pusher.environment(&app).await.unwrap().head
    } else {
        None
    };
    let live = if exists {
        pusher.environment(&app).await.unwrap().live
    } else {
        None
    };
    for package in [&release.library, &release.environment] {
        let get = |file: &str| hub.get(&format!("/cache/{}/{file}", app.owner()), Some(token), "");
        let narinfo = get(&package.narinfo_file());
        if narinfo.status == 200 {
            assert_eq!(narinfo.text(), package.narinfo.to_string());
            let nar = get(&package.narinfo.url);
            assert_eq!((nar.status, &nar.body), (200, &package.file));
        } else {
            assert_eq!(
                (narinfo.status, head.is_none()),
                (404, true),
                "a generation lacks a path"
            );
        }
    }
    if let Some(head) = head {
        let reference = format!("{environment}:{}", head.number).parse().unwrap();
        let record = pusher.generation(&reference).await.unwrap();
        assert_eq!(record.digest(), head.digest);
        pusher
            .document(&app, Digest::of(&release.sbom))
            .await
            .unwrap();
    }
    if live.is_some() {
        assert_eq!(live, head);
        pusher.live(&app).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_of_a_push_it_advertises_only_what_is_there() {
    let mut hub = Hub::start();
    let release = std::sync::Arc::new(Release::new("1").await);
    // A whole push makes ten objects.
    for objects in 1..=10 {
        let environment = format!("owner-{objects}/app");
        let token = hub.token(name(&environment).owner(), &[]);
        let before = hub.files().len();
        let pushing = {
            let (pusher, release) = (hub.client(Some(&token)), release.clone());
            let environment = environment.clone();
            tokio::spawn(async move { release.push(&pusher, &environment, 1, None).await })
        };
        testkit::poll("the push to get there", || {
            Ok((hub.files().len() >= before + objects).then_some(()))
        })
        .unwrap();
        hub.kill();
        drop(pushing.await);
        hub.restart();
        let pusher = hub.client(Some(&token));
        tells_no_lie(&hub, &pusher, &token, &environment, &release).await;
        if pusher
            .environment(&name(&environment))
            .await
            .is_ok_and(|one| one.live.is_some())
        {
            continue;
        }
        release.upload(&pusher, &environment).await;
        let record = sign(&release.record(&environment, 1, None));
        pusher
            .post_generation(&name(&environment), &record)
            .await
            .unwrap();
        let live = sign(&pointer(&environment, 1, record.digest(), 1));
        pusher.put_live(&name(&environment), &live).await.unwrap();
        tells_no_lie(&hub, &pusher, &token, &environment, &release).await;
    }
}
