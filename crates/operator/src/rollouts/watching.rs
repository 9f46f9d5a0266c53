//! The watches: each object is read when it comes, and only what is needed of it is kept.

use std::collections::BTreeSet;
use std::hash::Hash;

use api::kubernetes::{Environment, NivalNode};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use kube::api::{Api, DynamicObject};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt as _};
use workload::template::Kind;

use super::State;
use super::index::{Index, Item};
use super::seen::{Key, read, resource};
use crate::again;

/// How many objects the API server sends at a time: what is in memory at once of a large cluster.
const PAGE: u32 = 100;

/// The kinds that are watched, with the labels that leave out what a watched workload has made.
const KINDS: [(Kind, &str); 7] = [
    (Kind::Deployment, ""),
    (Kind::StatefulSet, ""),
    (Kind::DaemonSet, ""),
    (Kind::CronJob, ""),
    (Kind::Job, ""),
    (Kind::ReplicaSet, "!pod-template-hash"),
    (
        Kind::Pod,
        "!pod-template-hash,!controller-revision-hash,!batch.kubernetes.io/job-name,!job-name",
    ),
];

/// Watches everything, until the future is dropped.
pub(super) async fn watch(state: &State) {
    let workloads = KINDS.map(|(kind, labels)| watch_kind(state, kind, labels));
    tokio::join!(
        futures::future::join_all(workloads),
        watch_environments(state),
        watch_nodes(state),
    );
}

async fn watch_kind(state: &State, kind: Kind, labels: &str) {
    let api: Api<DynamicObject> = Api::all_with(state.client.clone(), &resource(kind));
    let mut config = config();
    if !labels.is_empty() {
        config = config.labels(labels);
    }
    let source = Source {
        what: kind.name(),
        name: move |object: &DynamicObject| Key {
            namespace: object.namespace().unwrap_or_default(),
            kind,
            name: object.name_any(),
        },
        known: move |index: &Index| index.keys_of(kind),
        put: move |index: &mut Index, key, object: Option<DynamicObject>, listed| {
            let workload = object.and_then(|object| read(kind, object));
            let workload = workload.map(|(_, workload)| workload);
            match listed {
                true => index.put_listed_workload(key, workload),
                false => index.put_workload(key, workload),
            }
        },
    };
    source.follow(state, stream(watcher(api, config))).await;
}

async fn watch_environments(state: &State) {
    let api: Api<Environment> = Api::all(state.client.clone());
    let source = Source {
        what: "Environment",
        name: |object: &Environment| (object.namespace().unwrap_or_default(), object.name_any()),
        known: Index::resource_names,
        put: |index: &mut Index, (namespace, name), object, _| {
            index.put_resource(namespace, name, object)
        },
    };
    source.follow(state, stream(watcher(api, config()))).await;
}

async fn watch_nodes(state: &State) {
    let api: Api<NivalNode> = Api::all(state.client.clone());
    let source = Source {
        what: "NivalNode",
        name: NivalNode::name_any,
        known: |index: &Index| index.nodes().keys().cloned().collect(),
        put: |index: &mut Index, name, object, _| index.put_node(name, object),
    };
    source.follow(state, stream(watcher(api, config()))).await;
}

fn config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

/// Lets a watch that fails be tried again, later each time.
fn stream<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
) -> impl Stream<Item = watcher::Result<Event<K>>>
where
    K: Resource + Clone,
{
    events.backoff(again::pauses())
}

/// What a watch needs to know of its kind of objects.
struct Source<N, L, P> {
    what: &'static str,
    name: N,
    known: L,
    /// Takes an object, or that it is gone; and whether a new list says it, which is true whatever was known before.
    put: P,
}

impl<N, L, P> Source<N, L, P> {
    async fn follow<K, O>(
        &self,
        state: &State,
        events: impl Stream<Item = watcher::Result<Event<O>>>,
    ) where
        K: Clone + Eq + Hash + Ord,
        N: Fn(&O) -> K,
        L: Fn(&Index) -> Vec<K>,
        P: Fn(&mut Index, K, Option<O>, bool) -> Vec<Item>,
    {
        let mut listed: Option<BTreeSet<K>> = None;
        let mut events = std::pin::pin!(events.into_stream());
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    state.metrics.errors.watch(self.what);
                    tracing::warn!(kind = self.what, %error, "the watch failed; it is tried again");
                    continue;
                }
            };
            let items = match event {
                Event::Init => {
                    listed = Some(BTreeSet::new());
                    continue;
                }
                Event::InitApply(object) | Event::Apply(object) => {
                    let key = (self.name)(&object);
                    if let Some(listed) = &mut listed {
                        listed.insert(key.clone());
                    }
                    state.with(|index| (self.put)(index, key, Some(object), listed.is_some()))
                }
                Event::Delete(object) => {
                    let key = (self.name)(&object);
                    state.with(|index| (self.put)(index, key, None, false))
                }
                Event::InitDone => {
                    let seen = listed.take().unwrap_or_default();
                    let items = state.with(|index| {
                        let gone = (self.known)(index)
                            .into_iter()
                            .filter(|key| !seen.contains(key))
                            .collect::<Vec<_>>();
                        gone.into_iter()
                            .flat_map(|key| (self.put)(index, key, None, false))
                            .collect()
                    });
                    state.listed(self.what);
                    items
                }
            };
            state.look_at(items);
        }
    }
}
