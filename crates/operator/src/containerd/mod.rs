//! What is asked of containerd, over its socket: which version it is, which handlers it has, and the placeholder image.

mod messages;
mod placeholder;

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use messages::{
    ListPodSandboxRequest, ListPodSandboxResponse, StatusRequest, StatusResponse, VersionRequest,
    VersionResponse,
};

/// Every question is answered at once by a containerd that is well.
const PATIENCE: Duration = Duration::from_secs(20);
/// The namespace of what the kubelet runs.
const NAMESPACE: &str = "k8s.io";

/// Why containerd did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContainerdError {
    #[error("containerd does not answer on {}", socket.display())]
    Connect {
        socket: PathBuf,
        #[source]
        source: tonic::transport::Error,
    },
    #[error("containerd refused {method}: {message}")]
    Refused {
        method: &'static str,
        code: Code,
        message: String,
    },
    #[error("the runtime behind {} is {name:?}: Nival needs containerd", socket.display())]
    OtherRuntime { socket: PathBuf, name: String },
    #[error("containerd's answer to {method} makes no sense")]
    Answer {
        method: &'static str,
        #[source]
        source: serde_json::Error,
    },
}

/// A connection to containerd.
#[derive(Debug, Clone)]
pub(crate) struct Containerd {
    channel: Channel,
    socket: PathBuf,
}

/// A runtime handler, as containerd has it loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handler {
    /// The shim's path; empty where the shim is found by its type.
    pub(crate) path: String,
}

impl Containerd {
    /// Connects to a socket.
    pub(crate) async fn connect(socket: &Path) -> Result<Self, ContainerdError> {
        let path = socket.to_owned();
        // The address is not used, but stands in every request, and has to be a host.
        let endpoint = Endpoint::from_static("http://localhost")
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE);
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let channel = endpoint.connect_with_connector(connector).await;
        Ok(Self {
            channel: channel.map_err(|source| ContainerdError::Connect {
                socket: socket.to_owned(),
                source,
            })?,
            socket: socket.to_owned(),
        })
    }

    /// Returns containerd's version, as it says it.
    pub(crate) async fn version(&self) -> Result<String, ContainerdError> {
        let question = VersionRequest {
            version: "v1".to_owned(),
        };
        let answer: VersionResponse = self
            .ask("/runtime.v1.RuntimeService/Version", question)
            .await?;
        if answer.runtime_name != "containerd" {
            return Err(ContainerdError::OtherRuntime {
                socket: self.socket.clone(),
                name: answer.runtime_name,
            });
        }
        Ok(answer.runtime_version.trim_start_matches('v').to_owned())
    }

    /// Returns a runtime handler, where containerd has it.
    pub(crate) async fn handler(&self, name: &str) -> Result<Option<Handler>, ContainerdError> {
        const METHOD: &str = "/runtime.v1.RuntimeService/Status";
        let answer: StatusResponse = self.ask(METHOD, StatusRequest { verbose: true }).await?;
        // The handlers have a field of their own only since 2.0; the configuration in use is told by all versions.
        let Some(text) = answer.info.get("config") else {
            return Ok(None);
        };
        let config: Value =
            serde_json::from_str(text).map_err(|source| ContainerdError::Answer {
                method: METHOD,
                source,
            })?;
        let handler = &config["containerd"]["runtimes"][name];
        Ok(handler.is_object().then(|| Handler {
            path: handler["runtimePath"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        }))
    }

    /// Returns the pods that a runtime handler runs, as `namespace/name`, ended ones among them.
    pub(crate) async fn pods_of(&self, handler: &str) -> Result<Vec<String>, ContainerdError> {
        let answer: ListPodSandboxResponse = self
            .ask(
                "/runtime.v1.RuntimeService/ListPodSandbox",
                ListPodSandboxRequest {},
            )
            .await?;
        let pods = answer
            .items
            .into_iter()
            .filter(|pod| pod.runtime_handler == handler)
            .map(|pod| {
                let metadata = pod.metadata.unwrap_or_default();
                format!("{}/{}", metadata.namespace, metadata.name)
            });
        let mut pods: Vec<String> = pods.collect();
        pods.sort_unstable();
        Ok(pods)
    }

    async fn ask<Q, A>(&self, method: &'static str, question: Q) -> Result<A, ContainerdError>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut client = self.client(method).await?;
        let answer = client
            .unary(
                request(question, None),
                PathAndQuery::from_static(method),
                ProstCodec::<Q, A>::default(),
            )
            .await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| refused(method, &status))
    }

    async fn client(&self, method: &'static str) -> Result<Grpc<Channel>, ContainerdError> {
        let mut client = Grpc::new(self.channel.clone());
        client
            .ready()
            .await
            .map_err(|error| refused(method, &Status::unavailable(error.to_string())))?;
        Ok(client)
    }
}

/// Returns a request, with the lease that keeps what is made by it.
fn request<M>(message: M, lease: Option<&str>) -> Request<M> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert(
        "containerd-namespace",
        MetadataValue::from_static(NAMESPACE),
    );
    if let Some(lease) = lease.and_then(|lease| lease.parse().ok()) {
        metadata.insert("containerd-lease", lease);
    }
    request
}

fn refused(method: &'static str, status: &Status) -> ContainerdError {
    ContainerdError::Refused {
        method,
        code: status.code(),
        message: status.message().to_owned(),
    }
}
