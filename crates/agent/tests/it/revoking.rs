//! Generations that their owner revoked: not started, whatever the hub does to hide it.

use std::path::Path;

use env_spec::Signed;
use nix_data::SecretKey;
use ttrpc::Code;

use crate::hub::{Package, folder, list, program};
use crate::scene::Scene;

/// A node that asks for lists every second.
const EAGER: &str = "revocations.every_seconds = 1";
/// A node that asks for them once.
const LAZY: &str = "revocations.every_seconds = 3600";

fn package() -> Package {
    Package::new("package", folder([("data", program("contents"))]))
}

async fn scene(more: &str) -> (Scene, String) {
    let scene = Scene::start_with(more).await;
    let pin = scene.hub.push("demo/app", &[package()]);
    (scene, pin)
}

/// Checks that a pin is refused as revoked.
async fn refused(scene: &Scene, pin: &str) {
    let (code, message) = scene.start_in_web(pin).await.unwrap_err();
    assert_eq!(code, Code::FAILED_PRECONDITION, "{message}");
    assert_eq!(
        message,
        "demo/app:1 is revoked by demo: leaks the key; let the pod use another generation"
    );
}

/// Waits until the node knows the list of this sequence.
async fn until_known(scene: &Scene, sequence: u64) {
    let known = async || {
        let lists = scene.status().await.revocations;
        lists
            .iter()
            .any(|list| list.owner == "demo" && list.sequence == sequence)
    };
    scene.until("the list is known", known).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_does_not_start_present_or_not_and_what_runs_is_left_alone() {
    testkit::require!(root);
    let (scene, pin) = scene(EAGER).await;
    let running = scene.start_in_web(&pin).await.unwrap();
    assert_eq!(scene.status().await.revocations[0].sequence, 0);
    scene.hub.revoke(1, &[(&pin, "leaks the key")]);
    until_known(&scene, 1).await;
    refused(&scene, &pin).await;
    // By name and by number it is the same generation.
    for reference in ["demo/app", "demo/app:1"] {
        refused(&scene, reference).await;
    }
    let message = scene.command(&["prefetch", &pin]).unwrap_err();
    assert!(
        message.contains("is revoked by demo: leaks the key"),
        "{message}"
    );
    let status = scene.status().await;
    assert_eq!((status.leases.len(), status.revocations[0].revoked), (1, 1));
    let path = running.environment.trim_start_matches("/nix/store/");
    let file = Path::new(&running.mount_source).join(path).join("data");
    assert_eq!(scene.read(&file).unwrap(), "contents");
    assert!(status.closures[0].mounted);
    let shown = scene.command(&["status"]).unwrap();
    assert!(
        shown.contains("revoked  demo: 1 generations (sequence 1, confirmed"),
        "{shown}"
    );

    let next = scene.hub.push("demo/app", &[Package::noise("next", 100)]);
    scene.start_in_web(&next).await.unwrap();
    scene.hub.revoke(2, &[]);
    until_known(&scene, 2).await;
    scene.start_in_web(&pin).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_hub_down_the_list_on_disk_counts_also_after_a_restart() {
    testkit::require!(root);
    let (mut scene, pin) = scene(EAGER).await;
    let other = scene.hub.push("demo/app", &[Package::noise("other", 100)]);
    scene.start_in_web(&pin).await.unwrap();
    scene.start_in_web(&other).await.unwrap();
    scene.hub.revoke(1, &[(&pin, "leaks the key")]);
    until_known(&scene, 1).await;
    scene.hub.stop().await;
    scene.kill_agent();
    scene.start_agent().await;
    refused(&scene, &pin).await;
    scene.start_in_web(&other).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_of_an_owners_environment_asks_first() {
    testkit::require!(root);
    let (scene, pin) = scene(LAZY).await;
    scene.hub.revoke(7, &[(&pin, "leaks the key")]);
    // Sixty pods at once ask once.
    futures::future::join_all((0..60).map(|_| refused(&scene, &pin))).await;
    assert_eq!(scene.hub.requests("cache "), 0, "nothing was fetched");
    assert_eq!(scene.hub.requests("revocations demo"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_a_second_and_a_hidden_list_change_nothing() {
    testkit::require!(root);
    let (mut scene, pin) = scene(EAGER).await;
    scene.hub.revoke(5, &[(&pin, "leaks the key")]);
    refused(&scene, &pin).await;
    let strange = SecretKey::generate_from_seed("evil-1", [9; 32]).unwrap();
    let mut altered = Signed::new(&list(5, &[]), &scene.hub.key).unwrap();
    altered.record = altered.record.replace("\"sequence\":5", "\"sequence\":6");
    let mut foreign = list(6, &[]);
    foreign.owner = "other".to_owned();
    for (served, part) in [
        (
            Some(Signed::new(&list(4, &[]), &scene.hub.key).unwrap()),
            "it has sequence 4, and 5 was seen",
        ),
        (
            Some(Signed::new(&list(5, &[]), &scene.hub.key).unwrap()),
            "two revocation lists have sequence 5",
        ),
        (
            Some(Signed::new(&list(6, &[]), &strange).unwrap()),
            "is not signed by a key trusted",
        ),
        (Some(altered), "is wrong: the record was altered"),
        (
            Some(Signed::new(&foreign, &scene.hub.key).unwrap()),
            "is of \"other\", not of demo",
        ),
        (
            Some(Signed::new(&list(6, &[(&pin, "two\nlines")]), &scene.hub.key).unwrap()),
            "reason for revoking",
        ),
        (None, "hides the revocation list: one with sequence 5"),
    ] {
        scene.hub.contents().revocations = served;
        // Nothing of it is used here, so that each start asks where that is due.
        let logged = async || {
            refused(&scene, &pin).await;
            scene.log().replace('\\', "").contains(part)
        };
        scene.until(part, logged).await;
    }
    scene.kill_agent();
    scene.start_agent().await;
    refused(&scene, &pin).await;
    scene.hub.revoke(6, &[]);
    let starts = async || scene.start_in_web(&pin).await.is_ok();
    scene.until("the next list counts", starts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_list_on_disk_is_not_the_same_as_none() {
    testkit::require!(root);
    let (mut scene, pin) = scene(LAZY).await;
    scene.hub.revoke(1, &[(&pin, "leaks the key")]);
    refused(&scene, &pin).await;
    scene.kill_agent();
    let notes: Vec<_> = fs_err::read_dir(scene.state("revocations"))
        .unwrap()
        .collect();
    assert_eq!(notes.len(), 1);
    fs_err::write(notes[0].as_ref().unwrap().path(), "damaged").unwrap();
    scene.hub.contents().revocations = None;
    scene.start_agent().await;
    let (code, message) = scene.start_in_web(&pin).await.unwrap_err();
    assert_eq!(code, Code::INTERNAL, "{message}");
    assert!(message.contains("cannot keep its own notes"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_trusted_no_more_revokes_nothing() {
    testkit::require!(root);
    let (mut scene, pin) = scene(LAZY).await;
    scene.hub.revoke(1 << 50, &[(&pin, "leaks the key")]);
    refused(&scene, &pin).await;
    scene.kill_agent();
    // The owner signs everything anew with another key, and the old one's list counts no more.
    scene.hub.key = SecretKey::generate_from_seed("demo-2", [2; 32]).unwrap();
    scene.configure(LAZY);
    scene.hub.revoke(1, &[]);
    let pin = scene.hub.push("demo/app", &[package()]);
    scene.start_agent().await;
    scene.start_in_web(&pin).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_hub_holds_up_no_start_whose_list_is_known() {
    testkit::require!(root);
    let (scene, pin) = scene(EAGER).await;
    scene.start_in_web(&pin).await.unwrap();
    scene.hub.contents().silent_about_revocations = true;
    let logged = async || scene.log().contains("the hub did not answer in time");
    scene.until("the hub is silent", logged).await;
    // A container's start has no time to wait.
    let mut request = scene.request("web", &pin);
    request.wait_milliseconds = 0;
    // Answers of the hub about other things may take longer than that; the list's never comes.
    let starts = async || match scene.prepare(&request).await {
        Ok(_) => true,
        Err((code, message)) => {
            let late = code == Code::UNAVAILABLE && message.contains("in time");
            assert!(late, "{message}");
            false
        }
    };
    scene.until("it starts", starts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_maximum_age_pods_wait_with_the_cause() {
    testkit::require!(root);
    let strict = "revocations.every_seconds = 1\nrevocations.max_age_seconds = 2";
    let (mut scene, pin) = scene(strict).await;
    // A list that took long to come is too old at once.
    let starts = async || scene.start_in_web(&pin).await.is_ok();
    scene.until("it starts", starts).await;
    scene.hub.stop().await;
    let parts = [
        "demo/app:1 does not start",
        " s ago",
        "within 2 s",
        "cannot reach the hub",
    ];
    let waits = async || match scene.start_in_web(&pin).await {
        Ok(_) => false,
        Err((code, message)) => {
            assert_eq!(code, Code::UNAVAILABLE, "{message}");
            assert!(!message.contains('\n'), "{message}");
            parts.iter().all(|part| message.contains(part))
        }
    };
    scene
        .until("the list is too old, with the cause", waits)
        .await;
    // Also after a restart: what was never confirmed since is not fresh.
    scene.kill_agent();
    scene.start_agent().await;
    let (code, _) = scene.start_in_web(&pin).await.unwrap_err();
    assert_eq!(code, Code::UNAVAILABLE);
    scene.hub.resume().await;
    let starts = async || scene.start_in_web(&pin).await.is_ok();
    scene.until("the hub confirms again", starts).await;
}
