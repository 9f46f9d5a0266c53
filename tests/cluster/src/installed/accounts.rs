//! Least privilege: what the accounts of the installation may do, and what is refused.

use serde_json::{Value, json};
use testkit::Failure;
use testkit::cluster::NAMESPACE;

use super::agents::agent_on;
use crate::{Stage, Story, ensure, ensure_tells};

pub(crate) const STORIES: &[Story] = &[
    Story {
        name: "the-accounts-may-do-what-they-need-and-no-more",
        tell: permissions,
    },
    Story {
        name: "a-neighbour-speaks-for-its-own-node-alone",
        tell: neighbour,
    },
    Story {
        name: "no-container-but-the-neighbour-has-a-token-on-a-node",
        tell: tokens,
    },
];

/// Group and resource with its subresource, by its namespace, with the only name that is meant.
type Resource = (&'static str, &'static str, &'static str, &'static str);

/// What each account may do, verb by verb.
const ALLOWED: &[(&str, &[&str], Resource)] = &[
    ("nival-node", &["get", "patch"], ("", "nodes", "", "")),
    (
        "nival-node",
        &["create", "watch"],
        ("nival.dev", "nivalnodes", "", ""),
    ),
    (
        "nival-node",
        &["patch"],
        ("nival.dev", "nivalnodes/status", "", ""),
    ),
    (
        "nival-controller",
        &["patch"],
        ("apps", "deployments", "team", ""),
    ),
    (
        "nival-controller",
        &["patch"],
        ("batch", "cronjobs", "team", ""),
    ),
    (
        "nival-controller",
        &["create", "delete"],
        ("nival.dev", "environments", "team", ""),
    ),
    (
        "nival-controller",
        &["patch"],
        ("nival.dev", "nivalnodes", "", ""),
    ),
    (
        "nival-controller",
        &["get", "patch"],
        ("", "secrets", NAMESPACE, "nival-webhook-tls"),
    ),
    (
        "nival-controller",
        &["patch"],
        (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations",
            "",
            "nival",
        ),
    ),
    (
        "nival-controller",
        &["create"],
        ("coordination.k8s.io", "leases", NAMESPACE, ""),
    ),
    (
        "nival-uninstall",
        &["patch"],
        ("nival.dev", "nivalnodes", "", ""),
    ),
];

/// What none of the accounts may do.
const REFUSED_TO_ALL: &[(&[&str], Resource)] = &[
    (&["get", "list", "create"], ("", "secrets", "team", "")),
    (&["get", "list", "create"], ("", "secrets", NAMESPACE, "")),
    (&["get"], ("", "secrets", NAMESPACE, "another")),
    (&["create"], ("", "pods", "team", "")),
    (&["create"], ("", "pods", NAMESPACE, "")),
    (&["create"], ("", "pods/exec", "team", "")),
    (
        &["create"],
        ("", "serviceaccounts/token", NAMESPACE, "nival-node"),
    ),
    (&["update", "patch"], ("", "nodes/status", "", "")),
    (&["create", "delete", "update"], ("", "nodes", "", "")),
    (&["get"], ("", "nodes/proxy", "", "")),
    (
        &["create", "patch"],
        ("rbac.authorization.k8s.io", "clusterrolebindings", "", ""),
    ),
    (
        &["escalate", "bind"],
        ("rbac.authorization.k8s.io", "clusterroles", "", ""),
    ),
    (&["impersonate"], ("", "users", "", "")),
    (
        &["patch"],
        (
            "admissionregistration.k8s.io",
            "validatingadmissionpolicies",
            "",
            "",
        ),
    ),
    (
        &["patch"],
        (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations",
            "",
            "another",
        ),
    ),
    (
        &["create"],
        (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations",
            "",
            "",
        ),
    ),
    (
        &["patch"],
        ("apiextensions.k8s.io", "customresourcedefinitions", "", ""),
    ),
];

/// What one of them may, and another may not.
const REFUSED: &[(&str, &[&str], Resource)] = &[
    ("nival-node", &["list", "watch"], ("", "nodes", "", "")),
    (
        "nival-node",
        &["patch", "update"],
        ("nival.dev", "nivalnodes", "", ""),
    ),
    ("nival-node", &["get"], ("", "pods", "team", "")),
    (
        "nival-node",
        &["patch"],
        ("apps", "deployments", "team", ""),
    ),
    (
        "nival-node",
        &["get"],
        ("nival.dev", "environments", "team", ""),
    ),
    ("nival-controller", &["patch"], ("", "nodes", "", "")),
    (
        "nival-controller",
        &["patch"],
        ("nival.dev", "nivalnodes/status", "", ""),
    ),
    (
        "nival-controller",
        &["create", "delete"],
        ("apps", "deployments", "team", ""),
    ),
    ("nival-uninstall", &["get"], ("", "nodes", "", "")),
    ("nival-uninstall", &["get"], ("", "pods", "team", "")),
];

fn permissions(stage: &mut Stage) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    let mut check = |account: &str, verbs: &[&str], resource: Resource, wanted: bool| {
        for verb in verbs {
            if may(stage, account, verb, resource)? != wanted {
                let says = if wanted { "may not" } else { "may" };
                wrong.push(format!("{account} {says} {verb} {resource:?}"));
            }
        }
        Ok::<_, Failure>(())
    };
    for (account, verbs, resource) in ALLOWED {
        check(account, verbs, *resource, true)?;
    }
    for (account, verbs, resource) in REFUSED {
        check(account, verbs, *resource, false)?;
    }
    for (verbs, resource) in REFUSED_TO_ALL {
        for account in ["nival-node", "nival-controller", "nival-uninstall"] {
            check(account, verbs, *resource, false)?;
        }
    }
    ensure(wrong.is_empty(), || wrong.join("\n"))
}

/// Asks the API server whether an account may do something.
fn may(stage: &Stage, account: &str, verb: &str, resource: Resource) -> Result<bool, Failure> {
    let (group, resource, namespace, name) = resource;
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": format!("system:serviceaccount:{NAMESPACE}:{account}"),
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": {
                "verb": verb, "group": group, "resource": resource, "subresource": subresource,
                "namespace": namespace, "name": name,
            },
        },
    });
    let machine = stage.cluster.control_plane();
    let file = machine.stage("review.json", &review.to_string())?;
    let allowed = stage.kubectl(&["create", "-f", &file, "-o", "jsonpath={.status.allowed}"])?;
    Ok(allowed == "true")
}

fn neighbour(stage: &mut Stage) -> Result<(), Failure> {
    let token = token(
        stage,
        &[
            "--bound-object-kind=Pod",
            "--bound-object-name",
            &agent_on(stage, "node1")?,
        ],
    )?;
    let as_neighbour = |arguments: &[&str]| -> Result<String, Failure> {
        let token = format!("--token={token}");
        stage.kubectl(&[&[&*token], arguments].concat())
    };
    as_neighbour(&["label", "node", "node1", "nival.dev/story=told"])?;
    as_neighbour(&["label", "node", "node1", "nival.dev/story-"])?;
    let other_node = json!({
        "apiVersion": "nival.dev/v1alpha1", "kind": "NivalNode", "metadata": {"name": "node9"}, "spec": {},
    });
    let other_node = stage
        .cluster
        .control_plane()
        .stage("other-node.json", &other_node.to_string())?;
    // Applied by the server: `kubectl patch` would read it first, which the account may not.
    let removed = json!({
        "apiVersion": "nival.dev/v1alpha1", "kind": "NivalNode", "metadata": {"name": "node2"},
        "status": {"state": "Removed"},
    });
    let removed = stage
        .cluster
        .control_plane()
        .stage("removed.json", &removed.to_string())?;
    let refused: &[(&[&str], &str)] = &[
        (
            &["label", "node", "node2", "nival.dev/story=told"],
            "speaks for its own node alone",
        ),
        (
            &[
                "label",
                "node",
                "node1",
                "node-role.kubernetes.io/control-plane=yes",
            ],
            "but its labels nival.dev/",
        ),
        (
            &[
                "label",
                "node",
                "node1",
                "kubernetes.io/hostname=other",
                "--overwrite",
            ],
            "but its labels nival.dev/",
        ),
        (
            &["annotate", "node", "node1", "story=told"],
            "but its labels nival.dev/",
        ),
        (
            &["taint", "node", "node1", "story=told:NoSchedule"],
            "but its labels nival.dev/",
        ),
        (
            &["delete", "node", "node1"],
            "cannot delete resource \"nodes\"",
        ),
        (
            &["create", "-f", &other_node],
            "speaks for its own node alone",
        ),
        (
            &[
                "apply",
                "--server-side",
                "--force-conflicts",
                "--subresource=status",
                "-f",
                &removed,
            ],
            "speaks for its own node alone",
        ),
        (
            &[
                "patch",
                "nivalnode",
                "node1",
                "--type=merge",
                "-p",
                r#"{"spec": {"remove": true}}"#,
            ],
            "cannot patch resource \"nivalnodes\"",
        ),
        (
            &["get", "secrets", "--namespace", NAMESPACE],
            "cannot list resource \"secrets\"",
        ),
    ];
    for (arguments, words) in refused {
        match as_neighbour(arguments) {
            Ok(said) => return Err(Failure::Text(format!("{arguments:?} was allowed: {said}"))),
            Err(refusal) => ensure_tells(&refusal.to_string(), &[words])?,
        }
    }
    // A token that was not made for a pod says of no node that it is its own.
    let unbound = self::token(stage, &[])?;
    let label = ["label", "node", "node1", "nival.dev/story=told"];
    let refusal = stage.kubectl(&[&[&*format!("--token={unbound}")], &label[..]].concat());
    match refusal {
        Ok(said) => Err(Failure::Text(format!(
            "an unbound token was enough: {said}"
        ))),
        Err(refusal) => ensure_tells(&refusal.to_string(), &["on node (unknown)"]),
    }
}

/// Returns a token of the neighbours' account.
fn token(stage: &Stage, more: &[&str]) -> Result<String, Failure> {
    let wish = ["create", "token", "nival-node", "--namespace", NAMESPACE];
    let token = stage.kubectl(&[&wish[..], more].concat())?;
    Ok(token.trim().to_owned())
}

const TOKEN: &str = "var/run/secrets/kubernetes.io/serviceaccount/token";

fn tokens(stage: &mut Stage) -> Result<(), Failure> {
    let pod = agent_on(stage, "node1")?;
    let pod: Value = stage
        .cluster
        .kubectl_json(&["get", "pod", &pod, "--namespace", NAMESPACE])?;
    let containers = [&pod["spec"]["initContainers"], &pod["spec"]["containers"]];
    for container in containers.iter().flat_map(|list| list.as_array()).flatten() {
        let name = container["name"].as_str().unwrap_or_default();
        let mounts = container["volumeMounts"].to_string();
        ensure(
            mounts.contains("serviceaccount") == (name == "node"),
            || format!("{name} has the mounts {mounts}"),
        )?;
    }
    // What the processes really see.
    for (program, wanted) in [("nival-agent", "none"), ("nival-operator", "token")] {
        let look = format!(
            "for process in /proc/[0-9]*; do\n\
             program=$(readlink $process/exe) || continue\n\
             if [ \"${{program##*/}}\" = {program} ]; then\n\
             if [ -e $process/root/{TOKEN} ]; then echo token; else echo none; fi\n\
             fi\ndone"
        );
        let seen = stage.cluster.node().machine().shell(&look)?;
        ensure(
            !seen.is_empty() && seen.lines().all(|one| one == wanted),
            || format!("the processes of {program} on node1 have: {seen:?}"),
        )?;
    }
    Ok(())
}
