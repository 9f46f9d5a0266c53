//! What builds, serves and so stands for images in the benchmark of a rollout: buildah and a registry, from Debian.

use anyhow::Result;

use super::prefix::Prefix;
use super::step::Steps;
use super::tools::Tools;

const RIVAL: Prefix = Prefix {
    folder: "rival",
    suite: "trixie",
    packages: &["buildah", "docker-registry"],
    programs: &["usr/bin/buildah", "usr/bin/docker-registry"],
};

/// Brings both.
pub(super) fn bring(steps: &Steps, tools: &Tools) -> Result<()> {
    RIVAL.bring(steps, tools)
}
