//! Networks that fail, disks that are full, bytes that are wrong, and kills in the middle.

use std::time::Duration;

use fs_err as fs;
use tokio_util::sync::CancellationToken;
use ttrpc::Code;

use crate::hub::Package;
use crate::scene::Scene;

fn packages() -> Vec<Package> {
    (0..6)
        .map(|number| Package::noise(&format!("noise{number}"), 400_000))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_flipped_bit_is_refused_with_the_path_both_hashes_and_the_source() {
    testkit::require!(root);
    let scene = Scene::start().await;
    let package = Package::noise("victim", 50_000);
    scene.hub.push("demo/app", std::slice::from_ref(&package));
    scene.hub.tamper_nar(&package, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let (code, message) = scene.start_in_web("demo/app").await.unwrap_err();
    assert_eq!(code, Code::DATA_LOSS);
    let wanted = format!(
        "corrupt NAR of {}: expected {}",
        package.path.path, package.path.nar_hash
    );
    assert!(
        message.contains(&wanted)
            && message.contains(&format!("from http://{}/cache/demo", scene.hub.address)),
        "{message}"
    );
    assert_eq!(
        scene.hub.requests("cache nar/"),
        1,
        "corrupt bytes are not asked for again"
    );
    assert_eq!(fs::read_dir(scene.state("store/paths")).unwrap().count(), 0);
    scene.until_nothing_is_unfinished().await;
    // Once the hub is repaired, the next start succeeds.
    scene.hub.serve_package(&package);
    scene.start_in_web("demo/app").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_downloads_and_errors_of_the_server_are_asked_for_again() {
    testkit::require!(root);
    let scene = Scene::start().await;
    scene.hub.push("demo/app", &packages());
    scene.hub.contents().truncate = 3;
    scene.start_in_web("demo/app").await.unwrap();
    let more = Package::noise("more", 10_000);
    scene.hub.push("demo/web", &[more]);
    scene
        .prepare(&scene.request("team-a", "demo/web"))
        .await
        .unwrap();
    assert!(scene.hub.requests("cache nar/") >= 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_wait_the_state_is_told_and_the_fetch_goes_on() {
    testkit::require!(root);
    let scene = Scene::start().await;
    let pin = scene.hub.push("demo/app", &packages());
    let gate = CancellationToken::new();
    scene.hub.contents().held = Some(gate.clone());
    let mut request = scene.request("web", "demo/app");
    request.wait_milliseconds = 200;
    let message = scene.begin_fetching(&request).await;
    assert!(
        message.starts_with("fetching demo/app:1: 0.0 of 2.4 MB ("),
        "{message}"
    );
    let status = scene.status().await;
    assert_eq!(status.fetches[0].pin, pin, "as the neighbour asks for it");
    assert_eq!(
        (
            status.fetches.len(),
            status.fetches[0].bytes_total > 2_400_000
        ),
        (1, true)
    );
    gate.cancel();
    scene
        .until("the fetch has ended", async || {
            scene.status().await.fetches.is_empty()
        })
        .await;
    let asked = scene.hub.requests("cache nar/");
    assert_eq!(asked, 6);
    request.wait_milliseconds = 60_000;
    scene.prepare(&request).await.unwrap();
    assert_eq!(scene.hub.requests("cache nar/"), asked, "it was all there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_does_not_answer_is_told_within_the_wait() {
    testkit::require!(root);
    let scene = Scene::start().await;
    scene.hub.push("demo/app", &packages());
    scene.hub.contents().silent = true;
    let mut request = scene.request("web", "demo/app");
    request.wait_milliseconds = 1_500;
    let (code, message) = scene.prepare(&request).await.unwrap_err();
    assert_eq!(code, Code::UNAVAILABLE);
    let wanted = format!(
        "the hub http://{} did not answer in time about demo/app; ",
        scene.hub.address
    );
    assert!(message.starts_with(&wanted), "{message}");
    scene.hub.contents().silent = false;
    scene.start_in_web("demo/app").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_pods_at_once_fetch_once() {
    testkit::require!(root);
    let scene = Scene::start().await;
    scene.hub.push("demo/app", &packages());
    scene.hub.contents().slow = Some(Duration::from_millis(2));
    let requests = (0..20).map(|number| {
        let mut request = scene.request(&format!("web{number}"), "demo/app");
        request.pod = format!("pod{number}");
        request
    });
    let requests: Vec<_> = requests.collect();
    let answers =
        futures::future::join_all(requests.iter().map(|request| scene.prepare(request))).await;
    assert!(answers.iter().all(|answer| {
        answer
            .as_ref()
            .is_ok_and(|one| one.mount_source == answers[0].as_ref().unwrap().mount_source)
    }));
    assert_eq!(scene.hub.requests("cache nar/"), 6);
    assert_eq!(scene.status().await.leases.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_fetch_leaves_nothing_half_and_the_next_start_completes() {
    testkit::require!(root);
    let mut scene = Scene::start().await;
    let packages = packages();
    scene.hub.push("demo/app", &packages);
    for round in 1..=4 {
        scene.hub.contents().slow = Some(Duration::from_millis(10));
        let before = scene.hub.requests("cache nar/");
        let mut request = scene.request("web", "demo/app");
        request.wait_milliseconds = 1;
        scene.begin_fetching(&request).await;
        scene
            .until("NARs are on their way", async || {
                scene.hub.requests("cache nar/") > before + 1
            })
            .await;
        tokio::time::sleep(Duration::from_millis(30 * round)).await;
        scene.kill_agent();
        scene.start_agent().await;
        scene.until_nothing_is_unfinished().await;
    }
    scene.hub.contents().slow = None;
    let answer = scene.start_in_web("demo/app").await.unwrap();
    for package in &packages {
        let base_name = package.path.path.base_name();
        let place = scene
            .state("store/paths")
            .join(base_name)
            .join(package.path.nar_hash.digest_nix32());
        let (hash, _) = store::pack::nar_hash_and_size(&place).unwrap();
        assert_eq!(hash, package.path.nar_hash);
        assert!(answer.mount_source.contains("/store/mounts/"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_goes_away_in_the_middle_is_told_and_the_next_start_completes() {
    testkit::require!(root);
    let mut scene = Scene::start().await;
    // More than are fetched at once, however many processors there are.
    let packages: Vec<_> = (0..20)
        .map(|number| Package::noise(&format!("package{number}"), 100_000))
        .collect();
    scene.hub.push("demo/app", &packages);
    scene.hub.contents().slow = Some(Duration::from_millis(20));
    let mut request = scene.request("web", "demo/app");
    request.wait_milliseconds = 1;
    scene.begin_fetching(&request).await;
    scene
        .until("NARs are on their way", async || {
            scene.hub.requests("cache nar/") > 1
        })
        .await;
    scene.hub.stop().await;
    request.wait_milliseconds = 60_000;
    let (code, message) = scene.prepare(&request).await.unwrap_err();
    assert_eq!(code, Code::UNAVAILABLE);
    assert!(
        message.starts_with("demo/app:1 cannot be had: cannot fetch /nix/store/"),
        "{message}"
    );
    assert!(
        message.contains(&format!("http://{}/cache/demo", scene.hub.address)),
        "{message}"
    );
    scene.until_nothing_is_unfinished().await;
    scene.hub.contents().slow = None;
    scene.hub.resume().await;
    scene.prepare(&request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_and_nothing_half_placed_stays() {
    testkit::require!(root);
    let mut scene = Scene::start().await;
    scene.kill_agent();
    scene.mount_state("2m");
    scene.start_agent().await;
    scene.hub.push("demo/app", &packages());
    let (code, message) = scene.start_in_web("demo/app").await.unwrap_err();
    assert_eq!(code, Code::RESOURCE_EXHAUSTED, "{message}");
    let filesystem = format!("the file system at {} has ", scene.path("state").display());
    assert!(
        message.contains(&filesystem) && message.contains("bytes are needed"),
        "{message}"
    );
    assert!(message.ends_with("run `nival-agent collect`"), "{message}");
    assert_eq!(
        scene.hub.requests("cache nar/"),
        0,
        "it is known before anything is downloaded"
    );
    assert_eq!(scene.status().await.store_paths, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_fetches_and_a_new_start_takes_them_up() {
    testkit::require!(root);
    let mut scene = Scene::start().await;
    scene.hub.push("demo/app", &packages());
    scene.hub.contents().held = Some(CancellationToken::new());
    let mut request = scene.request("web", "demo/app");
    request.wait_milliseconds = 1;
    scene.begin_fetching(&request).await;
    scene.stop_agent().await;
    scene.hub.contents().held = None;
    scene.start_agent().await;
    scene.start_in_web("demo/app").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn before_a_full_disk_stops_a_start_what_nobody_needs_goes() {
    testkit::require!(root);
    let mut scene = Scene::start_with("keep_generations = 0").await;
    scene.kill_agent();
    scene.mount_state("3m");
    scene.start_agent().await;
    for (name, bytes) in [("one", 2_000_000), ("two", 2_000_001)] {
        scene.hub.push("demo/app", &[Package::noise(name, bytes)]);
        let mut request = scene.request("web", "demo/app");
        request.sandbox_id = name.to_owned();
        scene.prepare(&request).await.unwrap();
        scene.release(&request.bundle).await;
    }
    assert_eq!(scene.status().await.store_paths, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_high_watermark_what_nobody_needs_goes_by_itself() {
    testkit::require!(root);
    let collect =
        "keep_generations = 0\ncollect.high = 50\ncollect.low = 30\ncollect.every_seconds = 1";
    let mut scene = Scene::start_with(collect).await;
    scene.kill_agent();
    scene.mount_state("10m");
    scene.start_agent().await;
    for name in ["one", "two", "three"] {
        scene
            .hub
            .push(&format!("demo/{name}"), &[Package::noise(name, 2_000_000)]);
        let request = scene.request(name, &format!("demo/{name}"));
        scene.prepare(&request).await.unwrap();
        if name != "three" {
            scene.release(&request.bundle).await;
        }
    }
    let present = async || scene.status().await.store_paths;
    scene
        .until("the disk is below the low watermark", async || {
            present().await == 1
        })
        .await;
    let left = scene.status().await;
    assert!(left.closures[0].pin.starts_with("demo/three:1@") && left.closures[0].mounted);
}
