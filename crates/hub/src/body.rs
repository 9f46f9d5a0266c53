//! Reads request bodies: bounded, and not for ever.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::http::Request;
use axum::http::header::EXPECT;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use hyper::body::{Frame, SizeHint};
use serde::de::DeserializeOwned;

use crate::error::HubError;

/// The least bytes a second, on average: the slowest lines have more, even for several requests at once.
const LEAST_A_SECOND: u64 = 8 << 10;

/// A request's body, piece by piece.
#[derive(Debug)]
pub(crate) struct Pieces {
    stream: BodyDataStream,
    what: &'static str,
    limit: u64,
    received: u64,
    /// How long the client was waited for; the hub's own work does not count.
    waited: Duration,
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
            waited: Duration::ZERO,
            stall,
        }
    }

    /// Returns the next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, HubError> {
        // Twice the patience for a stall, so that who sends a little and then stalls is told just that.
        let grace = 2 * self.stall + Duration::from_secs(self.received / LEAST_A_SECOND);
        let left = grace.saturating_sub(self.waited);
        let begun = Instant::now();
        let piece = tokio::time::timeout(left.min(self.stall), self.stream.next()).await;
        self.waited += begun.elapsed();
        let piece = piece.map_err(|_| match left < self.stall {
            true => HubError::TooSlow {
                received: self.received,
                seconds: self.waited.as_secs(),
                least: LEAST_A_SECOND,
            },
            false => HubError::Stalled {
                seconds: self.stall.as_secs(),
            },
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

/// How much is read of a body that nobody wants.
const MOST_UNWANTED: u64 = 64 << 20;

/// How long it is read.
const LONGEST_UNWANTED: Duration = Duration::from_secs(5);

/// What a handler leaves of a request's body.
///
/// A client that is still sending while the hub refuses and closes the connection sees it broken, and never learns why.
/// So what is left is read for a while before the refusal goes out.
#[derive(Debug)]
pub(crate) struct Leftover(Arc<Mutex<Option<Body>>>);

/// A body that goes back when the handler lets go of it.
struct Lent {
    body: Option<Body>,
    home: Arc<Mutex<Option<Body>>>,
}

impl Leftover {
    /// Lends the request's body to its handler.
    pub(crate) fn of(request: Request<Body>) -> (Request<Body>, Self) {
        let home = Arc::default();
        // Who asks before sending has sent nothing yet, and is told by the refusal not to.
        if request.headers().contains_key(EXPECT) {
            return (request, Self(home));
        }
        let leftover = Self(Arc::clone(&home));
        (
            request.map(|body| {
                Body::new(Lent {
                    body: Some(body),
                    home,
                })
            }),
            leftover,
        )
    }

    /// Reads and forgets what is left, within bounds.
    pub(crate) async fn drain(self) {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(body) = body.filter(|body| !body.is_end_stream()) else {
            return;
        };
        let pieces = Pieces::new(body, "what nobody wants", MOST_UNWANTED, LONGEST_UNWANTED);
        let drained = tokio::time::timeout(LONGEST_UNWANTED, async {
            let mut pieces = pieces;
            while let Ok(Some(_)) = pieces.next().await {}
        });
        if drained.await.is_err() {
            tracing::debug!("a client is still sending what was refused");
        }
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body whose pieces come one after another, each after a while.
    fn slow(pieces: usize, size: usize, pause: Duration) -> Pieces {
        let stream = futures::stream::iter(0..pieces).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; size]))
        });
        let stall = Duration::from_millis(500);
        Pieces::new(Body::from_stream(stream), "the record", 1 << 20, stall)
    }

    #[tokio::test]
    async fn a_body_that_trickles_is_refused_though_it_never_stalls() {
        let outcome = slow(100, 1, Duration::from_millis(50)).collect().await;
        assert!(
            matches!(
                outcome,
                Err(HubError::TooSlow {
                    received: 1..=21,
                    ..
                })
            ),
            "{outcome:?}"
        );
    }

    #[tokio::test]
    async fn a_body_may_take_long_if_it_is_large() {
        // A piece pays for two seconds.
        let outcome = slow(15, 16 << 10, Duration::from_millis(50))
            .collect()
            .await;
        assert_eq!(outcome.unwrap().len(), 15 * (16 << 10));
    }
}
