//! The other side of the shim: starts it, calls its task service, and takes its events.

use std::io::Write as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use containerd_shim::api::{Empty, Options};
use containerd_shim::protos::bootstrap_api::{BootstrapParams, BootstrapResult};
use containerd_shim::protos::shim::events::ForwardRequest;
use containerd_shim::protos::shim_async::{Events, create_events};
use fs_err as fs;
use protobuf::Message as _;
use protobuf::well_known_types::any::Any;
use rustix::process::{Pid, Signal, kill_process};
use ttrpc::r#async::{Server, TtrpcContext};
use ttrpc::context::{Context, with_duration};

use crate::bundle::Bundle;
use crate::shim::Shim;

pub(crate) const NAMESPACE: &str = "nival-test";
/// Where containerd takes events, in its folder.
const EVENTS: &str = "events.sock";
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A containerd with a folder of its own.
pub(crate) struct Containerd {
    pub(crate) folder: tempfile::TempDir,
    /// The shim that is started; the one under test unless a test puts another in its place.
    pub(crate) program: PathBuf,
    dialect: Dialect,
    events: Arc<Mutex<Vec<String>>>,
    server: Server,
}

/// How containerd starts shims and calls their task service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// 1.7 and 2.0 to 2.2: a plain address, task service 2.
    Plain,
    /// 2.3 and later: a message, task service 3.
    Message,
}

struct EventLog(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Events for EventLog {
    async fn forward(&self, _: &TtrpcContext, request: ForwardRequest) -> ttrpc::Result<Empty> {
        assert_eq!(request.envelope.namespace, NAMESPACE);
        self.0.lock().unwrap().push(request.envelope.topic.clone());
        Ok(Empty::default())
    }
}

async fn take_events(folder: &Path, events: &Arc<Mutex<Vec<String>>>) -> Server {
    let service = create_events(Arc::new(EventLog(events.clone())));
    let address = format!("unix://{}", folder.join(EVENTS).display());
    let server = Server::new().bind(&address).unwrap();
    let mut server = server.register_service(service);
    server.start().await.unwrap();
    server
}

impl Containerd {
    pub(crate) async fn start() -> Self {
        Self::speaking(Dialect::Message).await
    }

    pub(crate) async fn speaking(dialect: Dialect) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("nival-shim-test-")
            .tempdir()
            .unwrap();
        // Containers with a user namespace pass through it, as through containerd's own.
        let passable = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        fs::set_permissions(folder.path(), passable).unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let server = take_events(folder.path(), &events).await;
        Self {
            folder,
            program: env!("CARGO_BIN_EXE_containerd-shim-nival-v2").into(),
            dialect,
            events,
            server,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program under test as containerd calls it.
    pub(crate) fn command(&self, bundle: &Bundle, action: &str) -> Command {
        let mut command = Command::new(&self.program);
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(["-namespace", NAMESPACE, "-id", &bundle.id])
            .arg("-address")
            .arg(self.path("containerd.sock"))
            .args(["-publish-binary", "/bin/false", action])
            .env(
                "PATH",
                format!("{}:{path}", testkit::setup::node_bin().display()),
            )
            .current_dir(&bundle.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(command: &mut Command, input: &[u8]) -> Output {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Starts a shim, or finds the one of the pod.
    pub(crate) async fn shim(&self, bundle: &Bundle) -> Shim {
        let (address, service) = match self.dialect {
            Dialect::Message => (self.message(bundle), "containerd.task.v3.Task"),
            Dialect::Plain => (self.plain(bundle), "containerd.task.v2.Task"),
        };
        Shim::connect(&address, service, self.path("runc")).await
    }

    fn plain(&self, bundle: &Bundle) -> String {
        let mut command = self.command(bundle, "start");
        command.env("TTRPC_ADDRESS", self.path(EVENTS));
        let input = options_any(&Options::default()).write_to_bytes().unwrap();
        let output = Self::run(&mut command, &input);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn message(&self, bundle: &Bundle) -> String {
        let parameters = BootstrapParams {
            instance_id: bundle.id.clone(),
            namespace: NAMESPACE.into(),
            containerd_grpc_address: self.path("containerd.sock").display().to_string(),
            containerd_ttrpc_address: self.path(EVENTS).display().to_string(),
            socket_dir: Some(self.path("s").display().to_string()),
            ..BootstrapParams::default()
        };
        let input = parameters.write_to_bytes().unwrap();
        let output = Self::run(&mut self.command(bundle, "start"), &input);
        assert!(output.status.success(), "{output:?}");
        let result = BootstrapResult::parse_from_bytes(&output.stdout).unwrap();
        assert_eq!((result.version, result.protocol.as_str()), (3, "ttrpc"));
        result.address
    }

    /// Part of the name of each container here, and of no other.
    pub(crate) fn tag(&self) -> String {
        let name = self.folder.path().file_name().unwrap().to_str().unwrap();
        name.rsplit('-').next().unwrap().to_owned()
    }

    /// Waits until nothing is left of the shims and containers that were here.
    pub(crate) async fn expect_nothing_left(&self) {
        let begun = Instant::now();
        loop {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "it stays: {left:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns what is left of shims and containers.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (pid, command) in self.processes() {
            left.push(format!("process {pid:?} {command}"));
        }
        if self.mounts() > 0 {
            left.push(format!("{} mounts", self.mounts()));
        }
        let tag = self.tag();
        let mut folders = vec![self.path("runc").join(NAMESPACE), self.path("s")];
        for controller in fs::read_dir("/sys/fs/cgroup").unwrap() {
            folders.push(controller.unwrap().path().join("nival-test"));
        }
        folders.push("/sys/fs/cgroup/nival-test".into());
        for folder in folders {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.starts_with(self.folder.path()) || path.to_str().unwrap().contains(&tag) {
                    left.push(path.display().to_string());
                }
            }
        }
        left
    }

    /// Returns the shims.
    fn processes(&self) -> Vec<(Pid, String)> {
        let folder = self.folder.path().display().to_string();
        let mut processes = Vec::new();
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let name = process.file_name().to_string_lossy().into_owned();
            let Some(pid) = name.parse().ok().and_then(Pid::from_raw) else {
                continue;
            };
            let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).into_owned();
            if command.contains("containerd-shim-nival-v2") && command.contains(&folder) {
                processes.push((pid, command.replace('\0', " ")));
            }
        }
        processes
    }

    /// Takes no more events.
    pub(crate) async fn stop_taking_events(&mut self) {
        self.server.shutdown().await.unwrap();
        fs::remove_file(self.path(EVENTS)).ok();
    }

    /// Breaks off so many attempts to deliver an event, and then takes events again.
    pub(crate) async fn take_events_after(&mut self, attempts: usize) {
        let path = self.path(EVENTS);
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        for _ in 0..attempts {
            let attempt = tokio::time::timeout(DEADLINE, listener.accept()).await;
            drop(attempt.unwrap().unwrap());
        }
        drop(listener);
        fs::remove_file(&path).unwrap();
        self.server = take_events(self.folder.path(), &self.events).await;
    }

    /// Counts what is mounted in the folder.
    pub(crate) fn mounts(&self) -> usize {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let folder = self.folder.path().display().to_string();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        points.filter(|point| point.starts_with(&folder)).count()
    }

    /// Returns the topics of the events so far.
    pub(crate) fn events(&self) -> Vec<String> {
        self.events.lock().unwrap().clone()
    }

    /// Waits until these events have come, in this order and with no others between.
    pub(crate) async fn expect_events(&self, wanted: &[&str]) {
        let enough = || self.events().len() >= wanted.len();
        until(&format!("{wanted:?}"), enough).await;
        assert_eq!(self.events(), wanted);
    }
}

impl Drop for Containerd {
    /// Ends what a test that failed has left.
    fn drop(&mut self) {
        for (pid, _) in self.processes() {
            kill_process(pid, Signal::KILL).ok();
        }
        let root = self.path("runc").join(NAMESPACE);
        for container in fs::read_dir(&root).into_iter().flatten().flatten() {
            let mut command = Command::new(testkit::setup::node_bin().join("runc"));
            command.arg("--root").arg(&root).args(["delete", "--force"]);
            command.arg(container.file_name()).output().ok();
        }
    }
}

/// Makes two tests of each scenario, one for each way in which containerd speaks, and looks that nothing is left.
macro_rules! in_both_dialects {
    ($($scenario:ident)+) => {
        $(mod $scenario {
            use crate::containerd::{Containerd, Dialect};

            async fn play(dialect: Dialect) {
                testkit::require!(root, setup);
                let containerd = Containerd::speaking(dialect).await;
                Box::pin(super::$scenario(&containerd)).await;
                containerd.expect_nothing_left().await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn in_task_v2() {
                play(Dialect::Plain).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn in_task_v3() {
                play(Dialect::Message).await;
            }
        })+
    };
}
pub(crate) use in_both_dialects;

pub(crate) fn options_any(options: &Options) -> Any {
    Any {
        type_url: "containerd.runc.v1.Options".into(),
        value: options.write_to_bytes().unwrap(),
        ..Any::default()
    }
}

pub(crate) fn patience() -> Context {
    with_duration(DEADLINE)
}

pub(crate) fn message(error: ttrpc::Error) -> String {
    match error {
        ttrpc::Error::RpcStatus(status) => status.message,
        other => other.to_string(),
    }
}

pub(crate) fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// Looks until it holds, at most for some seconds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
