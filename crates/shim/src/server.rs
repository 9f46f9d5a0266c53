//! The process that serves a pod's containers for as long as there are any.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use containerd_shim::Flags;
use containerd_shim::protos::shim_async::create_task;
use fs_err as fs;
use log::{error, info};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use ttrpc::r#async::{Server, Service as Methods};
use ttrpc::asynchronous::transport::Listener;

use crate::container::Container;
use crate::error::{Error, Result};
use crate::publisher::Publisher;
use crate::reaper::Reaper;
use crate::service::Service;

/// How long the shim stays without a container: before its first one, and after a creation has failed. containerd
/// ends it sooner, unless it was itself killed in between.
const IDLE: Duration = Duration::from_secs(60);
/// How long a creation under way may take to clean up behind itself at the end.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// The version of containerd's task service that the crate's messages are named for, and the older one with the same
/// messages under another name.
const TASK_V3: &str = "containerd.task.v3.Task";
const TASK_V2: &str = "containerd.task.v2.Task";

/// What the requests of a shim share.
pub(crate) struct Shim {
    namespace: String,
    reaper: Reaper,
    publisher: Publisher,
    containers: Mutex<HashMap<String, Slot>>,
    /// How many containers there are or are being made.
    busy: Arc<watch::Sender<usize>>,
    stopping: CancellationToken,
}

enum Slot {
    Creating(Creation),
    Created(Arc<Container>),
    /// Gone but for its lease, and until when.
    Leaving(CancellationToken),
}

/// A creation under way, as others see it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Creation {
    /// Set when nobody waits for it any more.
    pub(crate) abandoned: CancellationToken,
    /// Set when it has come to its end, good or bad, and has cleaned up behind itself but for its lease.
    over: CancellationToken,
}

impl Shim {
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn reaper(&self) -> &Reaper {
        &self.reaper
    }

    pub(crate) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Set when the shim is about to end.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    fn containers(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a container's name; the name is free again when what is returned goes away.
    pub(crate) async fn reserve(self: &Arc<Self>, id: &str) -> Result<Busy> {
        loop {
            let free = match self.try_reserve(id)? {
                Ok(busy) => return Ok(busy),
                Err(free) => free,
            };
            free.cancelled().await;
        }
    }

    /// Takes a name, or returns what tells that it may be free soon.
    fn try_reserve(self: &Arc<Self>, id: &str) -> Result<Result<Busy, CancellationToken>> {
        if self.stopping.is_cancelled() {
            return Err(Error::ShuttingDown);
        }
        let mut containers = self.containers();
        match containers.get(id) {
            None => {}
            Some(Slot::Leaving(free)) => return Ok(Err(free.clone())),
            Some(Slot::Creating(_) | Slot::Created(_)) => {
                return Err(Error::ContainerExists { id: id.to_owned() });
            }
        }
        let creation = Creation::default();
        containers.insert(id.to_owned(), Slot::Creating(creation.clone()));
        self.busy.send_modify(|count| *count += 1);
        Ok(Ok(Busy {
            shim: self.clone(),
            id: id.to_owned(),
            creation,
            free: CancellationToken::new(),
        }))
    }

    /// Ends a creation under way, since who deletes a container does not wait for it any more.
    pub(crate) async fn end_creation(&self, id: &str) {
        let creation = match self.containers().get(id) {
            Some(Slot::Creating(creation)) => creation.clone(),
            _ => return,
        };
        creation.abandoned.cancel();
        creation.over.cancelled().await;
    }

    pub(crate) fn insert(&self, container: Arc<Container>) {
        let id = container.id.clone();
        let slot = self.containers().insert(id, Slot::Created(container));
        if let Some(Slot::Creating(creation)) = slot {
            creation.over.cancel();
        }
    }

    pub(crate) fn container(&self, id: &str) -> Result<Arc<Container>> {
        match self.containers().get(id) {
            Some(Slot::Created(container)) => Ok(container.clone()),
            Some(Slot::Creating(_) | Slot::Leaving(_)) | None => {
                Err(Error::NoContainer { id: id.to_owned() })
            }
        }
    }

    /// Ends the shim unless it still has containers. One that is being made does not count: containerd gives up on
    /// it when it asks for the end.
    pub(crate) fn shut_down_when_empty(&self) {
        let has_containers = self
            .containers()
            .values()
            .any(|slot| matches!(slot, Slot::Created(_)));
        if !has_containers {
            self.stopping.cancel();
        }
    }

    /// Ends the shim when it has had no container for a while.
    async fn stop_when_idle(&self) {
        let mut counts = self.busy.subscribe();
        loop {
            if counts.wait_for(|count| *count == 0).await.is_err() {
                return;
            }
            let busy_again = counts.wait_for(|count| *count > 0);
            if tokio::time::timeout(IDLE, busy_again).await.is_err() {
                info!("no containers for {} s", IDLE.as_secs());
                self.stopping.cancel();
                return;
            }
        }
    }
}

/// Keeps the shim from ending and a container's name from being taken.
pub(crate) struct Busy {
    shim: Arc<Shim>,
    id: String,
    creation: Creation,
    /// Set when the name is free again.
    free: CancellationToken,
}

impl Busy {
    pub(crate) fn creation(&self) -> &Creation {
        &self.creation
    }

    /// Lets the container be unknown, while its name stays taken until the end.
    pub(crate) fn leave(&self) {
        let leaving = Slot::Leaving(self.free.clone());
        let gone = self.shim.containers().insert(self.id.clone(), leaving);
        // Outside of the lock.
        drop(gone);
        self.creation.over.cancel();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut containers = self.shim.containers();
        if let Some(Slot::Creating(_) | Slot::Leaving(_)) = containers.get(&self.id) {
            containers.remove(&self.id);
        }
        drop(containers);
        self.creation.over.cancel();
        self.free.cancel();
        self.shim.busy.send_modify(|count| *count -= 1);
    }
}

/// Serves on the listener that `start` has put in the place of standard input.
pub(crate) fn serve(flags: &Flags) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(4)
        .enable_all()
        .build()?;
    runtime.block_on(serve_until_stopped(flags))?;
    // A copy that hangs on a dead pipe must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

async fn serve_until_stopped(flags: &Flags) -> io::Result<()> {
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    let socket: Option<PathBuf> = listener.local_addr()?.as_pathname().map(Path::to_owned);
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // The pods outlive a containerd that is stopped, and whoever stops it may signal all that it started.
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ] {
        let mut signals = signal(kind)?;
        tokio::spawn(async move { while signals.recv().await.is_some() {} });
    }
    let reaper = Reaper::default();
    tokio::spawn(reaper.clone().run());

    let address = std::env::var("TTRPC_ADDRESS").map_err(io::Error::other)?;
    let (publisher, delivery) = Publisher::start(address, &flags.namespace);
    let shim = Arc::new(Shim {
        namespace: flags.namespace.clone(),
        reaper,
        publisher: publisher.clone(),
        containers: Mutex::default(),
        busy: Arc::new(watch::Sender::new(0)),
        stopping: CancellationToken::new(),
    });
    let mut server = Server::new()
        .add_listener(Listener::try_from(listener)?)
        .register_service(services(&shim));
    server.start().await.map_err(io::Error::other)?;
    info!("serving {} for {}", flags.id, flags.namespace);

    tokio::select! {
        () = shim.stopping.cancelled() => {}
        () = shim.stop_when_idle() => {}
    }
    let mut counts = shim.busy.subscribe();
    let quiet = counts.wait_for(|count| *count == 0);
    tokio::time::timeout(CLEAN_UP, quiet).await.ok();
    if let Some(socket) = socket
        && let Err(error) = fs::remove_file(&socket)
    {
        error!("{error}");
    }
    server.shutdown().await.map_err(io::Error::other)?;
    drop(server);
    drop(shim);
    publisher.finish(delivery).await;
    Ok(())
}

/// Both versions of the task service, so that every containerd finds its own.
fn services(shim: &Arc<Shim>) -> HashMap<String, Methods> {
    let methods = || {
        let all = create_task(Arc::new(Service(shim.clone())));
        all.into_values().next()
    };
    [TASK_V3, TASK_V2]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), methods()?)))
        .collect()
}
