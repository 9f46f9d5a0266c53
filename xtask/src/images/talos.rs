//! The system extension for Talos Linux: the shim and containerd's handler for it, for machines whose root is read-only.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use fs_err as fs;
use serde_json::json;

use crate::oci::{File, Image, Layer};

const MANIFEST: &str = include_str!("../../../deploy/talos/manifest.yaml");
const PART: &str = include_str!("../../../deploy/talos/10-nival.part");
const SHIM: &str = "containerd-shim-nival-v2";
/// The archive's name.
const FILE: &str = "nival-talos-extension.tar";

/// Every folder on the way to a file.
const FOLDERS: &[(&str, u32)] = &[
    ("rootfs", 0o755),
    ("rootfs/etc", 0o755),
    ("rootfs/etc/cri", 0o755),
    ("rootfs/etc/cri/conf.d", 0o755),
    ("rootfs/usr", 0o755),
    ("rootfs/usr/local", 0o755),
    ("rootfs/usr/local/bin", 0o755),
];

/// Writes it, and returns its name with its digest.
pub(super) fn write(programs: &Path, out: &Path, version: &str) -> Result<(String, String)> {
    let shim = fs::read(programs.join(SHIM))?;
    let manifest = MANIFEST.replace("VERSION", version);
    let name = format!("nival.dev/nival-talos-extension:{version}");
    let shim_path = format!("rootfs/usr/local/bin/{SHIM}");
    let file = |path, mode, content| File {
        path,
        mode,
        content,
    };
    let files = [
        file("manifest.yaml", 0o644, manifest.as_bytes()),
        file(
            "rootfs/etc/cri/conf.d/10-nival.part",
            0o644,
            PART.as_bytes(),
        ),
        file(&shim_path, 0o755, &shim),
    ];
    let digest = Image {
        names: &[&name],
        layers: &[Layer {
            folders: FOLDERS,
            files: &files,
            ..Layer::default()
        }],
        config: json!({}),
        labels: BTreeMap::new(),
    }
    .write(&out.join(FILE))?;
    Ok((name, digest))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use testkit::setup;

    use super::*;

    #[test]
    fn the_image_is_laid_out_as_an_extension_and_is_the_same_twice() {
        let programs = tempfile::tempdir().unwrap();
        fs::write(programs.path().join(SHIM), "shim").unwrap();
        let out = tempfile::tempdir().unwrap();
        let first = write(programs.path(), out.path(), "1.2.3").unwrap();
        assert_eq!(first, write(programs.path(), out.path(), "1.2.3").unwrap());
        // The largest of the archive's blobs that are archives themselves is the only layer.
        let archive = fs::read(out.path().join(FILE)).unwrap();
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(&archive[..]).entries().unwrap() {
            let mut blob = Vec::new();
            std::io::copy(&mut entry.unwrap(), &mut blob).unwrap();
            for inner in tar::Archive::new(&blob[..]).entries().unwrap().flatten() {
                let path = inner.path().unwrap().display().to_string();
                found.insert(path, inner.header().mode().unwrap());
            }
        }
        let mut expected: BTreeMap<String, u32> = FOLDERS
            .iter()
            .map(|(folder, mode)| (format!("{folder}/"), *mode))
            .collect();
        for (file, mode) in [
            ("manifest.yaml", 0o644),
            ("rootfs/etc/cri/conf.d/10-nival.part", 0o644),
            ("rootfs/usr/local/bin/containerd-shim-nival-v2", 0o755),
        ] {
            expected.insert(file.to_owned(), mode);
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn containerd_takes_the_part() {
        testkit::require!(setup);
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("cri.toml");
        fs::write(&part, PART).unwrap();
        let config = folder.path().join("containerd.toml");
        // As Talos has it: the parts are merged into one file without a version, which the first one imports.
        let first = format!("version = 3\nimports = [\"{}\"]\n", part.display());
        fs::write(&config, first).unwrap();
        for containerd in [
            setup::node_bin().join("containerd"),
            setup::dir().join("containerd/2.1/bin/containerd"),
        ] {
            let mut command = Command::new(containerd);
            command
                .arg("--config")
                .arg(&config)
                .args(["config", "dump"]);
            let output = host::process::run(&mut command).unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            for line in [
                "runtimes.nival]",
                "runtimes.runc]",
                "runtime_path = '/usr/local/bin/containerd-shim-nival-v2'",
            ] {
                assert!(text.contains(line), "{line} is missing in {text}");
            }
        }
    }
}
