//! Leases and the collector: what is used stays, and nothing leaks.

use std::io::{Read as _, Write as _};
use std::path::Path;

use fs_err as fs;

use crate::hub::Package;
use crate::scene::Scene;

fn package(name: &str) -> Vec<Package> {
    vec![Package::noise(name, 10_000)]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_container_uses_stays_through_kills_until_its_bundle_is_gone() {
    testkit::require!(root);
    let mut scene = Scene::start_with("keep_generations = 0").await;
    scene.hub.push("demo/app", &package("one"));
    let answer = scene.start_in_web("demo/app").await.unwrap();
    scene.kill_agent();
    scene.start_agent().await;
    assert_eq!(scene.status().await.leases.len(), 1);
    assert!(
        scene
            .command(&["collect"])
            .unwrap()
            .starts_with("removed 0 store paths")
    );
    let file = Path::new(&answer.mount_source)
        .join(answer.environment.trim_start_matches("/nix/store/"))
        .join("data");
    assert!(
        scene
            .inside("test")
            .arg("-s")
            .arg(&file)
            .status()
            .unwrap()
            .success(),
        "still mounted"
    );

    // The container ended while the agent was dead, so nobody released it.
    scene.kill_agent();
    fs::remove_dir(scene.path("bundle-web")).unwrap();
    scene.start_agent().await;
    assert_eq!(scene.status().await.leases.len(), 0);
    assert!(
        scene
            .command(&["collect", "--dry-run"])
            .unwrap()
            .starts_with("would remove 1 store paths")
    );
    assert!(
        scene
            .command(&["collect"])
            .unwrap()
            .starts_with("removed 1 store paths")
    );
    let status = scene.status().await;
    assert_eq!((status.store_paths, status.closures.len()), (0, 0));
    assert_eq!(
        fs::read_dir(scene.state("store/mounts")).unwrap().count(),
        0
    );
    assert_eq!(fs::read_dir(scene.state("records")).unwrap().count(), 0);
    let table = scene.read(Path::new("/proc/self/mountinfo")).unwrap();
    assert!(!table.contains("/store/mounts/"), "{table}");
    scene.start_in_web("demo/app").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn releasing_a_sandbox_forgets_what_it_resolved_and_twice_is_harmless() {
    testkit::require!(root);
    let scene = Scene::start().await;
    let first = scene.hub.push("demo/app", &package("one"));
    let mut sandbox = scene.request("web", "demo/app");
    sandbox.container = String::new();
    assert_eq!(scene.prepare(&sandbox).await.unwrap().pin, first);
    let second = scene.hub.push("demo/app", &package("two"));
    assert_eq!(scene.prepare(&sandbox).await.unwrap().pin, first);
    for _ in 0..2 {
        scene.release(&sandbox.bundle).await;
    }
    assert_eq!(scene.prepare(&sandbox).await.unwrap().pin, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_generations_of_an_environment_stay() {
    testkit::require!(root);
    let scene = Scene::start_with("keep_generations = 2").await;
    for name in ["one", "two", "three"] {
        scene.hub.push("demo/app", &package(name));
        let mut request = scene.request("web", "demo/app");
        request.sandbox_id = name.to_owned();
        scene.prepare(&request).await.unwrap();
    }
    scene
        .release(&scene.request("web", "demo/app").bundle)
        .await;
    assert!(
        scene
            .command(&["collect"])
            .unwrap()
            .starts_with("removed 1 store paths")
    );
    let pins: Vec<_> = scene
        .status()
        .await
        .closures
        .into_iter()
        .map(|one| one.pin)
        .collect();
    assert!(
        pins.len() == 2 && pins[0].starts_with("demo/app:3@") && pins[1].starts_with("demo/app:2@"),
        "{pins:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_probes_answer() {
    testkit::require!(root);
    let mut scene = Scene::start().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    scene.kill_agent();
    scene.configure(&format!("metrics = \"{port}\""));
    scene.start_agent().await;
    scene.hub.push("demo/app", &package("one"));
    scene.start_in_web("demo/app").await.unwrap();
    scene.start_in_web("demo/none").await.unwrap_err();
    let get = |path: &str| {
        let mut stream = std::net::TcpStream::connect(port).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(get("/healthz").starts_with("HTTP/1.1 200"));
    assert!(get("/readyz").starts_with("HTTP/1.1 200"));
    let page = get("/metrics");
    for line in [
        "nival_agent_requests_total{method=\"prepare\",outcome=\"ok\"} 1",
        "nival_agent_requests_total{method=\"prepare\",outcome=\"permission-denied\"} 1",
        "nival_agent_store_paths 1",
        "nival_agent_leases 1",
        "nival_agent_prepare_seconds_count 2",
    ] {
        assert!(page.lines().any(|one| one == line), "{line} in {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_what_is_there_and_what_lacks() {
    testkit::require!(root);
    let mut scene = Scene::start().await;
    // The test's hub knows no /v1/info, which is a finding as well.
    let error = scene.command(&["doctor"]).unwrap_err();
    assert!(
        error.contains("ok    kernel: ") && error.contains("ok    agent: it answers"),
        "{error}"
    );
    scene.kill_agent();
    let error = scene.command(&["doctor"]).unwrap_err();
    assert!(
        error.contains("FAIL  agent: no agent answers on"),
        "{error}"
    );
    let state = scene.path("state");
    scene.command_in("mount", &["-t", "tmpfs", "-o", "noexec", "none"], &state);
    let error = scene.command(&["doctor"]).unwrap_err();
    let said = format!("FAIL  disk: {} is mounted noexec", state.display());
    assert!(error.contains(&said), "{error}");
}
