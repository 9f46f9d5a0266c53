//! The placeholder image: empty but for the folders that a runtime mounts something on, the same bytes on every node.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::uri::PathAndQuery;
use env_spec::Digest;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};
use tonic::Code;
use tonic_prost::ProstCodec;
use workload::names::PLACEHOLDER_IMAGE;

use super::messages::{
    COMMIT, CreateLeaseRequest, DeleteRequest, Descriptor, Image, ImageRequest, ImageResponse,
    ImageSpec, ImageStatusRequest, ImageStatusResponse, Nothing, WriteContentRequest,
    WriteContentResponse,
};
use super::{Containerd, ContainerdError, refused, request};

/// Where a container's runtime mounts something, or where programs expect a folder.
const FOLDERS: [(&str, u32); 15] = [
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("nix", 0o755),
    ("nix/store", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("var", 0o755),
    ("var/tmp", 0o1777),
];

/// Tells the CRI, and so the kubelet, that an image is never to be collected.
const PINNED: (&str, &str) = ("io.cri-containerd.pinned", "pinned");
/// Tells the CRI that the image is its own.
const MANAGED: (&str, &str) = ("io.cri-containerd.image", "managed");
const LEASE: &str = "nival-placeholder";
/// Whatever becomes of this program, containerd forgets the lease then.
const LEASE_SECONDS: i64 = 300;

/// How often, and how many times, it is looked whether the CRI has heard of the image.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOOKS: u32 = 40;

/// A piece of the image.
struct Blob {
    media_type: &'static str,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(kind: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            media_type: kind,
            bytes,
        }
    }

    fn digest(&self) -> String {
        Digest::of(&self.bytes).to_string()
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest(), "size": self.bytes.len()})
    }
}

/// The image as its pieces.
struct Placeholder {
    layer: Blob,
    config: Blob,
    manifest: Blob,
}

impl Placeholder {
    fn new() -> std::io::Result<Self> {
        let layer = Blob::new("application/vnd.oci.image.layer.v1.tar", layer()?);
        let config = Blob::new(
            "application/vnd.oci.image.config.v1+json",
            serde_json::to_vec(&json!({
                "architecture": architecture(),
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [layer.digest()]},
                "history": [],
            }))?,
        );
        let manifest = Blob::new(
            "application/vnd.oci.image.manifest.v1+json",
            serde_json::to_vec(&json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": config.descriptor(),
                "layers": [layer.descriptor()],
            }))?,
        );
        Ok(Self {
            layer,
            config,
            manifest,
        })
    }
}

/// Images name machines as Go does.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// No time, no user: nothing that could differ from one node to the next.
fn layer() -> std::io::Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    for (folder, mode) in FOLDERS {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Directory);
        header.set_mode(mode);
        header.set_size(0);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        layer.append_data(&mut header, format!("{folder}/"), &[][..])?;
    }
    layer.into_inner()
}

impl Containerd {
    /// Tells whether the kubelet finds the placeholder image, and may not collect it.
    async fn has_placeholder(&self) -> Result<bool, ContainerdError> {
        let question = ImageStatusRequest {
            image: Some(ImageSpec {
                image: PLACEHOLDER_IMAGE.to_owned(),
            }),
        };
        let answer: ImageStatusResponse = self
            .ask("/runtime.v1.ImageService/ImageStatus", question)
            .await?;
        Ok(answer.image.is_some_and(|image| image.pinned))
    }

    /// Sees to it that the kubelet finds the placeholder image, and returns whether it does.
    pub(crate) async fn ensure_placeholder(&self) -> Result<bool, ContainerdError> {
        if self.has_placeholder().await? {
            return Ok(true);
        }
        self.import_placeholder().await?;
        tracing::info!(image = PLACEHOLDER_IMAGE, "imported");
        // The CRI hears of new images by an event.
        for _ in 0..LOOKS {
            if self.has_placeholder().await? {
                return Ok(true);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(false)
    }

    /// Gives containerd the placeholder image.
    async fn import_placeholder(&self) -> Result<(), ContainerdError> {
        let image = Placeholder::new().map_err(|source| ContainerdError::Refused {
            method: "the placeholder image",
            code: Code::Internal,
            message: source.to_string(),
        })?;
        self.drop_lease().await?;
        let lease = CreateLeaseRequest {
            id: LEASE.to_owned(),
            labels: HashMap::from([("containerd.io/gc.expire".to_owned(), expiry())]),
        };
        // Until the image is there nothing else keeps its pieces from containerd's own collection.
        let made: Nothing = self
            .ask("/containerd.services.leases.v1.Leases/Create", lease)
            .await?;
        let Nothing {} = made;
        let done = self.import(&image).await;
        self.drop_lease().await?;
        done
    }

    async fn import(&self, image: &Placeholder) -> Result<(), ContainerdError> {
        self.write(&image.layer, HashMap::new()).await?;
        self.write(&image.config, HashMap::new()).await?;
        let refers = HashMap::from([
            (
                "containerd.io/gc.ref.content.config".to_owned(),
                image.config.digest(),
            ),
            (
                "containerd.io/gc.ref.content.l.0".to_owned(),
                image.layer.digest(),
            ),
        ]);
        self.write(&image.manifest, refers).await?;
        let target = Descriptor {
            media_type: image.manifest.media_type.to_owned(),
            digest: image.manifest.digest(),
            size: image.manifest.bytes.len() as i64,
        };
        let labels = [PINNED, MANAGED].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let request = ImageRequest {
            image: Some(Image {
                name: PLACEHOLDER_IMAGE.to_owned(),
                labels: HashMap::from(labels),
                target: Some(target),
            }),
        };
        let created: Result<ImageResponse, _> = self
            .ask(
                "/containerd.services.images.v1.Images/Create",
                request.clone(),
            )
            .await;
        match created {
            Err(ContainerdError::Refused {
                code: Code::AlreadyExists,
                ..
            }) => {
                let updated: Result<ImageResponse, _> = self
                    .ask("/containerd.services.images.v1.Images/Update", request)
                    .await;
                updated.map(drop)
            }
            other => other.map(drop),
        }
    }

    /// Writes a blob, unless it is there.
    async fn write(
        &self,
        blob: &Blob,
        labels: HashMap<String, String>,
    ) -> Result<(), ContainerdError> {
        const METHOD: &str = "/containerd.services.content.v1.Content/Write";
        let digest = blob.digest();
        let message = WriteContentRequest {
            action: COMMIT,
            reference: format!("nival-{digest}"),
            total: blob.bytes.len() as i64,
            expected: digest,
            data: blob.bytes.clone(),
            labels,
        };
        let mut client = self.client(METHOD).await?;
        let messages = futures::stream::iter([message]);
        let codec = ProstCodec::<WriteContentRequest, WriteContentResponse>::default();
        let question = request(messages, Some(LEASE));
        let path = PathAndQuery::from_static(METHOD);
        let ended: Result<(), tonic::Status> = async {
            let mut answers = client.streaming(question, path, codec).await?;
            while answers.get_mut().message().await?.is_some() {}
            Ok(())
        }
        .await;
        match ended {
            Err(status) if status.code() == Code::AlreadyExists => Ok(()),
            Err(status) => Err(refused(METHOD, &status)),
            Ok(()) => Ok(()),
        }
    }

    /// Takes the placeholder image away; containers that were made from it go on.
    pub(crate) async fn remove_placeholder(&self) -> Result<(), ContainerdError> {
        let name = PLACEHOLDER_IMAGE.to_owned();
        self.delete("/containerd.services.images.v1.Images/Delete", name)
            .await
    }

    async fn drop_lease(&self) -> Result<(), ContainerdError> {
        let name = LEASE.to_owned();
        self.delete("/containerd.services.leases.v1.Leases/Delete", name)
            .await
    }

    /// Deletes what may be gone already.
    async fn delete(&self, method: &'static str, name: String) -> Result<(), ContainerdError> {
        let deleted: Result<Nothing, _> = self.ask(method, DeleteRequest { name }).await;
        match deleted {
            Err(ContainerdError::Refused {
                code: Code::NotFound,
                ..
            }) => Ok(()),
            other => other.map(drop),
        }
    }
}

fn expiry() -> String {
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(LEASE_SECONDS);
    end.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_the_same_everywhere() {
        let image = Placeholder::new().unwrap();
        assert_eq!(
            image.layer.digest(),
            Placeholder::new().unwrap().layer.digest()
        );
        let config: Value = serde_json::from_slice(&image.config.bytes).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], image.layer.digest());
        assert_eq!(config["config"], json!({}));
        if cfg!(target_arch = "x86_64") {
            let digest = "sha256:52b563569ab234b6741d18591e3ced9f9a80ed1481f3f5ed1bb7e827db372dd1";
            assert_eq!(image.manifest.digest(), digest);
        }
    }
}
