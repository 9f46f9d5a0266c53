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
        && dir().join("containerd/2.3").is_dir()
        && crun().is_dir()
        && guest().is_dir()
        && helm().is_file()
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
        // A machine with nothing but loopback counts as offline to Nix, which then takes nothing from any substituter.
        "substitute = true".to_owned(),
        "sandbox = true".to_owned(),
        format!("sandbox-paths = /bin/sh={}", busybox.display()),
        format!("substituters = file://{}", cache_dir().display()),
        format!("trusted-public-keys = {}", cache_public_key()),
        "flake-registry =".to_owned(),
    ]
    .join("\n")
}

/// Returns the `nix` program; the folder beside it holds `nix-store` and the older `nix-2.26` too.
#[must_use]
pub fn nix() -> PathBuf {
    dir().join("bin/nix")
}

/// Returns the folder that is bound at `/nix` where the test packages are built.
#[must_use]
pub fn nix_root() -> PathBuf {
    dir().join("nix-root/nix")
}

/// Returns a folder with all that a container node has: containerd, ctr, the Go shim, runc, crictl and busybox.
#[must_use]
pub fn node_bin() -> PathBuf {
    dir().join("node/bin")
}

/// Returns `helm`, which installs the chart.
#[must_use]
pub fn helm() -> PathBuf {
    dir().join("helm/bin/helm")
}

/// Returns the folder with crun (`bin/crun`) and the libraries that it brings.
#[must_use]
pub fn crun() -> PathBuf {
    dir().join("crun")
}

/// Returns the folder with the emulated machine: `qemu`, `vmlinuz`, `initrd`, `root.img`.
#[must_use]
pub fn guest() -> PathBuf {
    dir().join("guest")
}

/// Returns the folder with the CNI plugins bridge, loopback and host-local.
#[must_use]
pub fn cni_bin() -> PathBuf {
    dir().join("cni/bin")
}

/// Returns the folder with image archives: `pause.tar`, `placeholder.tar`, `busybox.tar`.
#[must_use]
pub fn images() -> PathBuf {
    dir().join("images")
}

/// Returns the folder with the images of a cluster's own pods and of tests: `coredns.tar`, `agnhost.tar`.
#[must_use]
pub fn cluster_images() -> PathBuf {
    dir().join("images-cluster")
}

/// Returns a signed cache (xz) with the closure of jq alone.
#[must_use]
pub fn xz_cache_dir() -> PathBuf {
    dir().join("packages/cache-xz")
}

/// Returns Nix's configuration where the test packages are built: no network, and no substituter.
#[must_use]
pub fn builder_nix_configuration() -> String {
    let busybox = dir().join("tools/bootstrap/bin/busybox");
    [
        "experimental-features = nix-command flakes".to_owned(),
        "build-users-group =".to_owned(),
        // A machine with nothing but loopback counts as offline to Nix, which then takes nothing from any substituter.
        "substitute = true".to_owned(),
        "sandbox = true".to_owned(),
        format!("sandbox-paths = /bin/sh={}", busybox.display()),
        "substituters =".to_owned(),
        "flake-registry =".to_owned(),
        "max-jobs = auto".to_owned(),
        // What a crash of the machine breaks here is built again.
        "fsync-metadata = false".to_owned(),
    ]
    .join("\n")
}
