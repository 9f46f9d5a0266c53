//! The API server: how it is reached, and what is asked of it. Objects are JSON, so that all kinds are read alike.

mod error;

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{GetParams, ListParams, LogParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig, NamedAuthInfo};
use kube::core::Request;
use kube::{Client, Config};
use serde_json::Value;

pub(crate) use error::{ClusterError, one_line};

use crate::error::Outcome;
use crate::k8s::flags::{ClusterFlags, checked_namespace};
use crate::k8s::kinds::Kind;

/// Who changes what this program changes, as `metadata.managedFields` says it.
pub(crate) const FIELD_MANAGER: &str = "kubectl-nival";
/// A server that does not accept a connection for so long is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer that stands still for so long does not come any more.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How many objects are asked for at once.
const PAGE: u32 = 500;
/// How many pages are read: half a million objects.
const MOST_PAGES: usize = 1000;

/// A cluster, as the user's configuration reaches it.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    /// The server's address, for messages.
    address: String,
    namespace: String,
}

impl Cluster {
    /// Returns the cluster that the flags mean.
    ///
    /// # Errors
    /// Fails when the configuration names none.
    pub(crate) async fn of(flags: &ClusterFlags) -> Outcome<Self> {
        let mut config = configuration(flags).await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        let address = config.cluster_url.to_string();
        let namespace = match &flags.namespace {
            Some(namespace) => checked_namespace(namespace)?.to_owned(),
            None => checked_namespace(&config.default_namespace)?.to_owned(),
        };
        let client = Client::try_from(config).map_err(|source| ClusterError::Client { source })?;
        Ok(Self {
            client,
            address,
            namespace,
        })
    }

    /// Returns the namespace that is meant where none is named.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the server's address.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns all objects of a kind, of a namespace or of all.
    ///
    /// # Errors
    /// Fails when the server refuses or does not answer.
    pub(crate) async fn list(
        &self,
        kind: Kind,
        namespace: Option<&str>,
    ) -> Result<Vec<Value>, ClusterError> {
        self.list_where(kind, namespace, None).await
    }

    /// Like [`Cluster::list`], of those whose fields are so.
    ///
    /// # Errors
    /// As [`Cluster::list`].
    pub(crate) async fn list_where(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        fields: Option<&str>,
    ) -> Result<Vec<Value>, ClusterError> {
        let mut parameters = ListParams::default();
        if let Some(fields) = fields {
            parameters = parameters.fields(fields);
        }
        self.pages(kind, namespace, parameters, Request::list).await
    }

    /// Like [`Cluster::list`], with nothing of the objects but their metadata.
    ///
    /// # Errors
    /// As [`Cluster::list`].
    pub(crate) async fn list_metadata(
        &self,
        kind: Kind,
        namespace: Option<&str>,
    ) -> Result<Vec<Value>, ClusterError> {
        let parameters = ListParams::default();
        self.pages(kind, namespace, parameters, Request::list_metadata)
            .await
    }

    async fn pages(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        parameters: ListParams,
        ask: impl Fn(
            &Request,
            &ListParams,
        ) -> Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Vec<Value>, ClusterError> {
        let request = Request::new(kind.path(namespace));
        let mut parameters = parameters.limit(PAGE);
        let mut objects = Vec::new();
        for _ in 0..MOST_PAGES {
            let page = ask(&request, &parameters);
            let mut page: Value = self
                .send(page, || format!("list {}", kind.plural()))
                .await?;
            if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
                objects.extend(items);
            }
            match page.pointer("/metadata/continue").and_then(Value::as_str) {
                Some(next) if !next.is_empty() => {
                    parameters = parameters.continue_token(next);
                }
                _ => return Ok(objects),
            }
        }
        Err(ClusterError::TooMany {
            what: kind.plural(),
        })
    }

    /// Returns an object; `None` where there is none of the name.
    ///
    /// # Errors
    /// Fails when the server refuses or does not answer.
    pub(crate) async fn find(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, ClusterError> {
        let request = Request::new(kind.path(namespace)).get(name, &GetParams::default());
        let doing = || format!("get {}/{name}", kind.short());
        match self.send(request, doing).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes an object by a merge patch.
    ///
    /// # Errors
    /// Fails when the server refuses, or when the object is another than the patch's version says.
    pub(crate) async fn patch(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
        dry_run: bool,
    ) -> Result<Value, ClusterError> {
        let parameters = PatchParams {
            dry_run,
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let request = Request::new(kind.path(Some(namespace)));
        let request = request.patch(name, &parameters, &Patch::Merge(patch));
        self.send(request, || format!("change {}/{name}", kind.short()))
            .await
    }

    /// Asks whether an object could be made, without making it.
    ///
    /// # Errors
    /// Fails when the server refuses it.
    pub(crate) async fn try_create(
        &self,
        kind: Kind,
        namespace: &str,
        object: &Value,
    ) -> Result<Value, ClusterError> {
        let parameters = PostParams {
            dry_run: true,
            field_manager: Some(FIELD_MANAGER.to_owned()),
        };
        let request = Request::new(kind.path(Some(namespace)));
        let request = request.create(&parameters, object.to_string().into_bytes());
        self.send(request, || format!("try to make a {}", kind.short()))
            .await
    }

    /// Returns what a container of a pod logged since a time, at most so many bytes of it.
    ///
    /// # Errors
    /// Fails when the server refuses, or cannot reach the pod's node.
    pub(crate) async fn log(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        since: Option<Timestamp>,
        most: i64,
    ) -> Result<String, ClusterError> {
        let parameters = LogParams {
            container: Some(container.to_owned()),
            since_time: since,
            limit_bytes: Some(most),
            ..LogParams::default()
        };
        let request = Request::new(Kind::Pod.path(Some(namespace))).logs(pod, &parameters);
        let told = |source| {
            ClusterError::of_request(&self.address, format!("read the log of pod/{pod}"), source)
        };
        let request = request.map_err(|source| told(kube::Error::BuildRequest(source)))?;
        self.client.request_text(request).await.map_err(told)
    }

    /// Returns the server's version.
    ///
    /// # Errors
    /// Fails when the server does not answer.
    pub(crate) async fn version(&self) -> Result<String, ClusterError> {
        let request = Request::new("/version").list(&ListParams::default());
        let answer: Value = self
            .send(request, || "ask for the version".to_owned())
            .await?;
        let version = answer.get("gitVersion").and_then(Value::as_str);
        Ok(version.unwrap_or("of an unknown version").to_owned())
    }

    async fn send(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        doing: impl Fn() -> String,
    ) -> Result<Value, ClusterError> {
        let told = |source| ClusterError::of_request(&self.address, doing(), source);
        let request = request.map_err(|source| told(kube::Error::BuildRequest(source)))?;
        self.client.request(request).await.map_err(told)
    }
}

async fn configuration(flags: &ClusterFlags) -> Result<Config, ClusterError> {
    let options = KubeConfigOptions {
        context: flags.context.clone(),
        cluster: flags.cluster.clone(),
        user: flags.user.clone(),
    };
    let plain = options.context.is_none() && options.cluster.is_none() && options.user.is_none();
    let told = |source| ClusterError::configuration(flags.kubeconfig.as_deref(), source);
    let read = match &flags.kubeconfig {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let mut file = match read {
        Ok(file) => file,
        // A pod has no such file, but an account.
        Err(error) if plain && flags.kubeconfig.is_none() => {
            return Config::incluster().map_err(|_not_a_pod| told(error));
        }
        Err(error) => return Err(told(error)),
    };
    impersonate(&mut file.auth_infos, flags);
    Config::from_custom_kubeconfig(file, &options)
        .await
        .map_err(told)
}

/// Says in every user's entry as whom to act: which of them counts, the context decides.
fn impersonate(users: &mut [NamedAuthInfo], flags: &ClusterFlags) {
    let Some(name) = &flags.impersonate else {
        return;
    };
    for user in users {
        let user = user.auth_info.get_or_insert_default();
        user.impersonate = Some(name.clone());
        user.impersonate_groups =
            Some(flags.impersonate_groups.clone()).filter(|groups| !groups.is_empty());
    }
}
