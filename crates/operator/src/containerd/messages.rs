//! The few messages of the container runtime interface and of containerd's own services that are needed, by their
//! published field numbers; unknown fields are skipped.

use std::collections::HashMap;

/// `runtime.v1.VersionRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct VersionRequest {
    #[prost(string, tag = "1")]
    pub(super) version: String,
}

/// `runtime.v1.VersionResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct VersionResponse {
    #[prost(string, tag = "2")]
    pub(super) runtime_name: String,
    #[prost(string, tag = "3")]
    pub(super) runtime_version: String,
}

/// `runtime.v1.StatusRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct StatusRequest {
    #[prost(bool, tag = "1")]
    pub(super) verbose: bool,
}

/// `runtime.v1.StatusResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StatusResponse {
    #[prost(map = "string, string", tag = "2")]
    pub(super) info: HashMap<String, String>,
}

/// `runtime.v1.ListPodSandboxRequest`, for all of them.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ListPodSandboxRequest {}

/// `runtime.v1.ListPodSandboxResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) items: Vec<PodSandbox>,
}

/// `runtime.v1.PodSandbox`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct PodSandbox {
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<PodSandboxMetadata>,
    #[prost(string, tag = "7")]
    pub(super) runtime_handler: String,
}

/// `runtime.v1.PodSandboxMetadata`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "3")]
    pub(super) namespace: String,
}

/// `runtime.v1.ImageSpec`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ImageSpec {
    #[prost(string, tag = "1")]
    pub(super) image: String,
}

/// `runtime.v1.ImageStatusRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ImageStatusRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<ImageSpec>,
}

/// `runtime.v1.ImageStatusResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ImageStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<CriImage>,
}

/// `runtime.v1.Image`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct CriImage {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(bool, tag = "8")]
    pub(super) pinned: bool,
}

/// `containerd.types.Descriptor`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Descriptor {
    #[prost(string, tag = "1")]
    pub(super) media_type: String,
    #[prost(string, tag = "2")]
    pub(super) digest: String,
    #[prost(int64, tag = "3")]
    pub(super) size: i64,
}

/// `containerd.services.images.v1.Image`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Image {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(map = "string, string", tag = "2")]
    pub(super) labels: HashMap<String, String>,
    #[prost(message, optional, tag = "3")]
    pub(super) target: Option<Descriptor>,
}

/// `CreateImageRequest` and `UpdateImageRequest`, without a mask, of `containerd.services.images.v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ImageRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<Image>,
}

/// The answers to those.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ImageResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<Image>,
}

/// `containerd.services.content.v1.WriteContentRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WriteContentRequest {
    #[prost(int32, tag = "1")]
    pub(super) action: i32,
    #[prost(string, tag = "2")]
    pub(super) reference: String,
    #[prost(int64, tag = "3")]
    pub(super) total: i64,
    #[prost(string, tag = "4")]
    pub(super) expected: String,
    #[prost(bytes = "vec", tag = "6")]
    pub(super) data: Vec<u8>,
    #[prost(map = "string, string", tag = "7")]
    pub(super) labels: HashMap<String, String>,
}

/// `containerd.services.content.v1.WriteContentResponse`, of which nothing is read.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct WriteContentResponse {}

/// The action of a [`WriteContentRequest`] that writes its data and makes the blob whole.
pub(super) const COMMIT: i32 = 2;

/// `containerd.services.leases.v1.CreateRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CreateLeaseRequest {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(map = "string, string", tag = "3")]
    pub(super) labels: HashMap<String, String>,
}

/// `containerd.services.leases.v1.DeleteRequest`, and `containerd.services.images.v1.DeleteImageRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct DeleteRequest {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

/// An answer of which nothing is read.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Nothing {}
