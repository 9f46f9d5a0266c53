//! What the operator knows of the cluster: workloads in environments, the resources about them, and the nodes.

mod kept;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use api::kubernetes::{Environment, NivalNode};
use env_spec::{EnvironmentName, Pin};

use super::decide::Fetching;
use super::seen::{Key, Workload};
pub(crate) use kept::{Answer, Node, Resource, Trouble, Want};

/// What can be looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Item {
    Workload(Key),
    /// An environment as a namespace uses it.
    Environment(String, EnvironmentName),
    /// What a node is asked to fetch.
    Node(String),
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Index {
    workloads: BTreeMap<Key, Arc<Workload>>,
    users: BTreeMap<(String, EnvironmentName), BTreeSet<Key>>,
    resources: BTreeMap<(String, String), Resource>,
    nodes: BTreeMap<String, Node>,
    answers: HashMap<(String, EnvironmentName), Answer>,
    wants: BTreeMap<Key, Want>,
    /// What a workload waits for, as its environment's state says it.
    waiting: BTreeMap<Key, String>,
}

impl Index {
    /// Takes a workload as it is now, or notes that it is gone or runs in no environment any more.
    pub(crate) fn put_workload(&mut self, key: Key, workload: Option<Workload>) -> Vec<Item> {
        // What a write answered may be newer than what the watch still brings.
        if let (Some(known), Some(workload)) = (self.workloads.get(&key), &workload)
            && known.is_newer_than(workload)
        {
            return Vec::new();
        }
        self.put_listed_workload(key, workload)
    }

    /// Takes a workload as a new list has it, whatever was known: an API server that was restored counts from lower
    /// again, and all it says would be too old for ever.
    pub(crate) fn put_listed_workload(
        &mut self,
        key: Key,
        workload: Option<Workload>,
    ) -> Vec<Item> {
        if self.workloads.get(&key).map(Arc::as_ref) == workload.as_ref() {
            return Vec::new();
        }
        let workload = workload.map(Arc::new);
        let mut touched = BTreeSet::new();
        let before = match &workload {
            Some(workload) => self.workloads.insert(key.clone(), Arc::clone(workload)),
            None => self.workloads.remove(&key),
        };
        for environment in before.iter().flat_map(|before| before.environments()) {
            let place = (key.namespace.clone(), environment);
            if let Some(users) = self.users.get_mut(&place) {
                users.remove(&key);
            }
            touched.insert(place);
        }
        for environment in workload.iter().flat_map(|now| now.environments()) {
            let place = (key.namespace.clone(), environment);
            self.users
                .entry(place.clone())
                .or_default()
                .insert(key.clone());
            touched.insert(place);
        }
        for place in &touched {
            if self.users.get(place).is_some_and(BTreeSet::is_empty) {
                self.users.remove(place);
                self.answers.remove(place);
            }
        }
        let mut items: Vec<Item> = touched
            .into_iter()
            .map(|(namespace, environment)| Item::Environment(namespace, environment))
            .collect();
        // What another leader asked nodes for on its behalf may not be wanted any more.
        let over = before.as_ref().map(|before| before.coming());
        let over = over.unwrap_or_default();
        let asked = self.nodes.iter().filter(|(_, node)| {
            let mut asked = node.asked.iter();
            asked.any(|pin| over.contains(pin))
        });
        items.extend(asked.map(|(name, _)| Item::Node(name.clone())));
        if workload.is_none() {
            self.waiting.remove(&key);
            items.extend(self.put_want(&key, None));
        } else {
            items.push(Item::Workload(key));
        }
        items
    }

    /// Returns a workload.
    pub(crate) fn workload(&self, key: &Key) -> Option<Arc<Workload>> {
        self.workloads.get(key).cloned()
    }

    /// Returns the workloads of a kind; those that a new list does not name are gone.
    pub(crate) fn keys_of(&self, kind: workload::template::Kind) -> Vec<Key> {
        let of_kind = self.workloads.keys().filter(|key| key.kind == kind);
        of_kind.cloned().collect()
    }

    /// Returns a namespace's workloads that use an environment.
    pub(crate) fn users(
        &self,
        namespace: &str,
        environment: &EnvironmentName,
    ) -> Vec<(Key, Arc<Workload>)> {
        let place = (namespace.to_owned(), environment.clone());
        let keys = self.users.get(&place).into_iter().flatten();
        keys.filter_map(|key| Some((key.clone(), self.workload(key)?)))
            .collect()
    }

    /// Tells whether any workload of a namespace uses an environment.
    pub(crate) fn is_used(&self, namespace: &str, environment: &EnvironmentName) -> bool {
        let place = (namespace.to_owned(), environment.clone());
        self.users.contains_key(&place)
    }

    /// Returns the environments that are used, with the namespaces that use them, and whether any of them tracks it.
    pub(crate) fn used(&self) -> BTreeMap<EnvironmentName, (Vec<String>, bool)> {
        let mut used: BTreeMap<EnvironmentName, (Vec<String>, bool)> = BTreeMap::new();
        for ((namespace, environment), users) in &self.users {
            let (namespaces, tracked) = used.entry(environment.clone()).or_default();
            namespaces.push(namespace.clone());
            *tracked |= users
                .iter()
                .filter_map(|key| self.workloads.get(key))
                .any(|workload| workload.tracked);
        }
        used
    }

    /// Returns how many workloads there are, and how many of them are tracked.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let tracked = self.workloads.values().filter(|one| one.tracked).count();
        (self.workloads.len(), tracked)
    }

    /// Takes what the hub said. Trouble that passes leaves the live generation that was known before.
    pub(crate) fn put_answer(
        &mut self,
        namespace: &str,
        environment: &EnvironmentName,
        answer: Result<Answer, Trouble>,
    ) -> Vec<Item> {
        let place = (namespace.to_owned(), environment.clone());
        if !self.users.contains_key(&place) {
            return Vec::new();
        }
        let before = self.answers.get(&place);
        let answer = answer.unwrap_or_else(|trouble| Answer {
            trouble: Some(trouble.clone()),
            ..before
                .filter(|_| !trouble.lasting)
                .cloned()
                .unwrap_or_default()
        });
        if before == Some(&answer) {
            return Vec::new();
        }
        self.answers.insert(place.clone(), answer);
        self.all_about(&place)
    }

    fn all_about(&self, place: &(String, EnvironmentName)) -> Vec<Item> {
        let users = self.users.get(place).into_iter().flatten();
        let mut items: Vec<Item> = users.cloned().map(Item::Workload).collect();
        items.push(Item::Environment(place.0.clone(), place.1.clone()));
        items
    }

    /// Returns what the hub said.
    pub(crate) fn answer(&self, namespace: &str, environment: &EnvironmentName) -> Option<&Answer> {
        let place = (namespace.to_owned(), environment.clone());
        self.answers.get(&place)
    }

    /// Takes a resource as it is now. One whose environment has no valid name is nobody's.
    pub(crate) fn put_resource(
        &mut self,
        namespace: String,
        name: String,
        resource: Option<Environment>,
    ) -> Vec<Item> {
        let resource = resource.and_then(Resource::of);
        let place = (namespace, name);
        let before = match &resource {
            Some(resource) => self.resources.insert(place.clone(), resource.clone()),
            None => self.resources.remove(&place),
        };
        let unchanged = |one: &Resource, other: &Resource| {
            (&one.environment, one.suspend, one.generation)
                == (&other.environment, other.suspend, other.generation)
        };
        // The operator's own writes of the state need no new look.
        if let (Some(before), Some(now)) = (&before, &resource)
            && unchanged(before, now)
        {
            return Vec::new();
        }
        let touched: BTreeSet<_> = before
            .into_iter()
            .chain(resource)
            .map(|resource| (place.0.clone(), resource.environment))
            .collect();
        touched
            .iter()
            .flat_map(|place| self.all_about(place))
            .collect()
    }

    /// Returns the names of all resources; those that a new list does not name are gone.
    pub(crate) fn resource_names(&self) -> Vec<(String, String)> {
        self.resources.keys().cloned().collect()
    }

    /// Returns the resource of this name.
    pub(crate) fn resource(&self, namespace: &str, name: &str) -> Option<&Resource> {
        let place = (namespace.to_owned(), name.to_owned());
        self.resources.get(&place)
    }

    /// Returns a namespace's resources of an environment.
    pub(crate) fn resources(
        &self,
        namespace: &str,
        environment: &EnvironmentName,
    ) -> Vec<(String, Resource)> {
        let first = (namespace.to_owned(), String::new());
        let own = self.resources.range(first..);
        own.take_while(|((other, _), _)| other == namespace)
            .filter(|(_, resource)| resource.environment == *environment)
            .map(|((_, name), resource)| (name.clone(), resource.clone()))
            .collect()
    }

    /// Tells whether a person has suspended an environment's rollouts in a namespace.
    pub(crate) fn is_suspended(&self, namespace: &str, environment: &EnvironmentName) -> bool {
        let resources = self.resources(namespace, environment);
        resources.iter().any(|(_, resource)| resource.suspend)
    }

    /// Takes a node as it is now.
    pub(crate) fn put_node(&mut self, name: String, node: Option<NivalNode>) -> Vec<Item> {
        let node = node.map(|node| Node::of(&node));
        if self.nodes.get(&name) == node.as_ref() {
            return Vec::new();
        }
        let before = match &node {
            Some(node) => self.nodes.insert(name.clone(), node.clone()),
            None => self.nodes.remove(&name),
        };
        let mut items = Vec::new();
        let waiting = self
            .wants
            .iter()
            .filter(|(_, want)| want.nodes.contains(&name));
        items.extend(waiting.map(|(key, _)| Item::Workload(key.clone())));
        if node.is_some() {
            items.push(Item::Node(name));
        }
        // Whose pins came or went: their environments' states name the node.
        let none = BTreeSet::new();
        let held =
            |node: Option<&Node>| node.map_or_else(|| none.clone(), |node| node.holds.clone());
        let changed: BTreeSet<EnvironmentName> = held(before.as_ref())
            .symmetric_difference(&held(node.as_ref()))
            .filter_map(|pin| Some(pin.parse::<Pin>().ok()?.environment))
            .collect();
        let users = self
            .users
            .keys()
            .filter(|(_, environment)| changed.contains(environment));
        items.extend(users.map(|(namespace, environment)| {
            Item::Environment(namespace.clone(), environment.clone())
        }));
        items
    }

    /// Returns the nodes with their names.
    pub(crate) fn nodes(&self) -> &BTreeMap<String, Node> {
        &self.nodes
    }

    /// Notes what a workload wants of which nodes.
    pub(crate) fn put_want(&mut self, key: &Key, want: Option<Want>) -> Vec<Item> {
        let before = match &want {
            Some(want) => self.wants.insert(key.clone(), want.clone()),
            None => self.wants.remove(key),
        };
        if before == want {
            return Vec::new();
        }
        let nodes = before.into_iter().chain(want).flat_map(|want| want.nodes);
        let nodes: BTreeSet<String> = nodes.collect();
        nodes.into_iter().map(Item::Node).collect()
    }

    /// Returns what a workload wants.
    pub(crate) fn want(&self, key: &Key) -> Option<&Want> {
        self.wants.get(key)
    }

    /// Returns what a node should be asked to fetch, by the namespaces that want it: what is wanted of it, and what it
    /// was asked for on behalf of a rollout that this process has not looked at yet.
    pub(crate) fn wanted_of(&self, name: &str) -> BTreeMap<&str, BTreeSet<String>> {
        let mut pins: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (key, want) in &self.wants {
            if want.nodes.contains(name) {
                let own = pins.entry(&key.namespace).or_default();
                own.extend(want.pins.iter().cloned());
            }
        }
        let Some(node) = self.nodes.get(name).filter(|node| !node.asked.is_empty()) else {
            return pins;
        };
        for (key, workload) in &self.workloads {
            if !self.wants.contains_key(key) {
                let coming = workload.coming().into_iter();
                let own = pins.entry(&key.namespace).or_default();
                own.extend(coming.filter(|pin| node.asked.contains(pin)));
            }
        }
        pins
    }

    /// Returns how the fetches that a workload waits for stand.
    pub(crate) fn fetching(&self, key: &Key) -> Fetching {
        let Some(want) = self.wants.get(key) else {
            return Fetching::default();
        };
        let mut fetching = Fetching {
            asked: true,
            ..Fetching::default()
        };
        // A node that went away, or is not ready, starts no pod.
        let nodes = want.nodes.iter().filter_map(|name| self.nodes.get(name));
        for node in nodes.filter(|node| node.ready) {
            let stands: Vec<_> = want.pins.iter().map(|pin| node.stands(pin)).collect();
            if stands.iter().all(|one| *one == Some(true)) {
                fetching.done += 1;
            } else if stands.contains(&Some(false)) {
                fetching.failed += 1;
            } else {
                fetching.pending += 1;
            }
        }
        fetching
    }

    /// Returns why a node failed to fetch what a workload waits for.
    pub(crate) fn why_not(&self, key: &Key) -> Option<String> {
        let want = self.wants.get(key)?;
        want.nodes.iter().find_map(|name| {
            let node = self.nodes.get(name)?;
            let failed = |pin: &String| node.fetches.get(pin)?.as_ref().err();
            let message = want.pins.iter().find_map(failed)?;
            Some(format!("{name}: {message}"))
        })
    }

    /// Notes what a workload waits for, and tells whether that is news.
    pub(crate) fn put_waiting(&mut self, key: &Key, waiting: Option<String>) -> bool {
        if self.waiting.get(key) == waiting.as_ref() {
            return false;
        }
        match waiting {
            Some(text) => self.waiting.insert(key.clone(), text),
            None => self.waiting.remove(key),
        };
        true
    }

    /// Returns what a workload waits for.
    pub(crate) fn waiting(&self, key: &Key) -> Option<&str> {
        self.waiting.get(key).map(String::as_str)
    }
}
