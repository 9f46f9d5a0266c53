//! What builds, serves and so stands for images in the benchmark of a rollout: buildah and a registry, from Debian.

use anyhow::Result;

use super::prefix::Prefix;
use super::step::Steps;
use super::tools::Tools;

const RIVAL: Prefix = Prefix {
    folder: "rival",
    suite: "trixie",
    // buildah looks for a helper that makes networks before it does anything, also where no network is made.
    packages: &["buildah", "docker-registry", "netavark"],
    programs: &[
        "usr/bin/buildah",
        "usr/bin/docker-registry",
        "usr/lib/podman/netavark",
    ],
};

/// Brings both.
pub(super) fn bring(steps: &Steps, tools: &Tools) -> Result<()> {
    RIVAL.bring(steps, tools)
}
