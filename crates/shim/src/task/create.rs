//! `Create`: the root filesystem, the environment, and the OCI runtime's `create`.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use containerd_shim::api::CreateTaskRequest;
use containerd_shim::asynchronous::io::Stdio;
use containerd_shim::protos::events::task::{TaskCreate, TaskIO};
use containerd_shim::protos::types::mount::Mount;
use fs_err as fs;
use log::warn;
use runc::options::{CreateOpts, DeleteOpts};
use serde_json::Value;

use crate::annotations::{self, Role};
use crate::cgroup::Cgroup;
use crate::container::{Container, unmount_all};
use crate::error::{Error, Result};
use crate::hook::Listener;
use crate::nival::{self, Agent, Prepared};
use crate::options::{self, RuntimeOptions};
use crate::process::Process;
use crate::runtime::Runtime;
use crate::server::{Busy, Shim};
use crate::spec;
use crate::stdio::Wiring;

const CONFIG: &str = "config.json";
/// containerd and the kubelet write specifications of some 30 KB.
const LARGEST_CONFIG: u64 = 16 << 20;

/// Creates a container. Returns the number of its first process.
pub(crate) async fn create(
    shim: &Arc<Shim>,
    request: CreateTaskRequest,
    patience: Option<Duration>,
) -> Result<u32> {
    if !request.checkpoint.is_empty() {
        return Err(Error::Unsupported {
            verb: "restoring a checkpoint",
            reason: "the shim starts containers from their image alone",
        });
    }
    let bundle = PathBuf::from(&request.bundle);
    if request.id.is_empty() || request.id.contains('/') || !bundle.is_absolute() {
        return Err(Error::Request {
            field: "id or bundle",
            reason: format!("{:?} in {:?}", request.id, request.bundle),
        });
    }
    let busy = shim.reserve(&request.id)?;
    let options = match request.options.as_ref() {
        Some(any) => RuntimeOptions::decode(any)?,
        None => RuntimeOptions::default(),
    };
    options
        .save(&bundle)
        .map_err(Error::path("write to", &bundle))?;
    let config = bundle.join(CONFIG);
    let spec = read_spec(&config)?;
    let rootfs = bundle.join(
        spec.pointer("/root/path")
            .and_then(Value::as_str)
            .unwrap_or("rootfs"),
    );
    let mut attempt = Attempt {
        shim,
        bundle: &bundle,
        options: &options,
        mounted: bundle.join("rootfs"),
        rootfs: &rootfs,
        leased: false,
    };
    let created = attempt.run(&request, spec, &config, busy, patience).await;
    if created.is_err() {
        attempt.undo().await;
    }
    created
}

/// A creation under way, and what has to be undone if it fails.
struct Attempt<'a> {
    shim: &'a Arc<Shim>,
    bundle: &'a Path,
    options: &'a RuntimeOptions,
    mounted: PathBuf,
    rootfs: &'a Path,
    leased: bool,
}

impl Attempt<'_> {
    async fn run(
        &mut self,
        request: &CreateTaskRequest,
        mut spec: Value,
        config: &Path,
        busy: Busy,
        patience: Option<Duration>,
    ) -> Result<u32> {
        let runtime = Runtime::new(
            self.options,
            self.shim.namespace(),
            self.bundle,
            self.shim.reaper().clone(),
        )?;
        mount(&request.id, &request.rootfs, &self.mounted)?;
        let stopping = self.shim.stopping().clone();
        let prepared = tokio::select! {
            prepared = self.prepare(&request.id, &mut spec, patience) => prepared?,
            // containerd has given up on this sandbox, so nobody waits for its fetch any more.
            () = stopping.cancelled() => return Err(Error::ShuttingDown),
        };
        let mut hook = None;
        if let Some(prepared) = &prepared {
            write_spec(config, &spec)?;
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
        let process = Arc::new(Process::new(&request.id, "", stdio, None));
        let (pid, exit) = self.run_runtime(&runtime, &process).await?;
        let container = Arc::new(Container {
            id: request.id.clone(),
            bundle: self.bundle.to_owned(),
            rootfs: self.mounted.clone(),
            options: self.options.clone(),
            runtime,
            first: process.clone(),
            cgroup: Cgroup::of(pid).unwrap_or_else(|error| {
                warn!("control groups of {}: {error}", request.id);
                Cgroup::V1(std::collections::BTreeMap::new())
            }),
            shares_processes: spec::shares_processes(&spec),
            leased: self.leased,
            paused: AtomicBool::new(false),
            environment: Mutex::new(prepared.map(|prepared| prepared.exec)),
            hook: Mutex::new(hook),
            added: Mutex::default(),
            publisher: self.shim.publisher().clone(),
            _busy: busy,
        });
        self.shim.insert(container.clone());
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
        container.watch(process, exit);
        Ok(pid.unsigned_abs())
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
    ) -> Result<(i32, tokio::sync::oneshot::Receiver<crate::reaper::Exit>)> {
        let wiring = Wiring::new(&process.stdio, self.options)?;
        let pid_file = self.bundle.join("init.pid");
        let mut arguments = CreateOpts::new()
            .pid_file(&pid_file)
            .no_pivot(self.options.no_pivot_root)
            .no_new_keyring(self.options.no_new_keyring)
            .io(wiring.driver());
        arguments.console_socket = wiring.console().map(Path::to_owned);
        let expectation = self.shim.reaper().expect();
        let id = &process.container;
        runtime
            .client()
            .create(id, self.bundle, Some(&arguments))
            .await
            .map_err(runtime.failure("create"))?;
        drop(arguments);
        let attached = async {
            let pid = read_pid(&pid_file)?;
            process.set_pid(pid);
            let terminal = wiring.attach(&process.stdio, &process.io()).await?;
            process.set_terminal(terminal);
            Ok(pid)
        };
        match attached.await {
            Ok(pid) => Ok((pid, expectation.claim(pid))),
            Err(error) => {
                process.io().abort().await;
                let force = DeleteOpts::new().force(true);
                if let Err(error) = runtime.client().delete(id, Some(&force)).await {
                    warn!("deleting {id} after its failed creation: {error}");
                }
                Err(error)
            }
        }
    }

    async fn undo(&self) {
        unmount_all(&self.mounted);
        if self.leased {
            release(self.options, self.bundle).await;
        }
    }
}

/// Gives a bundle's lease back, as far as that is possible: it ends with the bundle's folder in any case.
pub(super) async fn release(options: &RuntimeOptions, bundle: &Path) {
    let Ok(socket) = options::agent_socket(options) else {
        return;
    };
    if let Err(error) = Agent::at(&socket).release(bundle).await {
        log::debug!("releasing {}: {error}", bundle.display());
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
        return Err(Error::path("read", path)(
            std::io::ErrorKind::FileTooLarge.into(),
        ));
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

fn mount(id: &str, mounts: &[Mount], target: &Path) -> Result<()> {
    if mounts.is_empty() {
        return Ok(());
    }
    if !target.is_dir() {
        fs::create_dir(target).map_err(Error::path("make", target))?;
    }
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    for mount in mounts {
        let (kind, source) = (some(&mount.type_), some(&mount.source));
        containerd_shim::mount::mount_rootfs(
            kind.as_deref(),
            source.as_deref(),
            &mount.options,
            target,
        )
        .map_err(|source| Error::Mount {
            id: id.to_owned(),
            source,
        })?;
    }
    Ok(())
}
