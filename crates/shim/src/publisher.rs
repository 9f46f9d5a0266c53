//! Tells containerd what happened, in the order in which it happened.

use std::time::Duration;

use containerd_shim::event::Event;
use containerd_shim::protos::shim::event::Envelope;
use containerd_shim::protos::shim::events::ForwardRequest;
use containerd_shim::protos::shim_async::{Client, EventsClient};
use containerd_shim::util::timestamp;
use log::{debug, warn};
use protobuf::Message;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::any;

/// Where containerd's events are defined.
const PACKAGE: &str = "containerd.events";
/// Events that wait while containerd is away. What comes beyond this is lost, and containerd does not ask for it: an end
/// that it was not told of is one that it does not know of.
const QUEUE: usize = 1024;
/// With the pauses between some 20 s, longer than a restart of containerd takes; then the event is lost.
const ATTEMPTS: u32 = 40;
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(500);
/// How long the last events may take when the shim ends.
const DRAIN: Duration = Duration::from_secs(3);

/// The queue of events.
#[derive(Clone)]
pub(crate) struct Publisher {
    namespace: String,
    queue: mpsc::Sender<Envelope>,
}

impl Publisher {
    /// Begins to deliver to the address where containerd listens for events.
    pub(crate) fn start(address: String, namespace: &str) -> (Self, JoinHandle<()>) {
        let (queue, events) = mpsc::channel(QUEUE);
        let delivery = tokio::spawn(deliver(address, namespace.to_owned(), events));
        let publisher = Self {
            namespace: namespace.to_owned(),
            queue,
        };
        (publisher, delivery)
    }

    /// Queues an event.
    pub(crate) fn publish<E: Event + Message>(&self, event: &E) {
        let topic = event.topic();
        let envelope = timestamp().and_then(|time| {
            Ok(Envelope {
                timestamp: Some(time).into(),
                namespace: self.namespace.clone(),
                topic: topic.clone(),
                event: Some(any::pack(PACKAGE, event)?).into(),
                ..Envelope::default()
            })
        });
        match envelope {
            Ok(envelope) => {
                if self.queue.try_send(envelope).is_err() {
                    warn!("containerd does not take events: {topic} is dropped");
                }
            }
            Err(error) => warn!("event {topic} cannot be encoded: {error}"),
        }
    }

    /// Delivers what is queued, as far as that works in a short time.
    pub(crate) async fn finish(self, delivery: JoinHandle<()>) {
        drop(self);
        if tokio::time::timeout(DRAIN, delivery).await.is_err() {
            debug!("not every event was delivered before the end");
        }
    }
}

async fn deliver(address: String, namespace: String, mut events: mpsc::Receiver<Envelope>) {
    let mut client = None;
    while let Some(envelope) = events.recv().await {
        let request = ForwardRequest {
            envelope: Some(envelope).into(),
            ..ForwardRequest::default()
        };
        // One event at a time, also when it has to be tried again: their order is part of what they say.
        for attempt in 1..=ATTEMPTS {
            match forward(&address, &namespace, &mut client, &request).await {
                Ok(()) => break,
                Err(error) => {
                    debug!("event was not taken (attempt {attempt}): {error}");
                    client = None;
                    if attempt < ATTEMPTS {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }
}

async fn forward(
    address: &str,
    namespace: &str,
    client: &mut Option<EventsClient>,
    request: &ForwardRequest,
) -> ttrpc::Result<()> {
    if client.is_none() {
        let url = if address.starts_with("unix://") {
            address.to_owned()
        } else {
            format!("unix://{address}")
        };
        *client = Some(EventsClient::new(Client::connect(&url).await?));
    }
    let Some(connected) = client else {
        return Ok(());
    };
    let mut context = ttrpc::context::with_duration(CALL_TIMEOUT);
    context.add("containerd-namespace-ttrpc".into(), namespace.to_owned());
    connected.forward(context, request).await.map(drop)
}
