//! New generations: rolled out under load, rolled back when broken, undone by a person with the hub gone.

use testkit::{Failure, OWNER, poll, poll_within};

use super::PATIENCE;
use super::applications::{CLIENT, WEB_AND_REDIS, all_pods_run, pin_of, template};
use crate::{Stage, Story, ensure, ensure_tells};

pub(crate) const STORIES: &[Story] = &[
    Story {
        name: "a-push-under-steady-load-fails-no-request",
        tell: under_load,
    },
    Story {
        name: "a-broken-generation-rolls-back-by-itself-and-says-why",
        tell: broken,
    },
    Story {
        name: "a-rollback-works-while-the-hub-is-stopped",
        tell: without_the_hub,
    },
    Story {
        name: "a-paused-rollout-waits-for-its-resumption",
        tell: paused,
    },
];

/// Asks without a pause until it is told to stop, and says how it went.
const LOAD: &str = "import pathlib, urllib.request
stop = pathlib.Path('/tmp/stop')
answered, failed, generations = 0, [], set()
while not stop.exists():
    try:
        text = urllib.request.urlopen('http://web/', timeout=10).read().decode()
        generations.add(text.split('@')[0])
        answered += 1
    except Exception as error:
        failed.append(repr(error))
    pathlib.Path('/tmp/count').write_text(str(answered))
print('answered', answered, 'failed', len(failed), failed[:3], sorted(generations))
";

fn under_load(stage: &mut Stage) -> Result<(), Failure> {
    serve(stage)?;
    stage.cluster.apply(CLIENT)?;
    stage.ready("client")?;
    let before = pin_of(&template(stage, "deployment/web")?)?;
    let load = format!(
        "cat >/tmp/load.py <<'END'\n{LOAD}\nEND\npython3 /tmp/load.py >/tmp/load.log 2>&1 &"
    );
    stage.exec("client", &load)?;
    answered_more(stage, 50)?;
    let pushed = change(stage, "[vars] under load")?;
    let pin = moved_on(stage, &before)?;
    ensure_tells(&pin, &[&pushed])?;
    all_pods_run(stage, "web", &pin)?;
    answered_more(stage, 50)?;
    stage.exec("client", "touch /tmp/stop")?;
    let said = poll("the load to end", || {
        let said = stage.exec("client", "cat /tmp/load.log")?;
        Ok(said.contains("answered").then_some(said))
    })?;
    ensure_tells(&said, &["failed 0 "])?;
    let numbers = |pin: &str| pin.split('@').next().unwrap_or_default().to_owned();
    ensure_tells(&said, &[&numbers(&before), &numbers(&pin)])?;
    let number = pin.split([':', '@']).nth(1).unwrap_or_default();
    let to = format!("→ :{number}");
    stage.event_of("Deployment", "web", &["RollingOut", &numbers(&before), &to])?;
    stage.event_of("Deployment", "web", &["RolledOut", &numbers(&pin)])?;
    // The nodes had it before the first pod asked.
    stage.event_of("Deployment", "web", &["Prefetching", &numbers(&pin)])?;
    // Written a moment after the event.
    let path = "{.status.live.generation} {.status.workloads[0].phase}";
    let wanted = format!("{pin} Complete");
    poll("the environment's state to be complete", || {
        Ok((environment(stage, path)? == wanted).then_some(()))
    })
}

fn broken(stage: &mut Stage) -> Result<(), Failure> {
    serve(stage)?;
    let good = pin_of(&template(stage, "deployment/web")?)?;
    stage.push("web", "nival uninstall python3")?;
    let told = goes_back(stage);
    let patient = deadline(stage, "2m");
    // Whatever came of it, the environment is whole again for the next story.
    let mended = stage.push("web", "nival install python3");
    told.and(patient)?;
    mended?;
    let pin = poll("the mended generation to be rolled out", || {
        let pin = pin_of(&template(stage, "deployment/web")?)?;
        let number = |pin: &str| pin.split(['@', ':']).nth(1)?.parse::<u64>().ok();
        Ok((number(&pin) > number(&good).map(|number| number + 1)).then_some(pin))
    })?;
    all_pods_run(stage, "web", &pin)
}

/// Waits until a pod fails for want of Python, lets nobody wait any longer, and looks for the reason.
fn goes_back(stage: &Stage) -> Result<(), Failure> {
    poll("a pod to fail", || {
        let path = "jsonpath={.items[*].status.containerStatuses[*].state}";
        let states = stage.kubectl(&["get", "pods", "-l", "app=web", "-o", path])?;
        Ok(states.contains("python3").then_some(()))
    })?;
    deadline(stage, "15s")?;
    stage.event_of("Deployment", "web", &["RolledBack", "python3"])?;
    failure_is_told(stage)
}

/// Sets how long a rollout of the web application may make no progress.
fn deadline(stage: &Stage, time: &str) -> Result<(), Failure> {
    let annotation = format!("nival.dev/progress-deadline={time}");
    let annotate = ["annotate", "--overwrite", "deployment/web", &annotation];
    stage.kubectl(&annotate).map(drop)
}

fn failure_is_told(stage: &Stage) -> Result<(), Failure> {
    poll("the environment's state to tell the failure", || {
        let failure = environment(stage, "{.status.lastFailure.message}")?;
        Ok(failure.contains("python3").then_some(()))
    })
}

fn without_the_hub(stage: &mut Stage) -> Result<(), Failure> {
    serve(stage)?;
    let first = pin_of(&template(stage, "deployment/web")?)?;
    change(stage, "[vars] before the undo")?;
    let second = moved_on(stage, &first)?;
    all_pods_run(stage, "web", &second)?;
    stage.event_of("Deployment", "web", &["RolledOut"])?;
    stage.stack.hub.kill()?;
    let undone = stage
        .kubectl(&["rollout", "undo", "deployment/web"])
        .and_then(|_| all_pods_run(stage, "web", &first));
    stage.stack.hub.resume()?;
    undone?;
    // A person's word stands: tracking waits until the live pointer moves again.
    stage.event_of("Deployment", "web", &["Held"])?;
    stage.rolled_out("deployment/web")?;
    let after = pin_of(&template(stage, "deployment/web")?)?;
    ensure(after == first, || {
        format!("undo led to {after}, not back to {first}")
    })
}

fn paused(stage: &mut Stage) -> Result<(), Failure> {
    serve(stage)?;
    let first = pin_of(&template(stage, "deployment/web")?)?;
    stage.kubectl(&["annotate", "deployment/web", "nival.dev/paused=true"])?;
    let pushed = change(stage, "[vars] while paused")?;
    // The operator has seen the new generation, and still does not touch the workload.
    poll("the environment's state to know the new generation", || {
        let live = environment(stage, "{.status.live.generation}")?;
        Ok(live.contains(&pushed).then_some(()))
    })?;
    let still = pin_of(&template(stage, "deployment/web")?)?;
    ensure(still == first, || "a paused workload was moved".to_owned())?;
    stage.kubectl(&["annotate", "deployment/web", "nival.dev/paused-"])?;
    let second = moved_on(stage, &first)?;
    all_pods_run(stage, "web", &second)
}

/// Brings up the web application and Redis.
pub(super) fn serve(stage: &Stage) -> Result<(), Failure> {
    stage.cluster.apply(WEB_AND_REDIS)?;
    stage.rolled_out("deployment/redis")?;
    stage.rolled_out("deployment/web")
}

/// Waits until the web application's template has another pin, and returns it.
pub(super) fn moved_on(stage: &Stage, before: &str) -> Result<String, Failure> {
    // Nodes that were cut off take their time to come back, and a rollout waits for what they fetch.
    poll_within(PATIENCE, "the template to be moved on", || {
        let pin = pin_of(&template(stage, "deployment/web")?)?;
        Ok((pin != before).then_some(pin))
    })
}

/// Publishes a generation of the web environment that differs in a variable, and returns its `name:number`.
pub(super) fn change(stage: &Stage, what: &str) -> Result<String, Failure> {
    let script = format!(
        "cd ~/web && sed -i '/^STORY/d' .nival/manifest.toml && sed -i 's/^\\[vars\\]$/[vars]\\nSTORY = \"{}\"/' .nival/manifest.toml \
         && nival lock >&2 && nival push {OWNER}/web --json",
        what.replace(['[', ']'], "")
    );
    let text = stage.stack.laptop.shell(&script)?;
    let pushed: serde_json::Value = serde_json::from_str(&text).map_err(std::io::Error::from)?;
    Ok(format!("{OWNER}/web:{}@", pushed["number"]))
}

/// Returns a field of the story's resource of the web environment.
fn environment(stage: &Stage, path: &str) -> Result<String, Failure> {
    stage.kubectl(&[
        "get",
        "environments.nival.dev",
        "demo.web",
        "-o",
        &format!("jsonpath={path}"),
    ])
}

/// Waits until the load has had so many answers more.
fn answered_more(stage: &Stage, more: u64) -> Result<(), Failure> {
    let count = || -> Result<u64, Failure> {
        let text = stage.exec("client", "cat /tmp/count 2>/dev/null || echo 0")?;
        Ok(text.trim().parse().unwrap_or(0))
    };
    let begun = count()?;
    poll("the load to be answered", || {
        Ok((count()? >= begun + more).then_some(()))
    })
}
