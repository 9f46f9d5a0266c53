//! From a reference to a folder that a container can have.

use std::path::Path;

use fs_err as fs;

use crate::hub::{Package, folder, link, program};
use crate::scene::Scene;

/// An environment with a shell that is a link to a link, and a `env` that leads out of the store.
fn packages() -> Vec<Package> {
    let shell = Package::new("shell", folder([("bin", folder([("bash", program("#!shell")), ("sh", link("bash"))]))]));
    let environment = Package::new(
        "environment",
        folder([(
            "bin",
            folder([("env", link("/usr/bin/env")), ("sh", link(&format!("{}/bin/sh", shell.path.path)))]),
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
    let variables: Vec<_> = answer.variables.iter().map(|one| (one.name.as_str(), one.value.as_str())).collect();
    assert_eq!(
        variables,
        [("NIVAL_ENV", &*environment), ("GREETING", "hello ${USER}"), ("NIVAL_ENVIRONMENT", &*pin)]
    );
    assert_eq!(answer.search_paths[0].name, "PATH");
    assert_eq!(answer.search_paths[0].entries, [format!("{environment}/bin")]);
    assert_eq!(answer.hook, "echo hook");
    assert_eq!(answer.shell, format!("{environment}/bin/sh"));
    assert_eq!(answer.env_program, "", "what is not in the closure is not there");

    let listing = scene.inside("ls").arg(&answer.mount_source).output().unwrap();
    let mut names: Vec<_> = packages.iter().map(|one| one.path.path.base_name().to_owned()).collect();
    names.sort();
    assert_eq!(String::from_utf8(listing.stdout).unwrap().lines().collect::<Vec<_>>(), names);
    let file = Path::new(&answer.mount_source).join(packages[1].path.path.base_name()).join("bin/bash");
    assert_eq!(scene.read(&file).unwrap(), "#!shell");
    let write = scene.inside("sh").args(["-c", "echo x > \"$0\""]).arg(&file).output().unwrap();
    assert!(String::from_utf8_lossy(&write.stderr).contains("Read-only file system"), "{write:?}");

    let status = scene.status().await;
    assert_eq!((status.store_paths, status.leases.len(), status.closures.len()), (2, 1, 1));
    assert!(status.closures[0].mounted && status.bytes_fetched > 0 && status.peak_memory_kib > 0);
    assert!(fs::symlink_metadata(scene.path("agent.sock")).is_ok());
}
