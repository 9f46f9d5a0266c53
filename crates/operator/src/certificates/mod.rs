//! The webhooks' certificates: made here, kept in a Secret, renewed long before they expire, and announced to the API
//! server before they are used.

mod bundle;
mod pair;
mod secret;
mod state;

use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use host::error::one_line;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::error::Failure;
use crate::http::Metrics;
use crate::leader::Leadership;
use secret::Stored;
use state::{State, Wish};

/// How often the Secret is looked at, at most and at least.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Keeps the certificates.
pub(crate) struct Keeper {
    stored: Stored,
    client: Client,
    wish: Wish,
    serving: Option<Serving>,
}

/// What is served now.
#[derive(Debug)]
struct Serving {
    certificate: String,
    tls: RustlsConfig,
}

impl Keeper {
    /// Returns a keeper of certificates for these names, each of which lasts so long.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        names: Vec<String>,
        lifetime: Duration,
    ) -> Self {
        Self {
            stored: Stored::new(client.clone(), namespace),
            client,
            wish: Wish { names, lifetime },
            serving: None,
        }
    }

    /// Returns what to serve with, once there is a certificate: whichever replica comes first makes it.
    pub(crate) async fn first(
        &mut self,
        metrics: &Metrics,
        stop: &CancellationToken,
    ) -> Option<RustlsConfig> {
        loop {
            match self.look(false, metrics).await {
                Ok(()) => {
                    if let Some(serving) = &self.serving {
                        return Some(serving.tls.clone());
                    }
                }
                Err(error) => {
                    tracing::error!(
                        "no certificate to serve webhooks with: {}",
                        one_line(&*error)
                    );
                }
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(LOOK.0) => {}
            }
        }
    }

    /// Follows the Secret until told to stop. The leader renews it, and tells the API server whom to trust.
    pub(crate) async fn keep(
        mut self,
        leadership: Leadership,
        metrics: Metrics,
        stop: CancellationToken,
    ) {
        let every = (self.wish.lifetime / 30).clamp(LOOK.0, LOOK.1);
        loop {
            if let Err(error) = self.look(leadership.is_held(), &metrics).await {
                tracing::warn!(
                    "the webhooks' certificate was not looked after: {}",
                    one_line(&*error)
                );
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
        }
    }

    /// Looks once.
    async fn look(&mut self, leads: bool, metrics: &Metrics) -> Result<(), Failure> {
        let now = Timestamp::now();
        let (found, version) = self.stored.read().await?;
        let state = match found {
            None => {
                self.write(State::new(&self.wish, Vec::new(), now)?, version)
                    .await?
            }
            Some(state) if leads => match state.renewed(&self.wish, now)? {
                Some(renewed) => self.write(renewed, version).await?,
                None => Some(state),
            },
            Some(state) => Some(state),
        };
        // Another replica was quicker: the next look finds what it wrote.
        let Some(state) = state else {
            return Ok(());
        };
        // Those who trust come first: only then may the certificate be the one that they are to trust.
        if leads {
            bundle::announce(&self.client, &state.bundle()).await?;
        }
        self.serve(&state).await?;
        metrics.certificate_expires(state.current.expires.as_second());
        Ok(())
    }

    async fn write(&self, state: State, version: Option<String>) -> Result<Option<State>, Failure> {
        let written = self.stored.write(&state, version).await?;
        if written {
            tracing::info!(expires = %state.current.expires, "the webhooks have a new certificate");
        }
        Ok(written.then_some(state))
    }

    async fn serve(&mut self, state: &State) -> Result<(), Failure> {
        let pair = &state.current;
        let pem = || {
            (
                pair.certificate.clone().into_bytes(),
                pair.key.clone().into_bytes(),
            )
        };
        match &mut self.serving {
            Some(serving) if serving.certificate == pair.certificate => {}
            Some(serving) => {
                let (certificate, key) = pem();
                serving.tls.reload_from_pem(certificate, key).await?;
                serving.certificate = pair.certificate.clone();
                tracing::info!(expires = %pair.expires, "serving with a new certificate");
            }
            None => {
                let (certificate, key) = pem();
                self.serving = Some(Serving {
                    tls: RustlsConfig::from_pem(certificate, key).await?,
                    certificate: pair.certificate.clone(),
                });
            }
        }
        Ok(())
    }
}
