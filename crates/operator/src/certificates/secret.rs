//! The Secret in which the replicas share certificates.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use workload::names::OPERATOR;

use super::state::State;
use crate::error::Failure;

/// Its name.
const NAME: &str = "nival-webhook-tls";
/// The key with everything.
const STATE: &str = "state.json";
/// The key with the authorities, for people who want to see them.
const BUNDLE: &str = "ca.crt";

/// The Secret.
#[derive(Debug)]
pub(super) struct Stored(Api<Secret>);

impl Stored {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self(Api::namespaced(client, namespace))
    }

    /// Returns what it holds, if anything, and its version, if it is there.
    pub(super) async fn read(&self) -> Result<(Option<State>, Option<String>), Failure> {
        let Some(secret) = self.0.get_opt(NAME).await? else {
            return Ok((None, None));
        };
        let version = secret.metadata.resource_version;
        let Some(text) = secret.data.and_then(|mut data| data.remove(STATE)) else {
            return Ok((None, version));
        };
        match serde_json::from_slice(&text.0) {
            Ok(state) => Ok((Some(state), version)),
            Err(error) => {
                tracing::warn!(%error, "the Secret {NAME} holds something else than certificates; it is written anew");
                Ok((None, version))
            }
        }
    }

    /// Writes it, unless it was changed since it had this version. Tells whether it was written.
    pub(super) async fn write(
        &self,
        state: &State,
        version: Option<String>,
    ) -> Result<bool, Failure> {
        let data = BTreeMap::from([
            (STATE.to_owned(), ByteString(serde_json::to_vec(state)?)),
            (BUNDLE.to_owned(), ByteString(state.bundle().into_bytes())),
        ]);
        let is_new = version.is_none();
        let written = match version {
            Some(version) => {
                let patch = json!({"metadata": {"resourceVersion": version}, "data": data});
                let parameters = PatchParams {
                    field_manager: Some(OPERATOR.to_owned()),
                    ..PatchParams::default()
                };
                self.0.patch(NAME, &parameters, &Patch::Merge(patch)).await
            }
            None => {
                let secret = Secret {
                    metadata: ObjectMeta {
                        name: Some(NAME.to_owned()),
                        ..ObjectMeta::default()
                    },
                    data: Some(data),
                    ..Secret::default()
                };
                self.0.create(&PostParams::default(), &secret).await
            }
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            // Its role names the Secret, which the API server cannot judge by when one is made.
            Err(kube::Error::Api(status)) if status.code == 403 && is_new => Err(format!(
                "the Secret {NAME} is gone, and the controller may not make one: `helm upgrade` or `kubectl apply` of the manifests does"
            )
            .into()),
            Err(error) => Err(error.into()),
        }
    }
}
