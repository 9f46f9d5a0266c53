//! Writes container images as OCI layout archives, with no tool and the same bytes every time.

use std::path::Path;

use anyhow::Result;
use fs_err as fs;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::step::hex;

/// An image of one layer.
pub(super) struct Image<'a> {
    /// Every name that it is known by.
    pub(super) names: &'a [&'a str],
    pub(super) folders: &'a [(&'a str, u32)],
    pub(super) files: &'a [File<'a>],
    /// Links by name, with what each points to.
    pub(super) links: &'a [(String, &'a str)],
    /// The image's `config`: command, environment and the like.
    pub(super) config: Value,
}

/// A file of an image.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) path: &'a str,
    pub(super) mode: u32,
    pub(super) content: &'a [u8],
}

impl Image<'_> {
    /// Writes the archive that `ctr images import` takes.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        Ok(fs::write(path, self.archive()?)?)
    }

    fn archive(&self) -> Result<Vec<u8>> {
        let layer = self.layer()?;
        let config = serde_json::to_vec(&json!({
            "architecture": "amd64",
            "os": "linux",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
            "history": [],
        }))?;
        let descriptor = |kind: &str, blob: &[u8]| {
            let media_type = format!("application/vnd.oci.image.{kind}");
            json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
        };
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", &config),
            "layers": [descriptor("layer.v1.tar", &layer)],
        }))?;
        let named = |name: &&str| {
            let mut entry = descriptor("manifest.v1+json", &manifest);
            entry["annotations"] = json!({"io.containerd.image.name": name});
            entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
            entry
        };
        let manifests: Vec<Value> = self.names.iter().map(named).collect();
        let index = serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": manifests}))?;
        let mut archive = Builder::new(Vec::new());
        append(
            &mut archive,
            "oci-layout",
            EntryType::Regular,
            0o644,
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        append(
            &mut archive,
            "index.json",
            EntryType::Regular,
            0o644,
            &index,
        )?;
        for blob in [&config, &manifest, &layer] {
            let name = format!("blobs/{}", digest(blob).replace(':', "/"));
            append(&mut archive, &name, EntryType::Regular, 0o644, blob)?;
        }
        Ok(archive.into_inner()?)
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut layer = Builder::new(Vec::new());
        for (folder, mode) in self.folders {
            append(
                &mut layer,
                &format!("{folder}/"),
                EntryType::Directory,
                *mode,
                &[],
            )?;
        }
        for file in self.files {
            append(
                &mut layer,
                file.path,
                EntryType::Regular,
                file.mode,
                file.content,
            )?;
        }
        for (link, target) in self.links {
            let mut header = header(EntryType::Symlink, 0o777, 0);
            layer.append_link(&mut header, link, target)?;
        }
        Ok(layer.into_inner()?)
    }
}

/// No time, no user: nothing that could differ from one run to the next.
fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn append(
    archive: &mut Builder<Vec<u8>>,
    name: &str,
    kind: EntryType,
    mode: u32,
    content: &[u8],
) -> Result<()> {
    Ok(archive.append_data(&mut header(kind, mode, content.len()), name, content)?)
}

fn digest(blob: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(blob)))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn an_archive_names_its_blobs_by_their_digests_and_is_the_same_twice() -> Result<()> {
        let image = Image {
            names: &["nival.local/test:1"],
            folders: &[("tmp", 0o1777)],
            files: &[File {
                path: "bin",
                mode: 0o755,
                content: b"program",
            }],
            links: &[("sh".to_owned(), "bin")],
            config: json!({"Cmd": ["/bin"]}),
        };
        let bytes = image.archive()?;
        assert_eq!(bytes, image.archive()?);
        let mut blobs = 0;
        for entry in tar::Archive::new(&*bytes).entries()? {
            let mut entry = entry?;
            let name = entry.path()?.display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            if let Some(hash) = name.strip_prefix("blobs/sha256/") {
                assert_eq!(hash, hex(&Sha256::digest(&content)));
                blobs += 1;
            }
        }
        assert_eq!(blobs, 3);
        Ok(())
    }
}
