//! Writes container images as OCI layout archives, with no tool and the same bytes every time.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use fs_err as fs;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// Half a second for all images; the slowest level saves a tenth more and takes seven times as long.
const LEVEL: i32 = 9;

/// An image.
#[derive(Default)]
pub(crate) struct Image<'a> {
    /// Every name that it is known by.
    pub(crate) names: &'a [&'a str],
    /// What it is made of, the lowest first.
    pub(crate) layers: &'a [Layer<'a>],
    /// The image's `config`: command, environment and the like.
    pub(crate) config: Value,
    /// What is told of the image: by registries from its manifest, and by nodes from its configuration.
    pub(crate) labels: BTreeMap<&'a str, String>,
}

/// One layer of an image.
#[derive(Clone, Copy, Default)]
pub(crate) struct Layer<'a> {
    pub(crate) folders: &'a [(&'a str, u32)],
    pub(crate) files: &'a [File<'a>],
    /// Links by name, with what each points to.
    pub(crate) links: &'a [(String, &'a str)],
    /// Whether it is compressed, for images that are sent over a network.
    pub(crate) compressed: bool,
}

/// A file of an image.
#[derive(Clone, Copy)]
pub(crate) struct File<'a> {
    pub(crate) path: &'a str,
    pub(crate) mode: u32,
    pub(crate) content: &'a [u8],
}

/// A layer as it is written.
struct Blob {
    media_type: &'static str,
    bytes: Vec<u8>,
    /// The digest of the archive before it was compressed.
    diff_id: String,
}

impl Image<'_> {
    /// Writes the archive that `ctr images import` takes, and returns the digest of the image's manifest.
    pub(crate) fn write(&self, path: &Path) -> Result<String> {
        let (archive, digest) = self.archive()?;
        fs::write(path, archive)?;
        Ok(digest)
    }

    fn archive(&self) -> Result<(Vec<u8>, String)> {
        let layers: Vec<Blob> = self
            .layers
            .iter()
            .map(Layer::blob)
            .collect::<Result<_>>()
            .context("packing a layer")?;
        let diff_ids: Vec<&str> = layers.iter().map(|layer| &*layer.diff_id).collect();
        let mut own = self.config.clone();
        if !self.labels.is_empty() {
            own["Labels"] = json!(self.labels);
        }
        let config = serde_json::to_vec(&json!({
            "architecture": "amd64",
            "os": "linux",
            "config": own,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [],
        }))?;
        let described: Vec<Value> = layers
            .iter()
            .map(|layer| descriptor(layer.media_type, &layer.bytes))
            .collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", &config),
            "layers": described,
        });
        if !self.labels.is_empty() {
            manifest["annotations"] = json!(self.labels);
        }
        let manifest = serde_json::to_vec(&manifest)?;
        let named = |name: &&str| {
            let mut entry = descriptor("manifest.v1+json", &manifest);
            entry["annotations"] = json!({"io.containerd.image.name": name});
            entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
            entry
        };
        let manifests: Vec<Value> = self.names.iter().map(named).collect();
        let index = serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": manifests}))?;
        let mut archive = Builder::new(Vec::new());
        file(
            &mut archive,
            "oci-layout",
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        file(&mut archive, "index.json", &index)?;
        let blobs = [&config, &manifest]
            .into_iter()
            .chain(layers.iter().map(|layer| &layer.bytes));
        for blob in blobs {
            let name = format!("blobs/{}", digest(blob).replace(':', "/"));
            file(&mut archive, &name, blob)?;
        }
        Ok((archive.into_inner()?, digest(&manifest)))
    }
}

impl Layer<'_> {
    fn blob(&self) -> Result<Blob> {
        let archive = self.archive()?;
        let diff_id = digest(&archive);
        if !self.compressed {
            return Ok(Blob {
                media_type: "layer.v1.tar",
                bytes: archive,
                diff_id,
            });
        }
        Ok(Blob {
            media_type: "layer.v1.tar+zstd",
            bytes: zstd::encode_all(&*archive, LEVEL)?,
            diff_id,
        })
    }

    fn archive(&self) -> Result<Vec<u8>> {
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

fn descriptor(kind: &str, blob: &[u8]) -> Value {
    let media_type = format!("application/vnd.oci.image.{kind}");
    json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
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

fn file(archive: &mut Builder<Vec<u8>>, name: &str, content: &[u8]) -> Result<()> {
    append(archive, name, EntryType::Regular, 0o644, content)
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

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn an_archive_names_its_blobs_by_their_digests_and_is_the_same_twice() -> Result<()> {
        let layer = Layer {
            folders: &[("tmp", 0o1777)],
            files: &[File {
                path: "bin",
                mode: 0o755,
                content: b"program",
            }],
            links: &[("sh".to_owned(), "bin")],
            compressed: false,
        };
        let image = Image {
            names: &["nival.local/test:1"],
            layers: &[
                layer,
                Layer {
                    compressed: true,
                    ..layer
                },
            ],
            config: json!({"Cmd": ["/bin"]}),
            labels: BTreeMap::from([("org.opencontainers.image.title", "test".to_owned())]),
        };
        let (bytes, manifest) = image.archive()?;
        assert_eq!(
            (&bytes, &manifest),
            (&image.archive()?.0, &image.archive()?.1)
        );
        let mut blobs = BTreeMap::new();
        for entry in tar::Archive::new(&*bytes).entries()? {
            let mut entry = entry?;
            let name = entry.path()?.display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            if let Some(hash) = name.strip_prefix("blobs/sha256/") {
                assert_eq!(hash, hex(&Sha256::digest(&content)));
                blobs.insert(format!("sha256:{hash}"), content);
            }
        }
        assert_eq!(blobs.len(), 4);
        let manifest: Value = serde_json::from_slice(&blobs[&manifest])?;
        let title = "org.opencontainers.image.title";
        assert_eq!(manifest["annotations"][title], "test");
        let config = manifest["config"]["digest"].as_str().unwrap();
        let config: Value = serde_json::from_slice(&blobs[config])?;
        assert_eq!(config["config"]["Labels"][title], "test");
        // Both layers hold the same, and one of them is compressed.
        let ids = &config["rootfs"]["diff_ids"];
        assert_eq!(ids[0], ids[1]);
        let [plain, packed] = [0, 1].map(|at| manifest["layers"][at]["digest"].as_str().unwrap());
        assert_eq!(zstd::decode_all(&*blobs[packed])?, blobs[plain]);
        Ok(())
    }
}
