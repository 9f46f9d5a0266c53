//! Pod cycles, failures at every step among them, after which nothing of a pod is left on the node.

use rustix::process::{Pid, Signal, kill_process};
use testkit::{CgroupParent, Node, PLACEHOLDER, PodSpec, Stack, require};

use crate::refusals::{assert_tells, refusal};

/// How many cycles there are when nobody says so; `cargo xtask soak` does.
const CYCLES: usize = 28;
const CYCLES_VARIABLE: &str = "NIVAL_SOAK_CYCLES";

/// How much more the shim of a pod that stays may take at the end, in KiB: less than a leak of 100 bytes per call of
/// a long run, more than what its heap varies by.
const GROWTH: u64 = 1024;

struct Scene<'world> {
    node: &'world Node,
    parent: &'world CgroupParent,
}

type Play = fn(&Scene<'_>);

const CYCLE: &[(&str, Play)] = &[
    ("a container that ends", ends),
    ("a container that is killed", is_killed),
    ("an environment that is not there", is_unknown),
    ("an environment that nobody vouches for", is_not_trusted),
    ("a command that is not there", has_no_command),
    ("a shim that is killed", loses_its_shim),
    ("an agent that is killed", loses_the_agent),
];

impl Scene<'_> {
    fn spec(&self, environment: &str) -> PodSpec {
        PodSpec::with_environment("cycle", environment).below(&self.parent.path())
    }
}

fn ends(scene: &Scene<'_>) {
    let pod = scene.node.run_pod(&scene.spec("demo/app")).unwrap();
    let (code, text) = pod
        .run_to_end("main", PLACEHOLDER, &["sh", "-c", "echo done; exit 3"])
        .unwrap();
    assert_eq!((code, text.as_str()), (3, "done\n"));
    pod.remove().unwrap();
}

fn is_killed(scene: &Scene<'_>) {
    let pod = scene.node.run_pod(&scene.spec("demo/app")).unwrap();
    let container = pod
        .container("main", PLACEHOLDER, &["sleep", "600"])
        .unwrap();
    pod.exec(&container, &["true"]).unwrap();
    pod.exec(&container, &["no-such-program"]).unwrap_err();
    // Removing the pod kills what runs in it.
    pod.remove().unwrap();
}

fn is_unknown(scene: &Scene<'_>) {
    let error = refusal(scene.node, &scene.spec("demo/unknown"));
    assert_tells(&error, &["demo/unknown"]);
}

fn is_not_trusted(scene: &Scene<'_>) {
    let error = refusal(scene.node, &scene.spec("demo/stranger"));
    assert_tells(&error, &["not signed by a key trusted for owner demo"]);
}

fn has_no_command(scene: &Scene<'_>) {
    let pod = scene.node.run_pod(&scene.spec("demo/app")).unwrap();
    let error = pod.container("main", PLACEHOLDER, &["no-such-program"]);
    assert_tells(&error.unwrap_err().to_string(), &["no-such-program"]);
    pod.remove().unwrap();
}

fn loses_its_shim(scene: &Scene<'_>) {
    let before = shims(scene.node);
    let pod = scene.node.run_pod(&scene.spec("demo/app")).unwrap();
    let container = pod
        .container("main", PLACEHOLDER, &["sleep", "600"])
        .unwrap();
    let after = shims(scene.node);
    let own = after.iter().find(|shim| !before.contains(shim)).unwrap();
    let own = Pid::from_raw(i32::try_from(*own).unwrap()).unwrap();
    kill_process(own, Signal::KILL).unwrap();
    // 137 where the shim's own clean-up is asked, 255 where containerd's wait fails first.
    assert!([137, 255].contains(&pod.wait(&container).unwrap()));
    pod.remove().unwrap();
}

fn loses_the_agent(scene: &Scene<'_>) {
    let pod = scene.node.run_pod(&scene.spec("demo/app")).unwrap();
    scene.node.kill_agent().unwrap();
    assert_tells(
        &refusal(scene.node, &scene.spec("demo/app")),
        &["nival-agent"],
    );
    let error = pod.container("main", PLACEHOLDER, &["true"]);
    assert_tells(&error.unwrap_err().to_string(), &["nival-agent"]);
    pod.remove().unwrap();
    scene.node.start_agent().unwrap();
}

fn shims(node: &Node) -> Vec<u32> {
    node.machine().processes("containerd-shim-nival-v2")
}

#[test]
fn pod_cycles_leave_nothing_behind() {
    require!(root, setup, programs);
    let cycles = match std::env::var(CYCLES_VARIABLE) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => CYCLES,
    };
    let stack = Stack::start().unwrap();
    stack.make_key().unwrap();
    stack.publish("app", "bash coreutils", "--public").unwrap();
    let other_key =
        "sed -i s/demo-1/stranger-1/ ~/.config/nival/config.toml; nival key generate stranger-1";
    // The node learns the first key, and then the laptop signs with another.
    let node = stack.node("node", "[collect]\nevery_seconds = 1").unwrap();
    stack.laptop.shell(other_key).unwrap();
    stack.publish("stranger", "bash", "--public").unwrap();
    let parent = CgroupParent::new("leaks");
    let scene = Scene {
        node: &node,
        parent: &parent,
    };

    // One pod stays, and its shim serves a container in every cycle.
    let staying = node.run_pod(&scene.spec("demo/app")).unwrap();
    let shim = shims(&node)[0];
    let serve = || {
        let (code, _) = staying.run_to_end("main", PLACEHOLDER, &["true"]).unwrap();
        assert_eq!(code, 0);
        node.crictl(&["rm", "--all"]).unwrap();
    };
    ends(&scene);
    (0..10).for_each(|_| serve());
    let before = node.traces_with_shims(1, &parent).unwrap();
    let share_before = node.memory_share(shim).unwrap();

    for (number, (name, play)) in CYCLE.iter().cycle().take(cycles).enumerate() {
        serve();
        play(&scene);
        let cycle = number + 1;
        node.wait_for_no_more_than(&before, &parent)
            .unwrap_or_else(|error| panic!("cycle {cycle}, {name}: {error}"));
        if cycle % 100 == 0 {
            let share = node.memory_share(shim).unwrap();
            println!("{cycle} cycles, nothing left behind; the staying pod's shim: {share} KiB");
        }
    }
    let share = node.memory_share(shim).unwrap();
    println!(
        "{cycles} cycles, nothing left behind; the staying pod's shim: {share_before} KiB before, {share} KiB after"
    );
    assert!(
        share <= share_before + GROWTH,
        "the shim grew from {share_before} to {share} KiB"
    );
    staying.remove().unwrap();
}
