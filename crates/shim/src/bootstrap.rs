//! `start`: finds or starts the shim of a pod, and tells containerd where it listens.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use containerd_shim::protos::bootstrap_api::{BootstrapParams, BootstrapResult};
use containerd_shim::{Flags, StartOpts};
use fs_err as fs;
use log::debug;
use protobuf::Message as _;
use protobuf::well_known_types::any::Any;
use serde_json::Value;
use workload::annotations;

use crate::options::RuntimeOptions;
use crate::{cgroup, spec};

const LARGEST_INPUT: u64 = 10 << 20;
const ADDRESS: &str = "TTRPC_ADDRESS";
const TASK_API: i32 = 3;
/// Where the bundle says how to reach its shim.
pub(crate) const ADDRESS_FILE: &str = "address";

/// How containerd asks, and so how it wants the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// 2.3 and later: a message on standard input, a message on standard output, task service 3.
    Message,
    /// 1.7 and 2.0 to 2.2: flags and variables, a plain address on standard output, task service 2.
    Plain,
}

/// What containerd says when it starts a shim.
#[derive(Debug)]
struct Request {
    dialect: Dialect,
    options: StartOpts,
}

/// Answers `start`. The working folder is the container's bundle.
pub(crate) fn start(flags: &Flags) -> io::Result<()> {
    let mut input = Vec::new();
    io::stdin()
        .lock()
        .take(LARGEST_INPUT)
        .read_to_end(&mut input)?;
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let request = parse(&input, flags, &variable)?;
    let bundle = std::env::current_dir()?;
    let group = group(&bundle).unwrap_or_else(|| flags.id.clone());
    let address = request.options.socket_address(&group);
    let path = Path::new(address.strip_prefix("unix://").unwrap_or(&address));
    // A container of a pod whose shim runs already is served by that one.
    if UnixStream::connect(path).is_err() {
        launch(&request.options, path, &bundle)?;
    }
    fs::write(bundle.join(ADDRESS_FILE), &address)?;
    let answer = match request.dialect {
        Dialect::Plain => address.into_bytes(),
        Dialect::Message => BootstrapResult {
            version: TASK_API,
            address,
            protocol: "ttrpc".to_owned(),
            ..BootstrapResult::default()
        }
        .write_to_bytes()?,
    };
    let mut output = io::stdout().lock();
    output.write_all(&answer)?;
    output.flush()
}

fn parse(input: &[u8], flags: &Flags, variable: &dyn Fn(&str) -> String) -> io::Result<Request> {
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidInput, text);
    let message = BootstrapParams::parse_from_bytes(input)
        .ok()
        .filter(|message| message.instance_id == flags.id && message.namespace == flags.namespace);
    let (dialect, mut options) = match message {
        Some(message) => (Dialect::Message, StartOpts::from(message)),
        None => {
            // Options are a message that reads like the other one, so only its identity tells them apart.
            let any = Any::parse_from_bytes(input)
                .ok()
                .filter(|any| !any.type_url.is_empty());
            let options = StartOpts {
                id: flags.id.clone(),
                namespace: flags.namespace.clone(),
                address: flags.address.clone(),
                publish_binary: flags.publish_binary.clone(),
                ttrpc_address: variable(ADDRESS),
                extensions: any.into_iter().collect(),
                ..StartOpts::default()
            };
            (Dialect::Plain, options)
        }
    };
    options.debug |= flags.debug;
    if options.address.is_empty() {
        options.address = variable("GRPC_ADDRESS");
    }
    if options.ttrpc_address.is_empty() {
        return Err(invalid(
            "containerd said nowhere to send events: TTRPC_ADDRESS is not set",
        ));
    }
    Ok(Request { dialect, options })
}

/// Returns the sandbox that the container in a bundle belongs to.
fn group(bundle: &Path) -> Option<String> {
    let bytes = fs::read(bundle.join("config.json")).ok()?;
    let spec: Value = serde_json::from_slice(&bytes).ok()?;
    let annotations = spec::annotations(&spec);
    annotations::sandbox_id(&annotations).map(str::to_owned)
}

/// Starts a shim that listens on a socket. The socket is made here, so that containerd can connect at once and the
/// shim takes its time.
fn launch(options: &StartOpts, socket: &Path, bundle: &Path) -> io::Result<()> {
    if let Some(folder) = socket.parent() {
        fs::create_dir_all(folder)?;
    }
    // Left behind by a shim that was killed; nobody answered on it.
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    let program: PathBuf = std::env::current_exe()?;
    let mut command = Command::new(program);
    command
        .args(["-namespace", &options.namespace, "-id", &options.id])
        .args(["-address", &options.address])
        .args(["-publish-binary", &options.publish_binary])
        .env(ADDRESS, &options.ttrpc_address)
        // One heap for all threads: two workers hardly contend for it, and every other one would cost memory.
        .env("MALLOC_ARENA_MAX", "1")
        .current_dir(bundle)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if options.debug {
        command.arg("-debug");
    }
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let started = command
        .spawn()
        .and_then(|child| confine(options, child.id()));
    if started.is_err() {
        fs::remove_file(socket).ok();
    }
    started
}

/// Makes the kernel end a shim before containerd when memory is short, and puts it where the options say.
fn confine(options: &StartOpts, pid: u32) -> io::Result<()> {
    let parent = std::os::unix::process::parent_id();
    let score = fs::read_to_string(format!("/proc/{parent}/oom_score_adj"))?;
    let score: i32 = score.trim().parse().map_err(io::Error::other)?;
    let raised = (score + 1).min(1000);
    if let Err(error) = fs::write(format!("/proc/{pid}/oom_score_adj"), raised.to_string()) {
        debug!("{error}");
    }
    let group = options
        .extensions
        .iter()
        .find_map(|any| RuntimeOptions::decode(any).ok())
        .map(|options| options.shim_cgroup)
        .unwrap_or_default();
    if group.is_empty() {
        return Ok(());
    }
    cgroup::join(pid, &group)
}

#[cfg(test)]
mod tests {
    use containerd_shim::api::Options;

    use super::*;

    fn flags() -> Flags {
        Flags {
            id: "c1".into(),
            namespace: "k8s.io".into(),
            address: "/run/containerd/containerd.sock".into(),
            ..Flags::default()
        }
    }

    fn variable(name: &str) -> String {
        match name {
            ADDRESS => "/run/containerd/containerd.sock.ttrpc".to_owned(),
            _ => String::new(),
        }
    }

    #[test]
    fn a_message_is_answered_in_kind() {
        let message = BootstrapParams {
            instance_id: "c1".into(),
            namespace: "k8s.io".into(),
            containerd_ttrpc_address: "/run/x.ttrpc".into(),
            containerd_grpc_address: "/run/x".into(),
            ..BootstrapParams::default()
        };
        let bytes = message.write_to_bytes().unwrap();
        let request = parse(&bytes, &flags(), &|_| String::new()).unwrap();
        assert_eq!(request.dialect, Dialect::Message);
        assert_eq!(request.options.ttrpc_address, "/run/x.ttrpc");
    }

    #[test]
    fn options_and_nothing_are_the_older_dialect() {
        let any = Any {
            type_url: "containerd.runc.v1.Options".into(),
            value: Options {
                shim_cgroup: "/shims".into(),
                ..Options::default()
            }
            .write_to_bytes()
            .unwrap(),
            ..Any::default()
        };
        let bytes = any.write_to_bytes().unwrap();
        let request = parse(&bytes, &flags(), &variable).unwrap();
        assert_eq!(request.dialect, Dialect::Plain);
        assert_eq!(request.options.extensions, [any]);
        let request = parse(&[], &flags(), &variable).unwrap();
        assert_eq!(request.dialect, Dialect::Plain);
        assert!(request.options.extensions.is_empty());
    }

    #[test]
    fn without_a_place_for_events_nothing_is_started() {
        assert!(parse(&[], &flags(), &|_| String::new()).is_err());
    }

    #[test]
    fn containers_of_a_pod_share_a_shim() {
        let bundle = tempfile::tempdir().unwrap();
        assert_eq!(group(bundle.path()), None);
        fs::write(
            bundle.path().join("config.json"),
            "{\"annotations\":{\"io.kubernetes.cri.sandbox-id\":\"s1\"}}",
        )
        .unwrap();
        assert_eq!(group(bundle.path()).as_deref(), Some("s1"));
    }
}
