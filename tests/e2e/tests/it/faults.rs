//! Parts that die or run out of room: nothing is lost, and the next try succeeds.

use testkit::{PLACEHOLDER, PodSpec, Stack, poll, require};

use crate::refusals::{assert_tells, refusal};

fn stack_with_app(packages: &str) -> Stack {
    let stack = Stack::start().unwrap();
    stack.make_key().unwrap();
    stack.publish("app", packages, "--public").unwrap();
    stack
}

#[test]
fn without_the_agent_no_pod_starts_and_with_it_again_the_retry_does() {
    require!(root, setup, programs);
    let stack = stack_with_app("bash coreutils");
    let node = stack.node("node", "").unwrap();
    node.kill_agent().unwrap();
    let spec = PodSpec::with_environment("app", "demo/app");
    assert_tells(
        &refusal(&node, &spec),
        &["nival-agent", "/run/nival/agent.sock"],
    );
    // Ordinary pods do not care.
    node.run_pod(&PodSpec::plain("plain", "nival"))
        .unwrap()
        .remove()
        .unwrap();
    node.start_agent().unwrap();
    let pod = node.run_pod(&spec).unwrap();
    let (code, _) = pod.run_to_end("main", PLACEHOLDER, &["true"]).unwrap();
    assert_eq!(code, 0);
    pod.remove().unwrap();
}

#[test]
fn an_agent_killed_in_the_middle_of_a_fetch_goes_on_where_it_was() {
    require!(root, setup, programs);
    let stack = stack_with_app("bash coreutils python3 numpy");
    let node = stack.node("node", "").unwrap();
    let mut prefetch = node.machine().command("nival-agent").unwrap();
    let mut prefetch = prefetch.args(["prefetch", "demo/app"]).spawn().unwrap();
    poll("the fetch to begin", || {
        Ok(node
            .machine()
            .shell("find /var/lib/nival -type f | head -20 | wc -l")
            .ok()
            .filter(|count| count.trim() == "20"))
    })
    .unwrap();
    node.kill_agent().unwrap();
    prefetch.wait().unwrap();
    node.start_agent().unwrap();
    let pod = node
        .run_pod(&PodSpec::with_environment("app", "demo/app"))
        .unwrap();
    let (code, _) = pod
        .run_to_end("main", PLACEHOLDER, &["python3", "-c", "import numpy"])
        .unwrap();
    assert_eq!(code, 0);
    let left = node
        .machine()
        .shell("find /var/lib/nival -path '*/tmp/*'")
        .unwrap();
    assert_eq!(left, "", "what the killed agent left is gone");
    pod.remove().unwrap();
}

#[test]
fn a_hub_that_goes_away_in_the_middle_is_named_and_the_retry_succeeds() {
    require!(root, setup, programs);
    let mut stack = stack_with_app("bash coreutils python3 numpy");
    let node = stack.node("node", "").unwrap();
    stack.hub.kill().unwrap();
    let spec = PodSpec::with_environment("app", "demo/app");
    assert_tells(&refusal(&node, &spec), &["demo/app", "127.0.0.1:7878"]);
    stack.hub.resume().unwrap();
    node.run_pod(&spec).unwrap().remove().unwrap();
}

#[test]
fn a_full_disk_is_named_and_with_room_the_pod_starts() {
    require!(root, setup, programs);
    let stack = stack_with_app("bash coreutils python3 numpy");
    let node = stack.node("node", "").unwrap();
    node.kill_agent().unwrap();
    node.machine()
        .shell("mkdir -p /var/lib/nival && mount -t tmpfs -o size=24m tmpfs /var/lib/nival")
        .unwrap();
    node.start_agent().unwrap();
    let spec = PodSpec::with_environment("app", "demo/app");
    assert_tells(&refusal(&node, &spec), &["/var/lib/nival", "space"]);
    node.machine()
        .shell("mount -o remount,size=600m /var/lib/nival")
        .unwrap();
    node.run_pod(&spec).unwrap().remove().unwrap();
}

#[test]
fn a_push_that_was_killed_in_the_middle_is_finished_by_the_next() {
    require!(root, setup, programs);
    let stack = Stack::start().unwrap();
    stack.make_key().unwrap();
    stack
        .laptop
        .shell("mkdir ~/app && cd ~/app && nival init && nival install python3 numpy redis")
        .unwrap();
    let mut push = stack.laptop.command("sh").unwrap();
    let mut push = push
        .args(["-c", "cd ~/app && exec nival push demo/app --public"])
        .spawn()
        .unwrap();
    poll("the first NAR to be there", || {
        Ok((stack.hub.files_ending(".narinfo")?.len() > 2).then_some(()))
    })
    .unwrap();
    for process in stack.laptop.processes("nival") {
        let process = rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
        // One that has ended meanwhile has pushed everything, and the next push finds that.
        rustix::process::kill_process(process, rustix::process::Signal::KILL).ok();
    }
    push.wait().unwrap();
    let finished = stack
        .laptop
        .shell("cd ~/app && nival push demo/app --public --json")
        .unwrap();
    let finished: serde_json::Value = serde_json::from_str(&finished).unwrap();
    assert_eq!(finished["number"], 1);
    let node = stack.node("node", "").unwrap();
    node.run_pod(&PodSpec::with_environment("app", "demo/app"))
        .unwrap()
        .remove()
        .unwrap();
}
