//! A hub behind TLS, whose certificate is of an authority that is the company's own.

use serde_json::json;
use testkit::cluster::NAMESPACE;
use testkit::{Failure, TlsEntrance, retry};

use super::upgrade::{on_node1, settle};
use crate::{Stage, Story};

pub(crate) const STORIES: &[Story] = &[Story {
    name: "a-hub-with-a-certificate-of-a-private-authority-is-trusted-when-that-is",
    tell: private_authority,
}];

fn private_authority(stage: &mut Stage) -> Result<(), Failure> {
    let entrance = TlsEntrance::start(&stage.stack.world)?;
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "company", "namespace": NAMESPACE},
        "data": {"authority.pem": entrance.authority()},
    });
    stage.cluster.apply(&map.to_string())?;
    stage
        .stack
        .publish("behind-tls", "bash coreutils jq", "--public")?;
    let mut values = super::values();
    values["hub"] = json!({"url": entrance.url()});

    // Without the authority nobody believes the hub, and the pod's author is told so.
    stage.cluster.upgrade(&stage.stack.installation(&values)?)?;
    settle(stage)?;
    let pod = on_node1("trusting").replace("demo/app", "demo/behind-tls");
    let refused = stage.refusal(&pod)?;
    crate::ensure_tells(&refused, &["certificate"])?;

    values["authorities"] = json!({"configMap": "company"});
    stage.cluster.upgrade(&stage.stack.installation(&values)?)?;
    settle(stage)?;
    // A replica of before may still answer what it was asked over an open connection.
    retry("the pod to be let in", || stage.cluster.apply(&pod))?;
    stage.ready("trusting")?;
    stage.exec("trusting", "jq --version")?;

    stage.kubectl(&["delete", "pod", "trusting", "--timeout=60s"])?;
    stage
        .cluster
        .upgrade(&stage.stack.installation(&super::values())?)?;
    settle(stage)?;
    stage
        .kubectl(&["delete", "configmap", "company", "--namespace", NAMESPACE])
        .map(drop)
}
