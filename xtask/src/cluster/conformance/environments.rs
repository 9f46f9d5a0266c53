//! The suite's images as environments: the same programs, published once, and a rule that puts pods onto them.

use anyhow::Result;
use testkit::{Cluster, Stack};

/// Maps every test image to an environment, at admission.
const MAPPING: &str = include_str!("mapping.yaml");

/// What no environment can have, by a part of the spec's name.
const EXPLAINED: &[(&str, &str)] = &[
    (
        "should be able to override the image's default command and arguments",
        PATH_IN_IMAGE,
    ),
    (
        "should be able to override the image's default arguments (container cmd)",
        PATH_IN_IMAGE,
    ),
    (
        "should be able to override the image's default command (container entrypoint)",
        PATH_IN_IMAGE,
    ),
];

const PATH_IN_IMAGE: &str = "the program prints the path by which the image has it, \
    and an environment's programs have theirs in the store";

/// Publishes an environment for each kind of test image.
pub(super) fn publish(stack: &Stack) -> Result<()> {
    let programs = testkit::setup::dir().join("conformance/programs");
    let add = |name: &str| {
        let folder = programs.join(name);
        stack.laptop.shell(&format!(
            "nix --extra-experimental-features nix-command store add --name e2e-{name} {}",
            folder.display()
        ))
    };
    let (shell, server) = (add("shell")?, add("server")?);
    let environments = [
        (
            "shell",
            format!("shell.store-path = \"{}\"\n", shell.trim()),
        ),
        (
            "server",
            format!(
                "shell.store-path = \"{}\"\nserver.store-path = \"{}\"\n",
                shell.trim(),
                server.trim()
            ),
        ),
    ];
    for (name, install) in environments {
        let manifest =
            format!("version = 1\n[install]\n{install}[options]\nsystems = [\"x86_64-linux\"]\n");
        stack.publish_manifest(name, &manifest, "--public")?;
    }
    Ok(())
}

/// Applies the rule.
pub(super) fn map_images(cluster: &Cluster) -> Result<()> {
    Ok(cluster.apply(MAPPING)?)
}

/// Returns why a spec cannot hold for pods from environments, if it cannot.
pub(super) fn explained(spec: &str) -> Option<&'static str> {
    let found = EXPLAINED.iter().find(|(part, _)| spec.contains(part));
    found.map(|(_, reason)| *reason)
}
