//! Single flight: of all who want the same path at the same time, one fetches it and the others wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::layout::Key;

/// The paths that are being fetched.
#[derive(Debug, Default, Clone)]
pub(crate) struct Flights {
    running: Arc<Mutex<HashMap<Key, watch::Receiver<()>>>>,
}

/// Who holds this fetches the path. Dropping it wakes the others, whatever came of it.
#[derive(Debug)]
pub(crate) struct Claim {
    key: Key,
    flights: Flights,
    _end: watch::Sender<()>,
}

/// The end of somebody else's fetch.
#[derive(Debug)]
pub(crate) struct Landing(watch::Receiver<()>);

impl Flights {
    /// Claims a path, or returns how to wait for who has claimed it.
    pub(crate) fn claim(&self, key: &Key) -> Result<Claim, Landing> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = running.get(key) {
            return Err(Landing(receiver.clone()));
        }
        let (end, receiver) = watch::channel(());
        running.insert(key.clone(), receiver);
        Ok(Claim {
            key: key.clone(),
            flights: self.clone(),
            _end: end,
        })
    }
}

impl Landing {
    /// Waits until the other fetch has ended, well or not.
    pub(crate) async fn wait(mut self) {
        // Nothing is ever sent: the channel closes when the claim is dropped.
        while self.0.changed().await.is_ok() {}
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.flights
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}
