//! Reads request bodies: bounded, and not for ever.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use serde::de::DeserializeOwned;

use crate::error::HubError;

/// A request's body, piece by piece.
#[derive(Debug)]
pub(crate) struct Pieces {
    stream: BodyDataStream,
    what: &'static str,
    limit: u64,
    received: u64,
    stall: Duration,
}

impl Pieces {
    /// Starts. `what` names the thing that is sent, for errors.
    pub(crate) fn new(body: Body, what: &'static str, limit: u64, stall: Duration) -> Self {
        Self {
            stream: body.into_data_stream(),
            what,
            limit,
            received: 0,
            stall,
        }
    }

    /// Returns the next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, HubError> {
        let piece = tokio::time::timeout(self.stall, self.stream.next()).await;
        let piece = piece.map_err(|_| HubError::Stalled {
            seconds: self.stall.as_secs(),
        })?;
        let Some(piece) = piece else {
            return Ok(None);
        };
        let received = self.received;
        let piece = piece.map_err(|source| HubError::CutOff { received, source })?;
        self.received += piece.len() as u64;
        if self.received > self.limit {
            return Err(HubError::TooLarge {
                what: self.what,
                limit: self.limit,
            });
        }
        Ok(Some(piece))
    }

    /// Returns all of it.
    pub(crate) async fn collect(mut self) -> Result<Bytes, HubError> {
        let mut all = BytesMut::new();
        while let Some(piece) = self.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// Returns all of it as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T, HubError> {
        let bytes = self.collect().await?;
        serde_json::from_slice(&bytes).map_err(|source| HubError::BadBody { source })
    }
}
