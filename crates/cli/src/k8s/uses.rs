//! Which environments a pod template names, by whom and pinned to what. Annotations are a tenant's: hostile until parsed.

use std::collections::BTreeMap;

use env_spec::{EnvironmentName, Pin, Reference};
use workload::names::{
    ENVIRONMENT, ENVIRONMENT_OF, GENERATION, GENERATION_OF, NONE, PINNED_FROM, PINNED_FROM_OF,
};

/// An environment that a template names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Use {
    /// The container that names it for itself; all others have the pod's.
    pub(crate) container: Option<String>,
    /// The reference, as written.
    pub(crate) reference: String,
    /// The pin, as written.
    pub(crate) generation: Option<String>,
    /// What the pin was made from, as written.
    pub(crate) pinned_from: Option<String>,
}

impl Use {
    /// Returns the annotations' names: of the reference, the pin, and what that was made from.
    pub(crate) fn names(&self) -> (String, String, String) {
        match &self.container {
            None => (ENVIRONMENT.into(), GENERATION.into(), PINNED_FROM.into()),
            Some(name) => (
                format!("{ENVIRONMENT_OF}{name}"),
                format!("{GENERATION_OF}{name}"),
                format!("{PINNED_FROM_OF}{name}"),
            ),
        }
    }

    /// Returns the environment, where the reference is one.
    pub(crate) fn environment(&self) -> Option<EnvironmentName> {
        let reference: Reference = self.reference.trim().parse().ok()?;
        Some(reference.environment)
    }

    /// Returns the pin, where it is one.
    pub(crate) fn pin(&self) -> Option<Pin> {
        self.generation.as_deref()?.trim().parse().ok()
    }

    /// Returns the environment as lists show it.
    pub(crate) fn shown_environment(&self) -> String {
        match self.environment() {
            Some(environment) => environment.to_string(),
            None => self.reference.chars().take(80).collect(),
        }
    }
}

/// Returns the environments that a template's annotations name: the pod's first, then the containers', sorted.
pub(crate) fn uses(annotations: &BTreeMap<String, String>) -> Vec<Use> {
    let named = annotations.keys().filter_map(|name| {
        name.strip_prefix(ENVIRONMENT_OF)
            .or_else(|| name.strip_prefix(GENERATION_OF))
    });
    let mut containers: Vec<Option<String>> =
        named.map(|container| Some(container.to_owned())).collect();
    containers.push(None);
    containers.sort_unstable();
    containers.dedup();
    let one = |container: Option<String>| {
        let mut one = Use {
            container,
            reference: String::new(),
            generation: None,
            pinned_from: None,
        };
        let (reference, pin, from) = one.names();
        one.generation = annotations.get(&pin).cloned();
        one.pinned_from = annotations.get(&from).cloned();
        // A container may have a pin of its own for the pod's environment, or a pin may stand alone.
        let reference = annotations
            .get(&reference)
            .or_else(|| {
                let inherits = one.container.is_some() && one.generation.is_some();
                annotations.get(ENVIRONMENT).filter(|_| inherits)
            })
            .or(one.generation.as_ref())?;
        if reference.trim() == NONE {
            return None;
        }
        one.reference = reference.trim().to_owned();
        Some(one)
    };
    containers.into_iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Vec<(Option<String>, String, Option<String>)> {
        let annotations = pairs
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        uses(&annotations)
            .into_iter()
            .map(|one| (one.container, one.reference, one.generation))
            .collect()
    }

    #[test]
    fn pods_and_containers_name_environments() {
        let found = of(&[
            ("nival.dev/environment", "acme/web"),
            ("nival.dev/generation", "pin"),
            ("environment.nival.dev/db", "acme/redis "),
            ("environment.nival.dev/log", "none"),
            ("generation.nival.dev/side", "own"),
            ("other", "x"),
        ]);
        let expected = [
            (None, "acme/web", Some("pin")),
            (Some("db"), "acme/redis", None),
            (Some("side"), "acme/web", Some("own")),
        ];
        let expected = expected.map(|(container, reference, pin)| {
            (
                container.map(str::to_owned),
                reference.to_owned(),
                pin.map(str::to_owned),
            )
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_pod_that_excludes_itself_uses_nothing() {
        assert!(of(&[("nival.dev/environment", "none")]).is_empty());
        assert!(of(&[("a", "b")]).is_empty());
    }
}
