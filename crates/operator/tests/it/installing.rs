//! The installer on real nodes: pods go on through installation, upgrade and removal.

use testkit::{BUSYBOX, Failure, Line, PodSpec, World, require};

use crate::machine::Machine;

/// Everything that an installation lives through, on one line of containerd.
fn live(line: Line, name: &str) -> Result<(), Failure> {
    let world = World::new()?;
    let machine = Machine::start(&world, name, line)?;
    let node = &machine.node;
    let before = machine.files()?;
    let placeholder = "nival.dev/placeholder:v1";
    node.machine()
        .shell(&format!("{} images rm {placeholder}", node.ctr()))?;
    let ordinary = node.run_pod(&PodSpec::plain("ordinary", "runc"))?;
    let sleeping = ["sleep", "3600"];
    let in_ordinary = ordinary.container("main", BUSYBOX, &sleeping)?;

    let talk = machine.operate(&["install"])?;
    assert_eq!(machine.restarts(), 1, "{talk}");
    assert_eq!(ordinary.exec(&in_ordinary, &["echo", "here"])?, "here\n");
    let image = node.crictl(&["inspecti", placeholder])?;
    assert!(image.contains("\"pinned\": true"), "{image}");

    let ours = node.run_pod(&PodSpec::plain("ours", "nival"))?;
    let in_ours = ours.container("main", BUSYBOX, &sleeping)?;
    assert_eq!(
        node.machine().processes("containerd-shim-nival-v2").len(),
        1
    );

    let installed = machine.files()?;
    let talk = machine.operate(&["install"])?;
    assert_eq!(machine.restarts(), 1, "{talk}");
    assert_eq!(machine.files()?, installed);

    machine.renew_shim()?;
    machine.operate(&["install"])?;
    assert_eq!(machine.restarts(), 1, "a new shim needs no restart");
    let newer = node.run_pod(&PodSpec::plain("newer", "nival"))?;
    let in_newer = newer.container("main", BUSYBOX, &sleeping)?;
    for (pod, container) in [
        (&ordinary, &in_ordinary),
        (&ours, &in_ours),
        (&newer, &in_newer),
    ] {
        assert_eq!(pod.exec(container, &["echo", "here"])?, "here\n");
    }
    let versions = "ls /opt/nival | grep -c '^[0-9a-f]\\{32\\}$'";
    assert_eq!(node.machine().shell(versions)?, "2\n");
    // Its own shim of the version before deletes it, too.
    ours.remove()?;
    newer.remove()?;
    ordinary.remove()?;
    drop(before);
    Ok(())
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
