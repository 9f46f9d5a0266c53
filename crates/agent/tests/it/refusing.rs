//! What must not start, each with the cause in one line.

use env_spec::Digest;
use fs_err as fs;
use nix_data::SecretKey;
use ttrpc::Code;

use crate::hub::{Hub, Package};
use crate::scene::Scene;

fn package() -> Package {
    Package::noise("package", 20_000)
}

/// Checks that a start in a namespace without rules fails so.
async fn refused(scene: &Scene, reference: &str, code: Code, part: &str) -> String {
    let (found, message) = scene.start_in_web(reference).await.unwrap_err();
    assert_eq!(found, code, "{message}");
    assert!(message.contains(part), "expected {part:?} in {message:?}");
    assert!(!message.contains('\n') && message.len() < 1000, "{message}");
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_environment_is_for_the_namespaces_that_a_rule_names() {
    testkit::require!(root);
    let scene = Scene::start().await;
    scene.hub.push("demo/secret", &[package()]);
    scene.hub.make_private("demo/secret");
    let wanted = format!(
        "environment demo/secret is not visible to namespace web: no policy rule allows it there; add one to {}",
        scene.path("agent.toml").display()
    );
    let message = refused(
        &scene,
        "demo/secret",
        Code::PERMISSION_DENIED,
        "not visible",
    )
    .await;
    assert_eq!(message, wanted);
    scene
        .prepare(&scene.request("team-a", "demo/secret"))
        .await
        .unwrap();
    // Present on the node by now, and refused all the same.
    assert_eq!(
        refused(&scene, "demo/secret", Code::PERMISSION_DENIED, "").await,
        wanted
    );
    let unknown = refused(&scene, "demo/unknown", Code::PERMISSION_DENIED, "").await;
    assert_eq!(
        unknown,
        wanted.replace("demo/secret", "demo/unknown"),
        "a stranger learns nothing of what exists"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_of_a_private_environment_opens_no_other_door() {
    testkit::require!(root);
    let scene = Scene::start().await;
    let secret = scene.hub.push("demo/secret", &[package()]);
    scene.hub.make_private("demo/secret");
    scene.hub.push("demo/open", &[Package::noise("open", 100)]);
    scene
        .prepare(&scene.request("team-a", "demo/secret"))
        .await
        .unwrap();
    let digest = secret.split_once('@').unwrap().1;
    for reference in [
        format!("demo/open@{digest}"),
        format!("demo/open:1@{digest}"),
    ] {
        refused(
            &scene,
            &reference,
            Code::FAILED_PRECONDITION,
            "record is of demo/secret:1, not of demo/open",
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_deny_needs_a_rule_for_public_environments_too() {
    testkit::require!(root);
    let scene = Scene::start_with("policy.default = \"deny\"").await;
    scene.hub.push("demo/app", &[package()]);
    refused(
        &scene,
        "demo/app",
        Code::PERMISSION_DENIED,
        "not visible to namespace web",
    )
    .await;
    scene
        .prepare(&scene.request("team-a", "demo/app"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_named() {
    testkit::require!(root);
    let scene = Scene::start().await;
    scene.hub.push("demo/app", &[package()]);
    refused(
        &scene,
        "demo/app:7",
        Code::NOT_FOUND,
        "generation demo/app:7 does not exist at the hub",
    )
    .await;
    let (code, message) = scene
        .prepare(&scene.request("team-a", "demo/none"))
        .await
        .unwrap_err();
    assert_eq!(code, Code::NOT_FOUND);
    assert!(
        message.contains("the live generation of demo/none does not exist at the hub"),
        "{message}"
    );
    let mut request = scene.request("web", "demo/app");
    request.system = "aarch64-linux".to_owned();
    let (code, message) = scene.prepare(&request).await.unwrap_err();
    assert_eq!(code, Code::FAILED_PRECONDITION);
    assert!(
        message.contains(
            "demo/app:1 has nothing for system aarch64-linux (it has: x86_64-linux): lock and push"
        ),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unsigned_wrongly_signed_altered_and_foreign_records_are_refused() {
    testkit::require!(root);
    let scene = Scene::start().await;
    scene.hub.push("demo/unsigned", &[package()]);
    scene
        .hub
        .tamper("demo/unsigned", 1, |signed| signed.signatures.clear());
    refused(
        &scene,
        "demo/unsigned",
        Code::FAILED_PRECONDITION,
        "generation demo/unsigned:1 is not signed",
    )
    .await;

    let stranger = SecretKey::generate_from_seed("stranger-1", [9; 32]).unwrap();
    scene.hub.push("demo/stranger", &[package()]);
    scene.hub.tamper("demo/stranger", 1, |signed| {
        let generation: env_spec::generation::Generation = signed.read_unverified().unwrap();
        *signed = env_spec::Signed::new(&generation, &stranger).unwrap();
    });
    refused(
        &scene,
        "demo/stranger",
        Code::FAILED_PRECONDITION,
        "not signed by a key trusted for owner demo (signed by: stranger-1",
    )
    .await;

    let namesake = SecretKey::generate_from_seed("demo-1", [9; 32]).unwrap();
    scene.hub.push("demo/namesake", &[package()]);
    scene.hub.tamper("demo/namesake", 1, |signed| {
        let generation: env_spec::generation::Generation = signed.read_unverified().unwrap();
        *signed = env_spec::Signed::new(&generation, &namesake).unwrap();
    });
    refused(
        &scene,
        "demo/namesake",
        Code::FAILED_PRECONDITION,
        "the signature of key demo-1 on generation demo/namesake:1 is wrong",
    )
    .await;

    scene.hub.push("demo/altered", &[package()]);
    scene.hub.tamper("demo/altered", 1, |signed| {
        signed.record = signed.record.replace("hello", "howdy");
    });
    let digest_of_the_original = "the hub sent record sha256:";
    refused(
        &scene,
        "demo/altered",
        Code::FAILED_PRECONDITION,
        digest_of_the_original,
    )
    .await;
    refused(
        &scene,
        "demo/altered:1",
        Code::FAILED_PRECONDITION,
        "the record was altered",
    )
    .await;

    // A good record of another environment in the place of the right one.
    scene.hub.push("demo/foreign", &[package()]);
    scene.hub.push("demo/other", &[package()]);
    let mut other = None;
    scene
        .hub
        .tamper("demo/other", 1, |signed| other = Some(signed.clone()));
    scene
        .hub
        .tamper("demo/foreign", 1, |signed| *signed = other.unwrap());
    refused(
        &scene,
        "demo/foreign:1",
        Code::FAILED_PRECONDITION,
        "record is of demo/other:1, not of demo/foreign:1",
    )
    .await;

    assert_eq!(
        scene.status().await.store_paths,
        0,
        "nothing was fetched for any of them"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_counts_for_its_own_owner_only() {
    testkit::require!(root);
    let scene = Scene::start().await;
    scene.hub.push("other/app", &[package()]);
    refused(
        &scene,
        "other/app",
        Code::FAILED_PRECONDITION,
        "not signed by a key trusted for owner other (signed by: demo-1; trusted: none)",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_fetched_anew() {
    testkit::require!(root);
    let mut scene = Scene::start().await;
    let pin = scene.hub.push("demo/app", &[package()]);
    scene.start_in_web(&pin).await.unwrap();
    let record = fs::read_dir(scene.state("records"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    scene.kill_agent();
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("hello", "howdy")).unwrap();
    scene.start_agent().await;
    let answer = scene.start_in_web(&pin).await.unwrap();
    assert!(
        answer
            .variables
            .iter()
            .any(|one| one.value == "hello ${USER}")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_live_pointer_is_refused_also_after_a_restart() {
    testkit::require!(root);
    let mut scene = Scene::start().await;
    scene.hub.push("demo/app", &[package()]);
    scene.hub.point("demo/app", 1, 8);
    scene.start_in_web("demo/app").await.unwrap();
    scene.hub.point("demo/app", 1, 7);
    scene.kill_agent();
    scene.start_agent().await;
    let mut request = scene.request("web", "demo/app");
    request.sandbox_id = "new".to_owned();
    let (code, message) = scene.prepare(&request).await.unwrap_err();
    assert_eq!(code, Code::FAILED_PRECONDITION);
    assert!(
        message.contains(
            "the live pointer of demo/app is a replay: it has sequence 7, and 8 was seen"
        ),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_of_the_configured_hub_whether_its_reference_names_it_or_not() {
    testkit::require!(root);
    let scene = Scene::start().await;
    let pin = scene.hub.push("demo/app", &[package()]);
    let mut named = scene.request("web", &format!("{}/demo/app", scene.hub.address));
    named.pin = pin.clone();
    named.pinned_from = named.reference.clone();
    scene.prepare(&named).await.unwrap();
    let mut foreign = scene.request("web", "demo/app");
    foreign.pin = format!("hub.example.com/{pin}");
    let (code, message) = scene.prepare(&foreign).await.unwrap_err();
    assert_eq!(code, Code::INVALID_ARGUMENT, "{message}");
    assert!(
        message.contains("is at the hub hub.example.com"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_pins_and_hostile_requests_are_refused() {
    testkit::require!(root);
    let scene = Scene::start().await;
    let pin = scene.hub.push("demo/app", &[package()]);
    let mut stale = scene.request("web", "demo/app:2");
    stale.pin = pin.clone();
    stale.pinned_from = "demo/app 2026-11-23T22:00:00Z".to_owned();
    let (code, message) = scene.prepare(&stale).await.unwrap_err();
    assert_eq!(code, Code::FAILED_PRECONDITION);
    assert!(
        message
            .contains("was made from demo/app, but the pod asks for demo/app:2: the pin is stale"),
        "{message}"
    );

    let long = "a".repeat(5000);
    for reference in ["../../etc", "demo/app\n", "", "demo/app:0", &long] {
        refused(&scene, reference, Code::INVALID_ARGUMENT, "reference").await;
    }
    refused(
        &scene,
        "evil.example.com/demo/app",
        Code::INVALID_ARGUMENT,
        "this node asks http://127.0.0.1:",
    )
    .await;
    let mut request = scene.request("web", "demo/app");
    request.bundle = "/nonexistent/bundle".to_owned();
    assert_eq!(
        scene.prepare(&request).await.unwrap_err().0,
        Code::INVALID_ARGUMENT
    );
    assert_eq!(scene.status().await.leases.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_and_a_wrong_configuration_say_so() {
    testkit::require!(root);
    let scene = Scene::start().await;
    let error = scene.command(&["serve"]).unwrap_err();
    assert!(
        error.contains("the store is in use by another process"),
        "{error}"
    );
    fs::write(scene.path("agent.toml"), "hubb = \"x\"\n").unwrap();
    let error = scene.command(&["serve"]).unwrap_err();
    assert!(
        error.contains("agent.toml is not valid") && error.contains("hubb"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_hub_address_is_said_with_the_address() {
    testkit::require!(root);
    let mut scene = Scene::start().await;
    scene.hub.push("demo/app", &[package()]);
    let mut nobody = Hub::start().await;
    nobody.stop().await;
    scene.hub.stop().await;
    let message = refused(
        &scene,
        "demo/app",
        Code::UNAVAILABLE,
        "cannot reach the hub at http://127.0.0.1:",
    )
    .await;
    assert!(
        message.contains("the hub cannot be asked and was never asked before"),
        "{message}"
    );
    let digest = Digest::of(b"");
    let (code, message) = scene
        .prepare(&scene.request("team-a", &format!("demo/app:1@{digest}")))
        .await
        .unwrap_err();
    assert_eq!(code, Code::UNAVAILABLE);
    assert!(
        message.contains("cannot ask the hub for generation demo/app:1@sha256:"),
        "{message}"
    );
}
