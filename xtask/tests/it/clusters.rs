//! Clusters that are started side by side, stopped, and killed: nothing of them is left.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use testkit::{Failure, poll, poll_within, require, run};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: pod}
spec:
  runtimeClassName: nival
  containers:
    - name: main
      image: nival.local/busybox:1
      command: [sleep, '600']
";

/// A cluster with its keeper as a child of this process.
struct Kept {
    folder: tempfile::TempDir,
    keeper: Child,
}

impl Kept {
    fn start(nodes: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = fs_err::File::create(folder.path().join("log")).unwrap();
        let keeper = task(folder.path())
            .args(["hold", "--nodes", nodes, "--default-runtime", "runc"])
            .stdin(Stdio::null())
            .stderr(log.into_file())
            .spawn()
            .unwrap();
        Self { folder, keeper }
    }

    fn wait_until_up(&mut self) {
        poll_within(Duration::from_secs(120), "the cluster to be up", || {
            if let Some(status) = self.keeper.try_wait()? {
                let log = fs_err::read_to_string(self.folder.path().join("log"))?;
                return Err(Failure::Text(format!("ended with {status}: {log}")));
            }
            Ok(self.kubectl(&["get", "nodes"]).ok())
        })
        .unwrap();
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String, Failure> {
        run(task(self.folder.path())
            .args(["run", "--", "kubectl"])
            .args(arguments))
    }

    /// Starts a pod, so that there are a shim, mounts, a network namespace and control groups.
    fn start_pod(&self) {
        let manifest = self.folder.path().join("pod.yaml");
        fs_err::write(&manifest, POD).unwrap();
        self.kubectl(&["apply", "-f", manifest.to_str().unwrap()])
            .unwrap();
        self.kubectl(&["wait", "pod/pod", "--for=condition=Ready", "--timeout=60s"])
            .unwrap();
    }

    /// Returns the folder that all machines of the cluster live in.
    fn world(&self) -> PathBuf {
        let state = fs_err::read(self.folder.path().join("state.json")).unwrap();
        let state: Value = serde_json::from_slice(&state).unwrap();
        let control = Path::new(state["control"].as_str().unwrap());
        control.parent().unwrap().to_owned()
    }

    fn down(&self) {
        run(task(self.folder.path()).arg("down")).unwrap();
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Ended already where all went well.
        self.keeper.kill().ok();
        self.keeper.wait().ok();
    }
}

fn task(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["cluster", "--folder"]).arg(folder);
    command
}

/// Returns what is left of a cluster: processes in its control groups or folder, mounts, control groups, its folder.
fn traces(world: &Path, keeper: u32) -> Vec<String> {
    let world = world.to_str().unwrap();
    let group = format!("nival-cluster-{keeper}-");
    let mut found = Vec::new();
    for entry in fs_err::read_dir("/proc").unwrap().flatten() {
        let process = entry.path();
        let of = |name: &str| fs_err::read_to_string(process.join(name)).unwrap_or_default();
        // A mount table names the world's folder for every process on one of its machines.
        if of("cgroup").contains(&group) || of("mountinfo").contains(world) {
            found.push(format!("{}: {}", process.display(), of("cmdline")));
        }
    }
    for hierarchy in fs_err::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let Ok(entries) = fs_err::read_dir(hierarchy.path()) else {
            continue;
        };
        let own = |name: &str| name.starts_with(&group);
        let groups = entries.flatten().map(|entry| entry.path());
        found.extend(
            groups
                .filter(|path| own(&path.file_name().unwrap().to_string_lossy()))
                .map(|path| path.display().to_string()),
        );
    }
    if Path::new(world).exists() {
        found.push(world.to_owned());
    }
    found
}

/// Waits until everything of a cluster is gone: processes of its machines may take a moment.
fn nothing_is_left_of(world: &Path, kept: &Kept) {
    let left = || traces(world, kept.keeper.id());
    poll("nothing to be left", || Ok(left().is_empty().then_some(())))
        .unwrap_or_else(|_| panic!("{:#?}", left()));
}

#[test]
fn of_two_clusters_one_is_killed_and_one_stopped_and_nothing_is_left_of_either() {
    require!(root, setup, programs);
    let mut killed = Kept::start("1");
    let mut stopped = Kept::start("2");
    killed.wait_until_up();
    stopped.wait_until_up();
    killed.start_pod();
    stopped.start_pod();
    let (world_of_killed, world_of_stopped) = (killed.world(), stopped.world());
    assert!(traces(&world_of_killed, killed.keeper.id()).len() > 3);

    killed.keeper.kill().unwrap();
    killed.keeper.wait().unwrap();
    killed.down();
    nothing_is_left_of(&world_of_killed, &killed);

    // The other one has not noticed anything.
    let nodes = stopped.kubectl(&["get", "nodes", "-o", "name"]).unwrap();
    assert_eq!(nodes, "node/node1\nnode/node2\n");
    stopped.kubectl(&["exec", "pod", "--", "true"]).unwrap();
    stopped.down();
    nothing_is_left_of(&world_of_stopped, &stopped);
}
