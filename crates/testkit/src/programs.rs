//! Where the programs under test are: built by `cargo xtask build`, static, as they ship.

use std::path::{Path, PathBuf};

/// Returns the folder with `nival`, `nival-hub`, `nival-agent`, `nival-operator` and `containerd-shim-nival-v2`.
#[must_use]
pub fn dir() -> PathBuf {
    match std::env::var_os("NIVAL_PROGRAMS") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../target/static/x86_64-unknown-linux-gnu/release"),
    }
}

/// The tag of the images that an installation is upgraded to, and the name of their folder below the others.
pub const NEXT: &str = "next";

/// Returns the folder with the images that `cargo xtask images` made of them.
#[must_use]
pub fn images() -> PathBuf {
    match std::env::var_os("NIVAL_IMAGES") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/images"),
    }
}

/// Tells whether they were built.
#[must_use]
pub fn are_built() -> bool {
    [
        "nival",
        "nival-hub",
        "nival-agent",
        "nival-operator",
        "containerd-shim-nival-v2",
    ]
    .iter()
    .all(|name| dir().join(name).is_file())
}
