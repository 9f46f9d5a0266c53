//! A fetch that takes longer than the kubelet waits.

use std::time::Duration;

use testkit::{Failure, poll_within};

use crate::stage::FAR;
use crate::{Stage, Story, ensure};

pub(crate) const STORIES: &[Story] = &[Story {
    name: "a-job-whose-fetch-outlasts-the-kubelet-fails-no-pod",
    tell: slow_fetch,
}];

fn job() -> String {
    format!(
        "
apiVersion: batch/v1
kind: Job
metadata:
  name: patient
spec:
  backoffLimit: 0
  template:
    metadata:
      annotations:
        nival.dev/environment: demo/large
    spec:
      runtimeClassName: nival
      nodeName: node2
      restartPolicy: Never
      tolerations: [{{key: {FAR}, operator: Exists}}]
      containers:
        - name: main
          image: nival.dev/placeholder:v1
          command: [python3, -c, 'import numpy; print(numpy.__version__)']
"
    )
}

fn slow_fetch(stage: &mut Stage) -> Result<(), Failure> {
    stage.cluster.apply(&job())?;
    let (succeeded, failed) = ("{.status.succeeded}", "{.status.failed}");
    let status = |path: &str| {
        let path = format!("jsonpath={path}");
        stage.kubectl(&["get", "job", "patient", "-o", &path])
    };
    poll_within(Duration::from_secs(180), "the job to end", || {
        let bad = status(failed)?;
        ensure(bad.is_empty() || bad == "0", || {
            format!("{bad} pods failed")
        })?;
        Ok((status(succeeded)? == "1").then_some(()))
    })?;
    let pods = stage.kubectl(&["get", "pods", "-l", "job-name=patient", "-o", "name"])?;
    let pod = pods.trim().trim_start_matches("pod/");
    ensure(!pod.contains('\n') && !pod.is_empty(), || {
        format!("the job had these pods: {pods}")
    })?;
    let events = stage.events("Pod", pod)?;
    let told: Vec<&String> = events
        .iter()
        .filter(|text| text.contains("fetching demo/large") && text.contains(" of "))
        .collect();
    ensure(told.len() >= 2, || {
        format!(
            "the events do not tell how far the fetch was, several times: {}",
            events.join("\n")
        )
    })
}
