//! `Create`: the root filesystem, the environment, and the OCI runtime's `create`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use containerd_shim::api::CreateTaskRequest;
use containerd_shim::asynchronous::io::Stdio;
use containerd_shim::protos::events::task::{TaskCreate, TaskIO};
use containerd_shim::protos::types::mount::Mount;
use fs_err as fs;
use log::warn;
use serde_json::Value;
use tokio::sync::oneshot;

use super::delete::delete_container;
use super::{left, release::release};
use crate::cgroup::Cgroup;
use crate::container::{Container, unmount_all};
use crate::error::{Error, Result};
use crate::hook::Listener;
use crate::mount;
use crate::nival::{self, Prepared};
use crate::options::RuntimeOptions;
use crate::process::Process;
use crate::reaper::{Exit, Reaper};
use crate::runtime::Runtime;
use crate::server::{Busy, Creation, Shim};
use crate::spec;
use crate::stdio::Wiring;
use workload::annotations::{self, Role};

const CONFIG: &str = "config.json";
/// How long the runtime may still take when nobody waits any more. containerd asks for the end within 5 s.
const GRACE: Duration = Duration::from_secs(3);
/// containerd and the kubelet write specifications of some 30 KB.
const LARGEST_CONFIG: u64 = 16 << 20;

/// Creates a container. Returns the number of its first process.
///
/// The work goes on in a task of its own when the caller no longer waits, so that it ends, or is undone, as a whole:
/// a container that nobody knows of does not stay.
pub(crate) async fn create(
    shim: &Arc<Shim>,
    request: CreateTaskRequest,
    until: Option<Instant>,
) -> Result<u32> {
    check(&request)?;
    let busy = shim.reserve(&request.id).await?;
    let _given_up = busy.creation().abandoned.clone().drop_guard();
    let (tell, told) = oneshot::channel();
    let shim = shim.clone();
    tokio::spawn(async move {
        let id = request.id.clone();
        let created = make(&shim, &request, busy, until).await;
        if let Err(Ok(_pid)) = tell.send(created)
            && let Ok(container) = shim.container(&id)
        {
            warn!("nobody waits for container {id} any more: it is deleted");
            if let Err(error) = delete_container(&shim, &container).await {
                warn!("deleting {id}: {error}");
            }
        }
    });
    // The one way to no answer is a panic, which is in the log.
    told.await.unwrap_or(Err(Error::Bug { verb: "create" }))
}

fn check(request: &CreateTaskRequest) -> Result<()> {
    if !request.checkpoint.is_empty() {
        return Err(Error::Unsupported {
            verb: "restoring a checkpoint",
            reason: "the shim starts containers from their image alone",
        });
    }
    if request.id.is_empty() || request.id.contains('/') || !request.bundle.starts_with('/') {
        return Err(Error::Request {
            field: "id or bundle",
            reason: format!("{:?} in {:?}", request.id, request.bundle),
        });
    }
    Ok(())
}

async fn make(
    shim: &Arc<Shim>,
    request: &CreateTaskRequest,
    busy: Busy,
    until: Option<Instant>,
) -> Result<u32> {
    let bundle = PathBuf::from(&request.bundle);
    let options = match request.options.as_ref() {
        Some(any) => RuntimeOptions::decode(any)?,
        None => RuntimeOptions::default(),
    };
    options
        .save(&bundle)
        .map_err(Error::path("write to", &bundle))?;
    let mut spec = read_spec(&bundle.join(CONFIG))?;
    let rootfs = bundle.join(
        spec.pointer("/root/path")
            .and_then(Value::as_str)
            .unwrap_or("rootfs"),
    );
    let mut attempt = Attempt {
        shim,
        creation: busy.creation().clone(),
        bundle: &bundle,
        options: &options,
        mounted: bundle.join("rootfs"),
        rootfs: &rootfs,
        leased: false,
    };
    let made = match Box::pin(attempt.run(request, &mut spec, until)).await {
        Ok(made) => made,
        Err(error) => {
            unmount_all(&attempt.mounted);
            let leased = attempt.leased;
            busy.leave();
            if leased {
                // An agent that hangs must not keep the answer, which may say just that.
                release(busy, &options, &bundle);
            }
            return Err(error);
        }
    };
    let (mounted, leased) = (attempt.mounted, attempt.leased);
    let pid = made.first.pid();
    let container = Arc::new(Container {
        id: request.id.clone(),
        bundle,
        rootfs: mounted,
        options,
        runtime: made.runtime,
        first: made.first.clone(),
        cgroup: Cgroup::of(pid).unwrap_or_else(|error| {
            warn!("control groups of {}: {error}", request.id);
            Cgroup::V1(std::collections::BTreeMap::new())
        }),
        shares_processes: spec::shares_processes(&spec),
        leased,
        paused: AtomicBool::new(false),
        environment: Mutex::new(made.prepared.map(|prepared| prepared.exec)),
        hook: Mutex::new(made.hook),
        added: Mutex::default(),
        publisher: shim.publisher().clone(),
        deletion: tokio::sync::Mutex::default(),
        busy: Mutex::new(Some(busy)),
    });
    shim.insert(container.clone());
    container.publish(&TaskCreate {
        container_id: request.id.clone(),
        bundle: request.bundle.clone(),
        rootfs: request.rootfs.clone(),
        io: Some(TaskIO {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
            ..TaskIO::default()
        })
        .into(),
        pid: pid.unsigned_abs(),
        ..TaskCreate::default()
    });
    // After the event, so that an end is told after it.
    container.watch(made.first, made.exit);
    Ok(pid.unsigned_abs())
}

/// A creation under way, and what has to be undone if it fails.
struct Attempt<'a> {
    shim: &'a Arc<Shim>,
    creation: Creation,
    bundle: &'a Path,
    options: &'a RuntimeOptions,
    mounted: PathBuf,
    rootfs: &'a Path,
    leased: bool,
}

/// What a creation has made.
struct Made {
    runtime: Runtime,
    first: Arc<Process>,
    exit: oneshot::Receiver<Exit>,
    prepared: Option<Prepared>,
    /// The environment's pin and the pipe for its init's report.
    hook: Option<(String, Listener)>,
}

impl Attempt<'_> {
    async fn run(
        &mut self,
        request: &CreateTaskRequest,
        spec: &mut Value,
        until: Option<Instant>,
    ) -> Result<Made> {
        let id = &request.id;
        let runtime = Runtime::new(
            self.options,
            self.shim.namespace(),
            self.bundle,
            self.shim.reaper().clone(),
        )?;
        mount(id, &request.rootfs, &self.mounted, self.shim.reaper())?;
        if !self.rootfs.is_dir() {
            return Err(Error::NoRoot {
                path: self.rootfs.to_owned(),
            });
        }
        let abandoned = self.creation.abandoned.clone();
        let stopping = self.shim.stopping().clone();
        let prepared = tokio::select! {
            prepared = self.prepare(id, spec, left(until)) => prepared?,
            // Nobody waits for this fetch any more; what the agent has begun it goes on with.
            () = abandoned.cancelled() => return Err(Error::Abandoned { id: id.clone() }),
            () = stopping.cancelled() => return Err(Error::ShuttingDown),
        };
        let mut hook = None;
        if let Some(prepared) = &prepared {
            write_spec(&self.bundle.join(CONFIG), spec)?;
            if let Some(pin) = &prepared.hook {
                hook = Some((pin.clone(), Listener::open(self.bundle)?));
            }
        }
        let stdio = Stdio::new(
            &request.stdin,
            &request.stdout,
            &request.stderr,
            request.terminal,
        );
        let first = Arc::new(Process::new(id, "", stdio, None));
        let exit = self.run_runtime(&runtime, &first).await?;
        Ok(Made {
            runtime,
            first,
            exit,
            prepared,
            hook,
        })
    }

    /// Asks for what the annotations name, and edits the specification.
    async fn prepare(
        &mut self,
        id: &str,
        spec: &mut Value,
        patience: Option<Duration>,
    ) -> Result<Option<Prepared>> {
        let annotations = spec::annotations(spec);
        // Before the question, since the agent may hold a lease though its answer is lost.
        self.leased = true;
        let (options, bundle) = (self.options, self.bundle);
        if annotations::role(&annotations) == Role::Sandbox {
            self.leased =
                nival::prepare_sandbox(&annotations, options, bundle, id, patience).await?;
            return Ok(None);
        }
        let prepared = nival::prepare_container(
            spec,
            &annotations,
            options,
            bundle,
            self.rootfs,
            id,
            patience,
        )
        .await?;
        self.leased = prepared.is_some();
        Ok(prepared)
    }

    async fn run_runtime(
        &self,
        runtime: &Runtime,
        process: &Process,
    ) -> Result<oneshot::Receiver<Exit>> {
        let id = &process.container;
        let wiring = Wiring::new(&process.stdio, self.options)?;
        let pid_file = self.bundle.join("init.pid");
        let mut arguments: Vec<&OsStr> = vec!["--bundle".as_ref(), self.bundle.as_ref()];
        arguments.extend(["--pid-file".as_ref(), pid_file.as_os_str()]);
        if let Some(socket) = wiring.console() {
            arguments.extend(["--console-socket".as_ref(), socket.as_os_str()]);
        }
        if self.options.no_pivot_root {
            arguments.push("--no-pivot".as_ref());
        }
        if self.options.no_new_keyring {
            arguments.push("--no-new-keyring".as_ref());
        }
        arguments.push(id.as_ref());
        let expectation = self.shim.reaper().expect();
        let driver = wiring.driver();
        let Some(created) = self
            .until_given_up(runtime.run_with("create", &arguments, driver.as_ref()))
            .await
        else {
            remove(runtime, id).await;
            return Err(Error::Abandoned { id: id.clone() });
        };
        created?;
        drop(driver);
        let attached = async {
            let pid = read_pid(&pid_file)?;
            process.set_pid(pid);
            let terminal = wiring.attach(&process.stdio, &process.io()).await?;
            process.set_terminal(terminal);
            Ok(pid)
        };
        match attached.await {
            Ok(pid) => Ok(expectation.claim(pid)),
            Err(error) => {
                process.io().abort().await;
                remove(runtime, id).await;
                Err(error)
            }
        }
    }

    /// Lets a step come to its end, but for a short time only when nobody waits any more.
    async fn until_given_up<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        let mut step = std::pin::pin!(step);
        let abandoned = &self.creation.abandoned;
        tokio::select! {
            done = &mut step => Some(done),
            () = abandoned.cancelled() => tokio::time::timeout(GRACE, step).await.ok(),
        }
    }
}

/// Removes what the runtime has made of a container that failed.
async fn remove(runtime: &Runtime, id: &str) {
    if let Err(error) = runtime.run("delete", &["--force", id]).await {
        warn!("deleting {id} after its failed creation: {error}");
    }
}

/// Reads the number of a process that the runtime has made.
pub(super) fn read_pid(path: &Path) -> Result<i32> {
    let text = fs::read_to_string(path).map_err(Error::path("read", path))?;
    let pid = text.trim().parse().map_err(std::io::Error::other);
    pid.map_err(Error::path("understand", path))
}

fn read_spec(path: &Path) -> Result<Value> {
    let length = fs::metadata(path).map_err(Error::path("read", path))?.len();
    if length > LARGEST_CONFIG {
        return Err(Error::LargeSpec { length });
    }
    let bytes = fs::read(path).map_err(Error::path("read", path))?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Json {
        path: path.to_owned(),
        source,
    })
}

/// Replaces the specification. The bundle is on a temporary filesystem that a power cut empties, so nothing is synced.
fn write_spec(path: &Path, spec: &Value) -> Result<()> {
    let new = path.with_extension("json.new");
    let bytes = serde_json::to_vec(spec).map_err(|source| Error::Json {
        path: path.to_owned(),
        source,
    })?;
    fs::write(&new, bytes).map_err(Error::path("write", &new))?;
    fs::rename(&new, path).map_err(Error::path("write", path))
}

fn mount(id: &str, mounts: &[Mount], target: &Path, reaper: &Reaper) -> Result<()> {
    if mounts.is_empty() {
        return Ok(());
    }
    if !target.is_dir() {
        fs::create_dir(target).map_err(Error::path("make", target))?;
    }
    for mount in mounts {
        mount::mount(mount, target, reaper).map_err(|source| Error::Mount {
            id: id.to_owned(),
            source,
        })?;
    }
    Ok(())
}
