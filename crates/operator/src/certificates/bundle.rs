//! The authorities that the API server trusts when it asks the webhooks.

use std::fmt::Debug;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use workload::names::OPERATOR;

/// The name of both configurations; the chart makes them.
const NAME: &str = "nival";

/// Writes the authorities into every webhook that lacks them.
pub(super) async fn announce(client: &Client, bundle: &str) -> Result<(), kube::Error> {
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    write(&mutating, bundle, |configuration| {
        let webhooks = configuration.webhooks.into_iter().flatten();
        webhooks.map(|one| (one.name, one.client_config)).collect()
    })
    .await?;
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    write(&validating, bundle, |configuration| {
        let webhooks = configuration.webhooks.into_iter().flatten();
        webhooks.map(|one| (one.name, one.client_config)).collect()
    })
    .await
}

async fn write<K>(
    api: &Api<K>,
    bundle: &str,
    webhooks: impl FnOnce(K) -> Vec<(String, WebhookClientConfig)>,
) -> Result<(), kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    // Where admission is not wanted there is none.
    let Some(configuration) = api.get_opt(NAME).await? else {
        return Ok(());
    };
    let is_told = |config: &WebhookClientConfig| {
        let told = config.ca_bundle.as_ref().map(|bundle| bundle.0.as_slice());
        told == Some(bundle.as_bytes())
    };
    let version = configuration.meta().resource_version.clone();
    let lacking: Vec<_> = webhooks(configuration)
        .into_iter()
        .filter(|(_, config)| !is_told(config))
        .map(|(name, _)| json!({"name": name, "clientConfig": {"caBundle": STANDARD.encode(bundle)}}))
        .collect();
    if lacking.is_empty() {
        return Ok(());
    }
    // With the version, so that a webhook that is taken away meanwhile is not half made again.
    let patch = json!({"metadata": {"resourceVersion": version}, "webhooks": lacking});
    let parameters = PatchParams {
        field_manager: Some(OPERATOR.to_owned()),
        ..PatchParams::default()
    };
    api.patch(NAME, &parameters, &Patch::Strategic(patch))
        .await?;
    tracing::info!(
        webhooks = lacking.len(),
        "the API server was told whom to trust"
    );
    Ok(())
}
