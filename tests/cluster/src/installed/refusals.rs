//! What is refused, by whom, and in which words.

use testkit::{Failure, OWNER, poll};

use super::agents::in_agent;
use super::failures::deployment;
use crate::{Stage, Story, ensure, ensure_tells};

pub(crate) const STORIES: &[Story] = &[
    Story {
        name: "what-cannot-run-is-refused-when-it-is-applied",
        tell: at_admission,
    },
    Story {
        name: "a-revoked-generation-starts-nowhere-and-what-runs-goes-on",
        tell: revoked,
    },
];

fn at_admission(stage: &mut Stage) -> Result<(), Failure> {
    let cases: [(&str, &str, &[&str]); 4] = [
        ("unknown", "demo/nothing", &["demo/nothing"]),
        ("number", "demo/app:4711", &["demo/app:4711"]),
        ("nonsense", "'../../etc'", &["../../etc"]),
        (
            "elsewhere",
            "demo/only-arm",
            &["x86_64-linux", "aarch64-linux"],
        ),
    ];
    for (name, reference, words) in cases {
        let refused = stage.cluster.apply(&deployment(name, reference, 1));
        let said = refused.err().map(|failure| failure.to_string());
        ensure_tells(&said.unwrap_or_default(), words)?;
    }
    let left = stage.kubectl(&["get", "deployments", "-o", "name"])?;
    ensure(left.is_empty(), || format!("was made all the same: {left}"))?;
    // What names no environment is nobody's business here.
    let ordinary = deployment("ordinary", "none", 1).replace(
        "        - name: main\n",
        "        - name: main\n          image: nival.local/busybox:1\n",
    );
    stage.cluster.apply(&ordinary)?;
    stage.rolled_out("deployment/ordinary")
}

fn revoked(stage: &mut Stage) -> Result<(), Failure> {
    let reference = format!("{OWNER}/withdrawn");
    stage.cluster.apply(&deployment("old", &reference, 1))?;
    stage.rolled_out("deployment/old")?;
    let running = stage.only_pod("old")?;
    let laptop = &stage.stack.laptop;
    laptop.shell(&format!(
        "nival revoke {reference}:1 --reason 'a backdoor was found'"
    ))?;
    // Admission has to hear of it, and the nodes, and then nothing of it starts.
    let refused = stage.refusal(&deployment("new", &reference, 1))?;
    ensure_tells(
        &refused,
        &["demo/withdrawn:1", "revoked", "a backdoor was found"],
    )?;
    for node in ["node1", "node2"] {
        poll("a node to hear of it", || {
            let status = in_agent(stage, node, &["nival-agent", "status"])?;
            Ok(status
                .contains(&format!("revoked  {OWNER}: 1 generations"))
                .then_some(()))
        })?;
    }
    stage.kubectl(&["scale", "deployment/old", "--replicas=3"])?;
    stage.event_with(&["FailedCreatePodSandBox", "revoked", "a backdoor was found"])?;
    let phase = stage.get(&running, "{.status.phase}")?;
    ensure(phase == "Running", || format!("what ran before is {phase}"))
}
