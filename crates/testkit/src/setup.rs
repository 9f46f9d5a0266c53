//! Where `cargo xtask setup` puts the real parts: one folder for all clones of the project.

use std::path::PathBuf;

use fs_err as fs;

/// Returns the set-up folder.
#[must_use]
pub fn dir() -> PathBuf {
    if let Some(folder) = std::env::var_os("NIVAL_SETUP_DIR") {
        return folder.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache
        .unwrap_or_else(|| PathBuf::from("/var/cache"))
        .join("nival-dev")
}

/// Tells whether set-up has run to its end.
#[must_use]
pub fn is_done() -> bool {
    dir().join("packages/cache/nix-cache-info").is_file()
        && dir().join("node/bin/containerd").exists()
}

/// Returns the signed binary cache of the test packages (zstd).
#[must_use]
pub fn cache_dir() -> PathBuf {
    dir().join("packages/cache")
}

/// Returns the public key that the cache is signed with.
///
/// # Panics
/// Before set-up has run.
#[must_use]
pub fn cache_public_key() -> String {
    let path = dir().join("packages/cache-key.public");
    fs::read_to_string(path)
        .expect("set-up has run")
        .trim()
        .to_owned()
}

/// Returns a revision of the package set (`r1`, `r2`).
#[must_use]
pub fn revision(name: &str) -> PathBuf {
    dir().join("packages/revisions").join(name)
}

/// Returns Nix's configuration for a test laptop: the test packages' cache, and nothing of the network.
#[must_use]
pub fn laptop_nix_configuration() -> String {
    let busybox = dir().join("bin/busybox");
    [
        "experimental-features = nix-command flakes".to_owned(),
        "build-users-group =".to_owned(),
        "sandbox = true".to_owned(),
        format!("sandbox-paths = /bin/sh={}", busybox.display()),
        format!("substituters = file://{}", cache_dir().display()),
        format!("trusted-public-keys = {}", cache_public_key()),
        "flake-registry =".to_owned(),
    ]
    .join("\n")
}
