//! Gives a bundle's lease back, and keeps nobody waiting for that who needs an answer.

use std::path::Path;

use log::debug;
use tokio::task::JoinHandle;

use crate::nival::Agent;
use crate::options::{self, RuntimeOptions};
use crate::server::Busy;

/// Gives a bundle's lease back in a task of its own, as far as that is possible: it ends with the bundle's folder in
/// any case.
///
/// Only then is the container's name free: the next container of this name may have the same bundle, and its lease is
/// not to be taken for this one's.
pub(super) fn release(busy: Busy, options: &RuntimeOptions, bundle: &Path) -> JoinHandle<()> {
    let socket = options::agent_socket(options);
    let bundle = bundle.to_owned();
    tokio::spawn(async move {
        let _busy = busy;
        let Ok(socket) = socket else { return };
        if let Err(error) = Agent::at(&socket).release(&bundle).await {
            debug!("releasing {}: {error}", bundle.display());
        }
    })
}
