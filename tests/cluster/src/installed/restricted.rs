//! Pod Security: everything but the agent's pods is let into a namespace that enforces `restricted`.

use serde_json::{Value, json};
use testkit::{Failure, Installation};

use crate::{Stage, Story, ensure, ensure_tells};

pub(crate) const STORIES: &[Story] = &[Story {
    name: "all-pods-but-the-agents-conform-to-restricted",
    tell: restricted,
}];

fn restricted(stage: &mut Stage) -> Result<(), Failure> {
    let namespace =
        stage.kubectl(&["config", "view", "--minify", "-o", "jsonpath={..namespace}"])?;
    stage.kubectl(&[
        "label",
        "namespace",
        &namespace,
        "pod-security.kubernetes.io/enforce=restricted",
    ])?;
    let chart = Installation::default().chart.display().to_string();
    let manifests = stage.cluster.helm(&["template", "nival", &chart])?;
    let mut seen = Vec::new();
    for workload in workloads(stage, &manifests)? {
        let kind = workload["kind"].as_str().unwrap_or_default().to_owned();
        let name = workload["metadata"]["name"].as_str().unwrap_or_default();
        let file = stage
            .cluster
            .control_plane()
            .stage("pod.json", &pod_of(&workload).to_string())?;
        let answer = stage.kubectl(&["apply", "--server-side", "--dry-run=server", "-f", &file]);
        match (&*kind, answer) {
            ("DaemonSet", Err(refusal)) => {
                ensure_tells(&refusal.to_string(), &["violates PodSecurity \"restricted"])?;
            }
            ("DaemonSet", Ok(_)) => {
                return Err(Failure::Text("the agent's pod was let in".to_owned()));
            }
            (_, answer) => {
                answer.map_err(|refusal| Failure::Text(format!("{kind} {name}: {refusal}")))?;
            }
        }
        seen.push(kind);
    }
    seen.sort();
    ensure(
        seen == ["DaemonSet", "Deployment", "Job", "StatefulSet"],
        || format!("the chart has {seen:?}"),
    )
}

/// Returns the workloads among the manifests, which are YAML.
fn workloads(stage: &Stage, manifests: &str) -> Result<Vec<Value>, Failure> {
    let file = stage
        .cluster
        .control_plane()
        .stage("rendered.yaml", manifests)?;
    let parsed = stage.kubectl(&[
        "create",
        "--dry-run=client",
        "--validate=false",
        "-o",
        "json",
        "-f",
        &file,
    ])?;
    let parsed = serde_json::Deserializer::from_str(&parsed).into_iter::<Value>();
    let mut workloads = Vec::new();
    for one in parsed {
        let one = one.map_err(std::io::Error::from)?;
        let items = one["items"].as_array().cloned().unwrap_or(vec![one]);
        workloads.extend(
            items
                .into_iter()
                .filter(|item| !item["spec"]["template"]["spec"].is_null()),
        );
    }
    Ok(workloads)
}

/// Returns a pod as the workload's controller would make it.
fn pod_of(workload: &Value) -> Value {
    let mut spec = workload["spec"]["template"]["spec"].clone();
    // That account is in another namespace, and makes no difference to Pod Security.
    spec["serviceAccountName"] = json!("default");
    // The controller of StatefulSets adds what comes of its claim templates.
    if let Some(claims) = workload["spec"]["volumeClaimTemplates"].as_array() {
        let volumes = spec["volumes"].as_array_mut();
        volumes.into_iter().for_each(|volumes| {
            volumes.extend(claims.iter().map(|claim| {
                let name = &claim["metadata"]["name"];
                json!({"name": name, "persistentVolumeClaim": {"claimName": name}})
            }));
        });
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": workload["metadata"]["name"]},
        "spec": spec,
    })
}
