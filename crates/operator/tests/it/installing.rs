//! The installer on real nodes: pods go on through installation, upgrade, a bad configuration and removal.

use testkit::{BUSYBOX, Failure, Line, PodSpec, World, require};

use crate::machine::Machine;

const PLACEHOLDER: &str = "nival.dev/placeholder:v1";
const SHIM: &str = "containerd-shim-nival-v2";
/// A pod that does nothing for long.
const SLEEP: [&str; 2] = ["sleep", "3600"];

/// Everything that an installation lives through, on one line of containerd.
fn live(line: Line, name: &str) -> Result<(), Failure> {
    let world = World::new()?;
    let machine = Machine::start(&world, name, line)?;
    let node = &machine.node;
    let planted = machine.files()?;
    let ordinary = node.run_pod(&PodSpec::plain("ordinary", "runc"))?;
    let in_ordinary = ordinary.container("main", BUSYBOX, &SLEEP)?;

    let first = machine.containerd();
    machine.install(&[])?;
    let second = machine.containerd();
    assert_ne!(first, second, "containerd was restarted");
    assert_eq!(ordinary.exec(&in_ordinary, &["echo", "here"])?, "here\n");
    let image = node.crictl(&["inspecti", PLACEHOLDER])?;
    assert!(image.contains("\"pinned\": true"), "{image}");

    let ours = node.run_pod(&PodSpec::plain("ours", "nival"))?;
    let in_ours = ours.container("main", BUSYBOX, &SLEEP)?;
    assert_eq!(node.machine().processes(SHIM).len(), 1);

    // Once more: nothing is changed, and nothing is restarted.
    let installed = machine.files()?;
    machine.install(&[])?;
    assert_eq!(machine.containerd(), second);
    assert_eq!(machine.files()?, installed);

    // A newer shim: new pods get it, and nothing is restarted.
    machine.renew_shim()?;
    machine.install(&[])?;
    assert_eq!(machine.containerd(), second);
    let newer = node.run_pod(&PodSpec::plain("newer", "nival"))?;
    let in_newer = newer.container("main", BUSYBOX, &SLEEP)?;
    let pods = [
        (&ordinary, &in_ordinary),
        (&ours, &in_ours),
        (&newer, &in_newer),
    ];
    for (pod, container) in pods {
        assert_eq!(pod.exec(container, &["echo", "here"])?, "here\n");
    }
    let versions = || {
        node.machine()
            .shell("ls /opt/nival | grep -c '^[0-9a-f]\\{32\\}$' || true")
    };
    assert_eq!(versions()?, "2\n");

    // While pods run by it the handler stays: without it containerd would neither enter nor stop them.
    let refused = machine.run(&["--remove"])?;
    let talk = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{talk}");
    assert!(
        talk.contains("the pods default/newer, default/ours run by Nival"),
        "{talk}"
    );
    assert_eq!(machine.containerd(), second);
    ours.remove()?;
    newer.remove()?;
    machine.install(&["--remove"])?;
    assert_ne!(machine.containerd(), second);
    assert_eq!(machine.files()?, planted, "nothing of Nival is left");
    assert_eq!(ordinary.exec(&in_ordinary, &["echo", "here"])?, "here\n");
    ordinary.remove()
}

#[test]
fn pods_live_through_an_installation_on_2_4() {
    require!(root, setup, programs);
    live(Line::V2_4, "node24").unwrap();
}

#[test]
fn pods_live_through_an_installation_on_2_1() {
    require!(root, setup, programs);
    live(Line::V2_1, "node21").unwrap();
}

#[test]
fn pods_live_through_an_installation_on_1_7() {
    require!(root, setup, programs);
    live(Line::V1_7, "node17").unwrap();
}

#[test]
fn a_configuration_that_does_not_come_up_is_taken_back() {
    require!(root, setup, programs);
    taken_back().unwrap();
}

fn taken_back() -> Result<(), Failure> {
    let world = World::new()?;
    let machine = Machine::start(&world, "node", Line::V2_4)?;
    let node = &machine.node;
    // Something that containerd only finds out when it starts anew: it was written since it runs.
    let broken = "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n[plugins.'io.containerd.cri.v1.runtime']\ncdi_spec_dirs = 3\n";
    node.machine()
        .shell("cp /etc/containerd/config.toml /etc/containerd/config.toml.good")?;
    node.write("/etc/containerd/config.toml", broken)?;
    let planted = machine.files()?;
    let install = || machine.run(&["--containerd-deadline=5", "--containerd-version=2.4.2"]);
    let output = install()?;
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{talk}");
    assert!(talk.contains("the old configuration is back"), "{talk}");
    let configuration = |files: &str| -> Vec<String> {
        let lines = files
            .lines()
            .filter(|line| line.contains("/etc/containerd"));
        lines.map(str::to_owned).collect()
    };
    let left = machine.files()?;
    assert_eq!(configuration(&left), configuration(&planted));
    // Whoever tries again, as a kubelet does, does not restart containerd again for the same.
    let output = install()?;
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{talk}");
    assert!(talk.contains("not tried again within an hour"), "{talk}");
    assert!(!talk.contains("written"), "{talk}");
    Ok(())
}
