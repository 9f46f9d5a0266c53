//! The process that a running cluster lives in: with its end, whatever the reason, everything of the cluster ends.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cluster_stories::Stage;
use fs_err as fs;
use testkit::{Cluster, ClusterNode, ClusterOptions, Machine, Stack, poll_within};

use super::Plan;
use super::state::{OUTSIDE, State};
use crate::say;

/// How long the control plane, and each node, may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `down` says.
const END: &[u8] = b"end\n";

/// Starts a keeper and waits until its cluster is there.
pub(super) fn start(folder: &Path, plan: &Plan) -> Result<State> {
    fs::create_dir_all(folder)?;
    State::forget(folder)?;
    let path = folder.join("keeper.log");
    let log = fs::File::create(&path)?.into_file();
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["cluster", "hold", "--nodes", &plan.nodes.to_string()])
        .args(["--default-runtime", &plan.default_runtime])
        .args(plan.installed.then_some("--installed"))
        .arg("--folder")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // The terminal's end and its Ctrl-C are not the cluster's.
        .process_group(0);
    let mut keeper = command.spawn()?;
    let patience = PATIENCE * (u32::from(plan.nodes) + if plan.installed { 4 } else { 1 });
    let found = poll_within(patience, "the cluster to be up", || {
        if let Some(status) = keeper.try_wait()? {
            let log = fs::read_to_string(&path).unwrap_or_default();
            return Err(testkit::Failure::Text(format!(
                "the cluster's keeper ended with {status}: {}",
                host::process::last_lines(log.as_bytes())
            )));
        }
        State::of_running(folder).map_err(|error| testkit::Failure::Text(format!("{error:#}")))
    });
    if found.is_err() {
        keeper.kill().ok();
        keeper.wait()?;
        testkit::sweep();
    }
    Ok(found?)
}

/// Makes a cluster, and ends it when that is wished.
pub(super) fn hold(folder: &Path, plan: &Plan) -> Result<()> {
    let stack = Stack::start_for_cluster()?;
    let options = ClusterOptions {
        nodes: vec![ClusterNode::default(); usize::from(plan.nodes)],
        default_runtime: match &*plan.default_runtime {
            "nival" => "nival",
            _ => "runc",
        },
        ..ClusterOptions::default()
    };
    let cluster = if plan.installed {
        stack.installed_cluster(options, &serde_json::json!({}))?
    } else {
        stack.cluster(options)?
    };
    hold_cluster(folder, cluster, stack)
}

/// Keeps the stories' cluster for a person to look at, until `down`.
pub(super) fn hold_stage(folder: &Path, stage: Stage) -> Result<()> {
    say("the cluster is kept until `cargo xtask cluster down`, said elsewhere");
    let Stage { cluster, stack, .. } = stage;
    hold_cluster(folder, cluster, stack)
}

/// Keeps a cluster until somebody says `down`.
pub(super) fn hold_cluster(folder: &Path, cluster: Cluster, stack: Stack) -> Result<()> {
    // In the world's folder, whose path is short enough for a socket.
    let control = stack.world.folder().join("control");
    let listener = UnixListener::bind(&control)?;
    fs::create_dir_all(folder)?;
    let state = State {
        nodes: u8::try_from(cluster.nodes().len())?,
        control,
        places: places(&stack, &cluster, folder)?,
    };
    state.save(folder)?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut wish = Vec::new();
        stream.read_to_end(&mut wish)?;
        if wish == END {
            drop(cluster);
            drop(stack);
            State::forget(folder)?;
            say("the cluster is gone");
            // Whoever asked waits for this, or has gone away.
            stream.write_all(END).ok();
            return Ok(());
        }
    }
    bail!("nobody can ask for the cluster's end any more")
}

/// Ends a cluster and waits until it is gone.
pub(super) fn stop(state: &State) -> Result<()> {
    let mut stream = state.connect().context("reaching the cluster's keeper")?;
    stream.write_all(END)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if answer != END {
        bail!("the cluster's keeper ended before the cluster was gone");
    }
    Ok(())
}

/// Returns how commands are started on each machine, and in the network with the host's files.
fn places(
    stack: &Stack,
    cluster: &Cluster,
    folder: &Path,
) -> Result<BTreeMap<String, Vec<String>>> {
    let kubeconfig = folder.join("kubeconfig");
    host::fs::write_atomic_private(&kubeconfig, cluster.kubeconfig().as_bytes())?;
    let programs = testkit::setup::dir().join("kubernetes/bin");
    let helm = testkit::setup::dir().join("helm/bin");
    let path = std::env::var("PATH").unwrap_or_default();
    let outside = vec![
        "nsenter".to_owned(),
        format!("--net={}", stack.world.network().display()),
        "env".to_owned(),
        format!("KUBECONFIG={}", kubeconfig.display()),
        format!("PATH={}:{}:{path}", programs.display(), helm.display()),
    ];
    let mut places = BTreeMap::from([
        (OUTSIDE.to_owned(), outside),
        ("laptop".to_owned(), words(&stack.laptop)?),
        ("hub".to_owned(), words(stack.hub.machine())?),
        ("control-plane".to_owned(), words(cluster.control_plane())?),
    ]);
    for (name, node) in cluster.nodes() {
        places.insert(name, words(node.machine())?);
    }
    Ok(places)
}

/// Returns the words before a command on a machine.
fn words(machine: &Machine) -> Result<Vec<String>> {
    let command = machine.command("env")?;
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    Ok(words
        .map(|word| word.to_string_lossy().into_owned())
        .collect())
}
