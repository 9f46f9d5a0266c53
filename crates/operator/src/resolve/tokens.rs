//! The tokens of Secrets that the configuration names.

use api::node::{TOKEN_KEY, token};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::error::TokenError;

/// Where the tokens of Secrets come from.
#[async_trait]
pub(crate) trait Tokens: std::fmt::Debug + Send + Sync {
    /// Returns the token of a Secret.
    async fn token(&self, namespace: &str, name: &str) -> Result<String, TokenError>;
}

/// Reads them from the API server each time, so that a token may be renewed in place.
pub(crate) struct ClusterTokens(pub(crate) Client);

impl std::fmt::Debug for ClusterTokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ClusterTokens")
    }
}

#[async_trait]
impl Tokens for ClusterTokens {
    async fn token(&self, namespace: &str, name: &str) -> Result<String, TokenError> {
        let secrets: Api<Secret> = Api::namespaced(self.0.clone(), namespace);
        let secret = secrets
            .get(name)
            .await
            .map_err(|source| TokenError::Secret {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                source: Box::new(source),
            })?;
        token_of(&secret)
            .map(str::to_owned)
            .ok_or_else(|| TokenError::NoKey {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            })
    }
}

/// Returns the token that a Secret holds.
pub(crate) fn token_of(secret: &Secret) -> Option<&str> {
    let data = secret.data.as_ref()?;
    token(&data.get(TOKEN_KEY)?.0)
}
