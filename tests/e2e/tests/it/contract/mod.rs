//! One list of scenarios, kept by every containerd that Nival supports, in both ways of registering the shim.

mod away;
mod environments;
mod images;
mod processes;
mod runtimes;

use serde_json::Value;
use testkit::{
    BUSYBOX, CgroupParent, Containerd, Handler, Line, Node, PLACEHOLDER, Pod, PodSpec,
    Registration, Stack, require,
};

/// One node, looked at through one of its runtime handlers.
pub(crate) struct Scene<'world> {
    pub(crate) stack: &'world Stack,
    pub(crate) node: &'world Node,
    pub(crate) handler: &'static str,
    pub(crate) parent: &'world CgroupParent,
}

type Scenario = fn(&Scene<'_>);

const SCENARIOS: &[(&str, Scenario)] = &[
    ("closure", environments::closure_is_whole_and_read_only),
    (
        "pair",
        environments::containers_have_environments_of_their_own,
    ),
    (
        "layered",
        environments::an_environment_is_layered_onto_a_real_image,
    ),
    ("untouched", environments::others_are_left_alone),
    (
        "exec",
        processes::exec_has_the_environment_and_its_exit_code,
    ),
    ("terminal", processes::a_terminal_has_the_size_and_answers),
    ("streams", processes::logs_streams_and_exit_codes_arrive),
    ("stop", processes::stopping_is_a_signal_then_a_kill),
    ("stats", processes::stats_count_processor_and_memory),
    (
        "limits",
        processes::limits_are_changed_and_their_breach_is_told,
    ),
    (
        "pause",
        processes::a_container_is_paused_and_resumed_and_no_checkpoint_is_promised,
    ),
    ("user", processes::an_ordinary_user_on_a_read_only_root),
    (
        "images",
        images::the_placeholder_is_pinned_and_never_collected,
    ),
    ("refused", away::a_refusal_is_told_and_leaves_nothing),
    (
        "agent",
        away::without_the_agent_nothing_starts_and_with_it_again_all_does,
    ),
    ("restart", away::pods_outlive_containerd),
];

impl Scene<'_> {
    pub(crate) fn spec(&self, name: &str) -> PodSpec {
        PodSpec::with_environment(name, "demo/app")
            .handled_by(self.handler)
            .below(&self.parent.path())
    }

    pub(crate) fn run(&self, spec: &PodSpec) -> Pod<'_> {
        self.node.run_pod(spec).unwrap()
    }

    /// A pod whose one container sleeps.
    pub(crate) fn sleeper(&self, name: &str) -> (Pod<'_>, String) {
        let pod = self.run(&self.spec(name));
        let container = pod
            .container("main", PLACEHOLDER, &["sleep", "600"])
            .unwrap();
        (pod, container)
    }
}

#[expect(
    clippy::print_stdout,
    reason = "a test that fails shows how far it came"
)]
fn keep_the_contract(line: Line, name: &str) {
    let stack = Stack::start().unwrap();
    stack.make_key().unwrap();
    stack.publish("app", "bash coreutils", "--public").unwrap();
    stack.publish("web", "jq", "--public").unwrap();
    let containerd = Containerd {
        line,
        handlers: vec![
            Handler::new("nival", Registration::RuncType),
            Handler::new("nival-own", Registration::OwnType),
        ],
        ..Containerd::default()
    };
    let node = stack.node_with("node", "", containerd).unwrap();
    let version = node.crictl(&["version"]).unwrap();
    let version = version
        .lines()
        .find_map(|line| line.strip_prefix("RuntimeVersion:"))
        .unwrap()
        .trim()
        .trim_start_matches('v')
        .to_owned();
    assert!(version.starts_with(name), "{version} is no {name}");
    let parent = CgroupParent::new(name);
    // Both closures are there before it is noted what is there: their mounts are made once and stay.
    for environment in ["demo/app", "demo/web"] {
        let spec = PodSpec::with_environment("first", environment).below(&parent.path());
        node.run_pod(&spec).unwrap().remove().unwrap();
    }
    let before = node.traces_with_shims(0, &parent).unwrap();
    for handler in ["nival", "nival-own"] {
        for (scenario, play) in SCENARIOS {
            println!("containerd {version}, handler {handler}: {scenario}");
            play(&Scene {
                stack: &stack,
                node: &node,
                handler,
                parent: &parent,
            });
        }
    }
    node.wait_for_no_more_than(&before, &parent).unwrap();
    assert_eq!(stack.registry.asked(), 0, "no image was asked for");
}

/// Returns the figure that a path of keys leads to; the CRI writes large ones as texts.
pub(crate) fn figure(value: &Value, path: &str) -> u64 {
    let found = value.pointer(path);
    let text = found.and_then(Value::as_str);
    text.and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("no figure {path} in {value}"))
}

macro_rules! lines {
    ($($test:ident: $line:ident, $name:literal;)+) => {$(
        #[test]
        fn $test() {
            require!(root, setup, programs);
            keep_the_contract(Line::$line, $name);
        }
    )+};
}

lines! {
    containerd_1_7_keeps_the_contract: V1_7, "1.7.";
    containerd_2_1_keeps_the_contract: V2_1, "2.1.";
    containerd_2_2_keeps_the_contract: V2_2, "2.2.";
    containerd_2_3_keeps_the_contract: V2_3, "2.3.";
    containerd_2_4_keeps_the_contract: V2_4, "2.4.";
}
