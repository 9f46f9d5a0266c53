//! The kinds of objects that the verbs read, and the words by which people name them.

use std::fmt;
use std::str::FromStr;

/// A kind of object in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Replaces pods without an order.
    Deployment,
    /// Pods with names and volumes of their own.
    StatefulSet,
    /// One pod on each node.
    DaemonSet,
    /// Makes Jobs by the clock.
    CronJob,
    /// Runs to its end.
    Job,
    /// One pod.
    Pod,
    /// A Deployment's revision.
    ReplicaSet,
    /// A revision of a StatefulSet or DaemonSet.
    ControllerRevision,
    /// A part of the cluster with its own names.
    Namespace,
    /// A machine.
    Node,
    /// What happened to an object.
    Event,
    /// A way to run containers.
    RuntimeClass,
    /// The definition of a kind.
    CustomResourceDefinition,
    /// Whom the API server asks before it changes what it is given.
    MutatingWebhookConfiguration,
    /// Whom it asks whether it may take it.
    ValidatingWebhookConfiguration,
    /// Files for programs.
    ConfigMap,
    /// Nival's state of an environment.
    Environment,
    /// Nival's state of a node.
    NivalNode,
}

/// The kinds that have a pod template, or are a pod: in the order that lists show them.
pub(crate) const WORKLOADS: [Kind; 6] = [
    Kind::Deployment,
    Kind::StatefulSet,
    Kind::DaemonSet,
    Kind::CronJob,
    Kind::Job,
    Kind::Pod,
];

/// An object of a kind, by name: `deployment/web`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectName {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Its name.
    pub(crate) name: String,
}

/// Why a word names no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ObjectNameError {
    /// There is no slash.
    #[error(
        "{0:?} names no kind: write deployment/NAME, sts/NAME, ds/NAME, cronjob/NAME, job/NAME or pod/NAME"
    )]
    NoKind(String),
    /// The kind has no pods.
    #[error(
        "{0:?} is not a kind with pods: it must be one of deployment, statefulset, daemonset, cronjob, job and pod"
    )]
    UnknownKind(String),
    /// What stands after the slash is no name.
    #[error("{0:?} is not a name: expected letters, digits, '-' and '.'")]
    BadName(String),
}

impl Kind {
    /// Returns the group, the version and the plural.
    const fn resource(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Deployment => ("apps", "v1", "deployments"),
            Self::StatefulSet => ("apps", "v1", "statefulsets"),
            Self::DaemonSet => ("apps", "v1", "daemonsets"),
            Self::CronJob => ("batch", "v1", "cronjobs"),
            Self::Job => ("batch", "v1", "jobs"),
            Self::Pod => ("", "v1", "pods"),
            Self::ReplicaSet => ("apps", "v1", "replicasets"),
            Self::ControllerRevision => ("apps", "v1", "controllerrevisions"),
            Self::Namespace => ("", "v1", "namespaces"),
            Self::Node => ("", "v1", "nodes"),
            Self::Event => ("", "v1", "events"),
            Self::RuntimeClass => ("node.k8s.io", "v1", "runtimeclasses"),
            Self::CustomResourceDefinition => {
                ("apiextensions.k8s.io", "v1", "customresourcedefinitions")
            }
            Self::MutatingWebhookConfiguration => (
                "admissionregistration.k8s.io",
                "v1",
                "mutatingwebhookconfigurations",
            ),
            Self::ValidatingWebhookConfiguration => (
                "admissionregistration.k8s.io",
                "v1",
                "validatingwebhookconfigurations",
            ),
            Self::ConfigMap => ("", "v1", "configmaps"),
            Self::Environment => (
                workload::names::GROUP,
                api::kubernetes::VERSION,
                "environments",
            ),
            Self::NivalNode => (
                workload::names::GROUP,
                api::kubernetes::VERSION,
                "nivalnodes",
            ),
        }
    }

    /// Returns the kind as what has a pod template, where it has one.
    pub(crate) fn with_template(self) -> Option<workload::template::Kind> {
        workload::template::Kind::named(self.resource().0, self.name())
    }

    /// Returns the plural, as messages of the API server have it.
    pub(crate) const fn plural(self) -> &'static str {
        self.resource().2
    }

    /// Returns the kind as objects name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::CronJob => "CronJob",
            Self::Job => "Job",
            Self::Pod => "Pod",
            Self::ReplicaSet => "ReplicaSet",
            Self::ControllerRevision => "ControllerRevision",
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::Event => "Event",
            Self::RuntimeClass => "RuntimeClass",
            Self::CustomResourceDefinition => "CustomResourceDefinition",
            Self::MutatingWebhookConfiguration => "MutatingWebhookConfiguration",
            Self::ValidatingWebhookConfiguration => "ValidatingWebhookConfiguration",
            Self::ConfigMap => "ConfigMap",
            Self::Environment => "Environment",
            Self::NivalNode => "NivalNode",
        }
    }

    /// Returns the version as objects name it, such as `apps/v1`.
    pub(crate) fn api_version(self) -> String {
        match self.resource() {
            ("", version, _) => version.to_owned(),
            (group, version, _) => format!("{group}/{version}"),
        }
    }

    /// Returns the path below which the API server has objects of the kind: those of a namespace, or all.
    pub(crate) fn path(self, namespace: Option<&str>) -> String {
        let (group, version, plural) = self.resource();
        let root = match group {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        match namespace {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
            None => format!("{root}/{plural}"),
        }
    }

    /// Returns the kind as `kubectl` names objects: `deployment.apps`.
    pub(crate) fn word(self) -> String {
        let kind = self.name().to_ascii_lowercase();
        match self.resource().0 {
            "" => kind,
            group => format!("{kind}.{group}"),
        }
    }

    /// Returns the kind as people type it: `deployment`.
    pub(crate) fn short(self) -> String {
        self.name().to_ascii_lowercase()
    }

    /// Returns the kind with pods that a word means, in any form that `kubectl` takes.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        let lower = word.to_ascii_lowercase();
        let (plain, group) = lower.split_once('.').unwrap_or((&lower, ""));
        let kind = match plain {
            "deployment" | "deployments" | "deploy" => Self::Deployment,
            "statefulset" | "statefulsets" | "sts" => Self::StatefulSet,
            "daemonset" | "daemonsets" | "ds" => Self::DaemonSet,
            "cronjob" | "cronjobs" | "cj" => Self::CronJob,
            "job" | "jobs" => Self::Job,
            "pod" | "pods" | "po" => Self::Pod,
            _ => return None,
        };
        let (own, version, _) = kind.resource();
        let fits = group.is_empty() || group == own || group == format!("{version}.{own}");
        fits.then_some(kind)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind.word(), self.name)
    }
}

impl FromStr for ObjectName {
    type Err = ObjectNameError;

    fn from_str(text: &str) -> Result<Self, ObjectNameError> {
        let shown = |text: &str| text.chars().take(100).collect::<String>();
        let (kind, name) = text
            .split_once('/')
            .ok_or_else(|| ObjectNameError::NoKind(shown(text)))?;
        let kind = Kind::of_word(kind).ok_or_else(|| ObjectNameError::UnknownKind(shown(kind)))?;
        if !is_name(name) {
            return Err(ObjectNameError::BadName(shown(name)));
        }
        Ok(Self {
            kind,
            name: name.to_owned(),
        })
    }
}

/// Tells whether a text can be an object's name, so that it cannot be more than one in a path of the API.
pub(crate) fn is_name(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=253).contains(&bytes.len())
        && bytes.first().copied().is_some_and(alphanumeric)
        && bytes.last().copied().is_some_and(alphanumeric)
        && bytes
            .iter()
            .all(|&byte| alphanumeric(byte) || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_kubectl_is_understood() {
        for (text, kind) in [
            ("deployment/web", Kind::Deployment),
            ("deploy/web", Kind::Deployment),
            ("deployments.apps/web", Kind::Deployment),
            ("deployment.v1.apps/web", Kind::Deployment),
            ("sts/web", Kind::StatefulSet),
            ("ds/web", Kind::DaemonSet),
            ("CronJob/web", Kind::CronJob),
            ("jobs.batch/web", Kind::Job),
            ("po/web", Kind::Pod),
        ] {
            let name: ObjectName = text.parse().unwrap();
            assert_eq!((name.kind, name.name.as_str()), (kind, "web"), "{text}");
            // What is printed can be typed.
            assert_eq!(name.to_string().parse::<ObjectName>().unwrap(), name);
        }
    }

    #[test]
    fn other_words_are_refused() {
        for text in [
            "web",
            "service/web",
            "deployment.batch/web",
            "pod/",
            "pod/../x",
            "pod/a/b",
            "pod/A",
            "pod/a?b",
        ] {
            text.parse::<ObjectName>().unwrap_err();
        }
    }

    #[test]
    fn paths_are_those_of_the_api() {
        assert_eq!(
            Kind::Deployment.path(Some("default")),
            "/apis/apps/v1/namespaces/default/deployments"
        );
        assert_eq!(Kind::Pod.path(None), "/api/v1/pods");
        assert_eq!(Kind::Environment.api_version(), "nival.dev/v1alpha1");
    }
}
