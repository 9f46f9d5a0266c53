//! Tokens of the cluster's Secrets, which the agent's neighbour hands over.

use ttrpc::Code;

use crate::hub::{Package, TOKEN};
use crate::scene::Scene;

/// team-a may use what is private to demo with a token that is a Secret; the file of the other credential is left out.
const SECRET: &str = "[[allow]]\nnamespaces = [\"secret-*\"]\nenvironments = [\"demo/*\"]\ncredential = \"handed\"\n\
     [credentials.handed]\nsecret = \"nival-system/hub-token\"\n";

async fn scene() -> Scene {
    let scene = Scene::start_with(SECRET).await;
    scene
        .hub
        .push("demo/secret", &[Package::noise("package", 20_000)]);
    scene.hub.make_private("demo/secret");
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_environment_waits_for_its_token_and_runs_with_it() {
    testkit::require!(root);
    let mut scene = scene().await;
    let request = scene.request("secret-a", "demo/secret");
    let (code, message) = scene.prepare(&request).await.unwrap_err();
    assert_eq!(code, Code::UNAVAILABLE, "{message}");
    assert!(
        message.starts_with(
            "credential handed is not here yet: the Secret nival-system/hub-token must"
        ),
        "{message}"
    );
    scene
        .hand_over(&[("handed", &format!("{TOKEN}\n"))])
        .await
        .unwrap();
    let ready = scene.prepare(&request).await.unwrap();
    assert!(ready.pin.starts_with("demo/secret:1@"), "{}", ready.pin);
    // A rule for others gives nothing to this namespace.
    let (code, _) = scene.start_in_web("demo/secret").await.unwrap_err();
    assert_eq!(code, Code::PERMISSION_DENIED);

    // A token that the hub does not take any more is told as such; a new one is used at once.
    scene
        .hub
        .push("demo/secret", &[Package::noise("next", 100)]);
    scene.hand_over(&[("handed", "old-token")]).await.unwrap();
    let other = scene.request("secret-b", "demo/secret");
    let (code, message) = scene.prepare(&other).await.unwrap_err();
    assert_eq!(code, Code::NOT_FOUND, "{message}");
    scene.hand_over(&[("handed", TOKEN)]).await.unwrap();
    let ready = scene.prepare(&other).await.unwrap();
    assert!(ready.pin.starts_with("demo/secret:2@"), "{}", ready.pin);

    let everywhere = [scene.log(), scene.command(&["status", "--json"]).unwrap()];
    assert!(everywhere.iter().all(|text| !text.contains(TOKEN)));
    let before = scene.status().await.instance;
    assert_eq!(scene.status().await.instance, before);
    scene.kill_agent();
    // The file of the other credential has the same token.
    fs_err::remove_file(scene.path("token")).unwrap();
    let found = scene.command_in("grep", &["-rl", TOKEN], &scene.path("state"));
    assert_eq!(found, "", "the token is on the disk");
    scene.start_agent().await;
    assert_ne!(scene.status().await.instance, before);
    // What is there starts without a token; what is not waits again.
    scene
        .prepare(&scene.request("secret-c", &ready.pin))
        .await
        .unwrap();
    scene
        .hub
        .push("demo/secret", &[Package::noise("third", 100)]);
    let (code, _) = scene
        .prepare(&scene.request("secret-d", "demo/secret"))
        .await
        .unwrap_err();
    assert_eq!(code, Code::UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_over_is_checked_and_replaces_all_before() {
    testkit::require!(root);
    let scene = scene().await;
    scene
        .hand_over(&[("handed", TOKEN), ("demo", "x"), ("unknown", "y")])
        .await
        .unwrap();
    for wrong in [
        "",
        "  \n",
        "two words",
        "a\u{0}b",
        "ü",
        &"x".repeat(17 << 10),
    ] {
        let (code, message) = scene.hand_over(&[("handed", wrong)]).await.unwrap_err();
        assert_eq!(code, Code::INVALID_ARGUMENT, "{message}");
        assert!(
            message.contains("the token of credential handed is none"),
            "{message}"
        );
    }
    // Nothing of that took effect, and a file's credential is read from its file.
    scene
        .prepare(&scene.request("secret-a", "demo/secret"))
        .await
        .unwrap();
    scene
        .prepare(&scene.request("team-a", "demo/secret"))
        .await
        .unwrap();
    scene.hand_over(&[]).await.unwrap();
    scene
        .hub
        .push("demo/secret", &[Package::noise("next", 100)]);
    let (code, _) = scene
        .prepare(&scene.request("secret-b", "demo/secret"))
        .await
        .unwrap_err();
    assert_eq!(code, Code::UNAVAILABLE);
}
