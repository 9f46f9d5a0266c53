//! A new dependency is a push and a restart.

use testkit::{Failure, poll};

use crate::{Stage, Story, ensure};

pub(crate) const STORIES: &[Story] = &[Story {
    name: "a-push-and-a-restart-bring-the-new-generation",
    tell: push_and_restart,
}];

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: tools
spec:
  replicas: 2
  selector:
    matchLabels: {app: tools}
  template:
    metadata:
      labels: {app: tools}
      annotations:
        nival.dev/environment: demo/tools
    spec:
      runtimeClassName: nival
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          image: nival.dev/placeholder:v1
          command: [sh, -c, 'command -v python3 || echo no python; exec sleep 600']
";

fn push_and_restart(stage: &mut Stage) -> Result<(), Failure> {
    let asked = stage.stack.registry.asked();
    stage.cluster.apply(DEPLOYMENT)?;
    rolled_out(stage)?;
    logs_tell(stage, "no python")?;
    stage.push("tools", "nival install python3")?;
    stage.kubectl(&["rollout", "restart", "deployment/tools"])?;
    rolled_out(stage)?;
    logs_tell(stage, "/bin/python3")?;
    // Leaves the environment as it was for whoever comes next.
    stage.push("tools", "nival uninstall python3")?;
    let pulled = stage.stack.registry.asked() - asked;
    ensure(pulled == 0, || {
        format!("a registry was asked {pulled} times")
    })
}

fn rolled_out(stage: &Stage) -> Result<(), Failure> {
    let status = ["rollout", "status", "deployment/tools", "--timeout=90s"];
    stage.kubectl(&status).map(drop)
}

/// Every replica has to say it. Those of the generation before may still be on their way out.
fn logs_tell(stage: &Stage, part: &str) -> Result<(), Failure> {
    poll("the old replicas to be gone", || {
        let names = stage.kubectl(&["get", "pods", "-l", "app=tools", "-o", "name"])?;
        Ok((names.lines().count() == 2).then_some(()))
    })?;
    let names = stage.kubectl(&["get", "pods", "-l", "app=tools", "-o", "name"])?;
    for name in names.lines() {
        stage.said(name, "main", part)?;
    }
    Ok(())
}
