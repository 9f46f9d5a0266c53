//! The systems of the nodes that run environments, as far as a generation must have something for each.

use std::time::Duration;

use env_spec::System;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;
use workload::names;
use workload::template::{self, Template};

use crate::again;

/// The label by which a node says what machine it is; the kubelet writes it.
const ARCHITECTURE: &str = "kubernetes.io/arch";

/// The nodes that are ready for environments.
#[derive(Clone)]
pub(crate) struct Nodes(Store<PartialObjectMeta<Node>>);

impl std::fmt::Debug for Nodes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Nodes")
    }
}

impl Nodes {
    /// Watches the nodes until told to stop.
    pub(crate) fn watch(client: Client, stop: CancellationToken) -> Self {
        let (store, writer) = reflector::store();
        let nodes: Api<PartialObjectMeta<Node>> = Api::all(client);
        let ready = format!("{}={}", names::NODE, names::NODE_READY);
        let events = watcher(nodes, watcher::Config::default().labels(&ready));
        let changes = events
            .backoff(again::pauses())
            .reflect(writer)
            .for_each(|event| {
                if let Err(error) = event {
                    tracing::warn!(%error, "nodes cannot be watched; what was seen last counts");
                }
                std::future::ready(())
            });
        tokio::spawn(async move { stop.run_until_cancelled(changes).await });
        Self(store)
    }

    /// Waits until they are known, at most for so long, and tells whether they are.
    pub(crate) async fn known(&self, most: Duration) -> bool {
        let ready = self.0.wait_until_ready();
        matches!(tokio::time::timeout(most, ready).await, Ok(Ok(())))
    }

    /// Returns nodes that somebody else watches.
    #[cfg(test)]
    pub(super) fn of(store: Store<PartialObjectMeta<Node>>) -> Self {
        Self(store)
    }

    /// Returns the systems that the pods of a template may meet.
    ///
    /// Where the template's own node selector or affinity speaks of them, it alone counts, as far as there are such
    /// nodes.
    pub(crate) fn systems_for(&self, template: Template<'_>) -> Vec<System> {
        let mut there: Vec<System> = Vec::new();
        for node in self.0.state() {
            let labels = node.metadata.labels.as_ref();
            let architecture = labels.and_then(|labels| labels.get(ARCHITECTURE));
            there.extend(architecture.and_then(|name| template::system_of(name)));
        }
        there.sort_unstable();
        there.dedup();
        meet(template.systems(), there)
    }
}

fn meet(asked: Option<Vec<System>>, there: Vec<System>) -> Vec<System> {
    let Some(asked) = asked else {
        return there;
    };
    let both: Vec<System> = asked
        .iter()
        .filter(|system| there.contains(system))
        .cloned()
        .collect();
    if both.is_empty() { asked } else { both }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn they_are_known_once_all_were_listed_even_if_there_are_none() {
        let (store, mut writer) = reflector::store();
        let nodes = Nodes::of(store);
        assert!(!nodes.known(Duration::ZERO).await);
        writer.apply_watcher_event(&watcher::Event::Init);
        assert!(!nodes.known(Duration::ZERO).await);
        writer.apply_watcher_event(&watcher::Event::InitDone);
        assert!(nodes.known(Duration::from_secs(60)).await);
        let (store, writer) = reflector::store();
        drop(writer);
        let stopped = Nodes::of(store);
        assert!(!stopped.known(Duration::from_secs(60)).await);
    }

    #[test]
    fn what_the_template_says_counts_before_what_nodes_there_are() {
        let systems = |names: &[&str]| -> Vec<System> {
            names
                .iter()
                .map(|name| format!("{name}-linux").parse().unwrap())
                .collect()
        };
        let (arm, intel) = (systems(&["aarch64"]), systems(&["x86_64"]));
        let both = systems(&["x86_64", "aarch64"]);
        assert_eq!(meet(None, both.clone()), both);
        assert_eq!(meet(None, Vec::new()), []);
        assert_eq!(meet(Some(both.clone()), intel.clone()), intel);
        assert_eq!(meet(Some(arm.clone()), intel), arm, "nodes may come later");
        assert_eq!(meet(Some(arm.clone()), both), arm);
        assert_eq!(meet(Some(Vec::new()), arm), []);
    }
}
