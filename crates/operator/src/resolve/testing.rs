//! Stand-ins for the hub and the cluster's Secrets.

use async_trait::async_trait;
use axum::Router;
use tokio::net::TcpListener;

use super::error::TokenError;
use super::tokens::Tokens;

/// A cluster without Secrets.
#[derive(Debug)]
pub(crate) struct NoTokens;

#[async_trait]
impl Tokens for NoTokens {
    async fn token(&self, _: &str, _: &str) -> Result<String, TokenError> {
        Err(TokenError::Absent)
    }
}

/// Serves a hub's answers, and returns its address.
pub(super) async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    host::tls::install();
    address
}
