//! From a reference to a folder that a container can have.

use std::path::Path;

use fs_err as fs;
use nix_data::nar::Node;

use crate::hub::{Package, folder, link, program};
use crate::scene::Scene;

/// An environment with a shell that is a link to a link, and a `env` that leads out of the store.
fn packages() -> Vec<Package> {
    let shell = Package::new(
        "shell",
        folder([(
            "bin",
            folder([("bash", program("#!shell")), ("sh", link("bash"))]),
        )]),
    );
    let environment = Package::new(
        "environment",
        folder([(
            "bin",
            folder([
                ("env", link("/usr/bin/env")),
                ("sh", link(&format!("{}/bin/sh", shell.path.path))),
            ]),
        )]),
    );
    vec![environment, shell]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_floating_reference_becomes_a_read_only_folder_with_exactly_the_closure() {
    testkit::require!(root);
    let scene = Scene::start().await;
    let packages = packages();
    let pin = scene.hub.push("demo/app", &packages);
    let answer = scene.start_in_web("demo/app").await.unwrap();
    assert_eq!(answer.pin, pin);
    let environment = packages[0].path.path.to_string();
    assert_eq!(answer.environment, environment);
    let variables: Vec<_> = answer
        .variables
        .iter()
        .map(|one| (one.name.as_str(), one.value.as_str()))
        .collect();
    assert_eq!(
        variables,
        [
            ("NIVAL_ENV", &*environment),
            ("GREETING", "hello ${USER}"),
            ("NIVAL_ENVIRONMENT", &*pin)
        ]
    );
    assert_eq!(answer.search_paths[0].name, "PATH");
    assert_eq!(
        answer.search_paths[0].entries,
        [format!("{environment}/bin")]
    );
    assert_eq!(answer.hook, "echo hook");
    assert_eq!(answer.shell, format!("{environment}/bin/sh"));
    assert_eq!(
        answer.env_program, "",
        "what is not in the closure is not there"
    );

    let listing = scene
        .inside("ls")
        .arg(&answer.mount_source)
        .output()
        .unwrap();
    let mut names: Vec<_> = packages
        .iter()
        .map(|one| one.path.path.base_name().to_owned())
        .collect();
    names.sort();
    assert_eq!(
        String::from_utf8(listing.stdout)
            .unwrap()
            .lines()
            .collect::<Vec<_>>(),
        names
    );
    let file = Path::new(&answer.mount_source)
        .join(packages[1].path.path.base_name())
        .join("bin/bash");
    assert_eq!(scene.read(&file).unwrap(), "#!shell");
    let write = scene
        .inside("sh")
        .args(["-c", "echo x > \"$0\""])
        .arg(&file)
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&write.stderr).contains("Read-only file system"),
        "{write:?}"
    );

    let status = scene.status().await;
    assert_eq!(
        (
            status.store_paths,
            status.leases.len(),
            status.closures.len()
        ),
        (2, 1, 1)
    );
    assert!(status.closures[0].mounted && status.bytes_fetched > 0 && status.peak_memory_kib > 0);
    assert!(fs::symlink_metadata(scene.path("agent.sock")).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_containers_of_a_sandbox_run_what_the_first_one_got() {
    testkit::require!(root);
    let mut scene = Scene::start().await;
    let first = scene.hub.push("demo/app", &packages());
    assert_eq!(scene.start_in_web("demo/app").await.unwrap().pin, first);
    let second = scene.hub.push("demo/app", &[Package::noise("new", 1000)]);
    let mut other = scene.request("web", "demo/app");
    other.container = "other".to_owned();
    assert_eq!(scene.prepare(&other).await.unwrap().pin, first);
    scene.kill_agent();
    scene.start_agent().await;
    assert_eq!(
        scene.prepare(&other).await.unwrap().pin,
        first,
        "also after a restart of the agent"
    );
    let mut restarted = scene.request("web", "demo/app");
    restarted.sandbox_id = "another".to_owned();
    assert_eq!(scene.prepare(&restarted).await.unwrap().pin, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_digests_and_pins_name_one_generation() {
    testkit::require!(root);
    let scene = Scene::start().await;
    let first = scene.hub.push("demo/app", &packages());
    let second = scene.hub.push("demo/app", &[Package::noise("new", 1000)]);
    let digest = first.split_once('@').unwrap().1;
    for reference in ["demo/app:1", &format!("demo/app@{digest}"), &first] {
        assert_eq!(
            scene.start_in_web(reference).await.unwrap().pin,
            first,
            "{reference}"
        );
    }
    let mut pinned = scene.request("web", "demo/app");
    pinned.pin = first.clone();
    pinned.pinned_from = "demo/app 2026-11-23T22:00:00Z".to_owned();
    assert_eq!(scene.prepare(&pinned).await.unwrap().pin, first);
    assert_eq!(scene.start_in_web("demo/app").await.unwrap().pin, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_generation_that_is_present_starts_with_the_hub_down() {
    testkit::require!(root);
    let mut scene = Scene::start().await;
    let pin = scene.hub.push("demo/app", &packages());
    scene.start_in_web("demo/app").await.unwrap();
    scene.hub.make_private("demo/app");
    scene
        .prepare(&scene.request("team-a", "demo/app"))
        .await
        .unwrap();
    scene.hub.stop().await;
    for namespace in ["web", "team-a"] {
        let mut request = scene.request(namespace, "demo/app");
        request.pin = pin.clone();
        request.sandbox_id = "new".to_owned();
        // In web the last answer of the hub, that it is public, counts.
        assert_eq!(
            scene.prepare(&request).await.unwrap().pin,
            pin,
            "{namespace}"
        );
    }
    scene.kill_agent();
    scene.start_agent().await;
    let mut request = scene.request("team-a", "demo/app");
    request.pin = pin.clone();
    assert_eq!(
        scene.prepare(&request).await.unwrap().pin,
        pin,
        "also after a restart of the agent"
    );

    let mut floating = scene.request("team-a", "demo/app");
    floating.sandbox_id = "newer".to_owned();
    let (code, message) = scene.prepare(&floating).await.unwrap_err();
    assert_eq!(code, ttrpc::Code::UNAVAILABLE);
    assert!(
        message.starts_with(
            "cannot ask the hub for the live generation of demo/app: cannot reach the hub"
        ),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mode_dev_adds_its_search_paths() {
    testkit::require!(root);
    let scene = Scene::start().await;
    scene.hub.push_with("demo/app", &packages(), |generation| {
        let plan = &mut generation.systems.values_mut().next().unwrap().activation;
        plan.development_paths
            .insert("CPATH".to_owned(), vec!["/include".to_owned()]);
    });
    let names = |answer: api::agent::PrepareResponse| -> Vec<String> {
        answer
            .search_paths
            .into_iter()
            .map(|one| one.name)
            .collect()
    };
    let mut request = scene.request("web", "demo/app");
    assert_eq!(names(scene.prepare(&request).await.unwrap()), ["PATH"]);
    request.activate_mode = "dev".to_owned();
    assert_eq!(
        names(scene.prepare(&request).await.unwrap()),
        ["CPATH", "PATH"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn prefetching_fetches_and_mounts_nothing() {
    testkit::require!(root);
    let scene = Scene::start().await;
    let pin = scene.hub.push("demo/app", &packages());
    scene.hub.make_private("demo/app");
    let said = scene.command(&["prefetch", "demo/app"]).unwrap();
    assert!(
        said.starts_with(&format!("{pin}: fetched 2 store paths")),
        "{said}"
    );
    assert!(
        scene
            .command(&["prefetch", "demo/app"])
            .unwrap()
            .contains("fetched 0 store paths")
    );
    let status: serde_json::Value =
        serde_json::from_str(&scene.command(&["status", "--json"]).unwrap()).unwrap();
    assert_eq!(status["closures"][0]["pin"], pin.as_str());
    assert_eq!(status["closures"][0]["mounted"], false);
    assert_eq!(status["storePaths"], 2);
    let error = scene.command(&["prefetch", "demo/none"]).unwrap_err();
    assert!(
        error.contains("demo/none does not exist at the hub"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn extra_caches_are_asked_in_the_order_of_the_configuration() {
    testkit::require!(root);
    let packages = packages();
    let other = crate::hub::Hub::start().await;
    packages
        .iter()
        .for_each(|package| other.serve_package(package));
    let cache = format!(
        "[[substituters]]\nurl = \"http://{}/cache/any\"\nbefore_hub = true\n",
        other.address
    );
    let scene = Scene::start_with(&cache).await;
    scene.hub.push("demo/app", &packages);
    scene.start_in_web("demo/app").await.unwrap();
    assert_eq!(
        (other.requests("cache nar/"), scene.hub.requests("cache ")),
        (2, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_lead_out_of_the_closure_or_in_circles_are_not_there() {
    testkit::require!(root);
    let scene = Scene::start().await;
    let up = "../".repeat(30);
    let bin = folder([
        ("bash", link(&format!("{up}bin/sh"))),
        ("env", link("env2")),
        ("env2", link("env")),
        (
            "sh",
            link("/nix/store/00000000000000000000000000000000-absent/bin/sh"),
        ),
    ]);
    scene.hub.push(
        "demo/app",
        &[Package::new("environment", folder([("bin", bin)]))],
    );
    let answer = scene.start_in_web("demo/app").await.unwrap();
    assert_eq!(
        (answer.shell.as_str(), answer.env_program.as_str()),
        ("", "")
    );

    let tools = Package::new(
        "tools",
        folder([("bin", folder([("busybox", program("#!"))]))]),
    );
    let bin = folder([
        (
            "bash",
            link(&format!(
                "../..{}/bin/./busybox",
                tools.path.path.to_string().trim_start_matches("/nix/store")
            )),
        ),
        ("env", link("../bin/bash")),
        (
            "sh",
            Node::File {
                executable: false,
                contents: Vec::new(),
            },
        ),
    ]);
    let environment = Package::new("environment2", folder([("bin", bin)]));
    let path = environment.path.path.to_string();
    scene.hub.push("demo/web", &[environment, tools]);
    let answer = scene.start_in_web("demo/web").await.unwrap();
    assert_eq!(answer.shell, format!("{path}/bin/bash"), "sh is no program");
    assert_eq!(answer.env_program, format!("{path}/bin/env"));
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_outside_any_sandbox_resolve_each_for_itself() {
    testkit::require!(root);
    let scene = Scene::start().await;
    let first = scene.hub.push("demo/app", &packages());
    let mut one = scene.request("web", "demo/app");
    one.sandbox_id = String::new();
    assert_eq!(scene.prepare(&one).await.unwrap().pin, first);
    let second = scene.hub.push("demo/app", &[Package::noise("new", 1000)]);
    let mut other = scene.request("web2", "demo/app");
    other.sandbox_id = String::new();
    assert_eq!(scene.prepare(&other).await.unwrap().pin, second);
    assert_eq!(scene.prepare(&one).await.unwrap().pin, first);
}
