//! A configuration that is edited under an agent that serves.

use fs_err as fs;
use nix_data::SecretKey;
use tokio_util::sync::CancellationToken;
use ttrpc::Code;

use crate::hub::Package;
use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_configuration_counts_and_a_mistake_changes_nothing() {
    testkit::require!(root);
    let scene = Scene::start().await;
    let pin = scene
        .hub
        .push("demo/app", &[Package::noise("package", 20_000)]);
    scene.start_in_web(&pin).await.unwrap();
    let instance = scene.status().await.instance;
    // A configuration that says nothing, or cannot be served, is told and changes nothing; nor does taking it back.
    let file = scene.path("agent.toml");
    let text = fs::read_to_string(&file).unwrap();
    for (mistake, told) in [
        ("hubb = 1\n", "hubb"),
        (
            "substituters = [{ url = \"cache.example.com\" }]\n",
            "cache.example.com",
        ),
    ] {
        fs::write(&file, format!("{mistake}{text}")).unwrap();
        let is_told = |line: &str| line.contains("stays in force") && line.contains(told);
        scene
            .until("the mistake is told", async || {
                scene.log().lines().any(is_told)
            })
            .await;
        fs::write(&file, &text).unwrap();
    }
    scene.start_in_web(&pin).await.unwrap();
    assert_eq!(scene.status().await.instance, instance);
    // A key that is not trusted any more: what it signed does not start any more, present or not, and nobody has to restart
    // the agent for it.
    let key = SecretKey::generate_from_seed("demo-2", [3; 32])
        .unwrap()
        .public_key()
        .to_string();
    let other = text.replace(&scene.hub.key.public_key().to_string(), &key);
    fs::write(&file, other).unwrap();
    scene.until_begun_after(&instance).await;
    let (code, message) = scene.start_in_web(&pin).await.unwrap_err();
    assert_eq!(code, Code::FAILED_PRECONDITION, "{message}");
    assert!(message.contains("trusted: demo-2"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_an_edit_ends_is_taken_up_by_the_next_start() {
    testkit::require!(root);
    let scene = Scene::start().await;
    scene
        .hub
        .push("demo/app", &[Package::noise("package", 20_000)]);
    scene.hub.contents().held = Some(CancellationToken::new());
    let mut request = scene.request("web", "demo/app");
    request.wait_milliseconds = 1;
    scene.begin_fetching(&request).await;
    let instance = scene.status().await.instance;
    scene.configure("keep_generations = 7");
    scene.until_begun_after(&instance).await;
    scene.hub.contents().held = None;
    scene.start_in_web("demo/app").await.unwrap();
}
