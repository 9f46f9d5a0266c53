//! What a pod's annotations ask for. Pure; every value is a tenant's and hostile until it has passed here.

use std::collections::BTreeMap;

use env_spec::{Pin, Reference};

use crate::names::containerd::{
    CONTAINER_NAME, CONTAINER_TYPE, IMAGE_NAME, SANDBOX_ID, SANDBOX_NAME, SANDBOX_NAMESPACE,
};
use crate::names::{
    ACTIVATE_MODE, ENVIRONMENT, ENVIRONMENT_OF, EXEC_OUTSIDE_OF, GENERATION, GENERATION_OF, GROUP,
    NONE, PINNED_FROM, PINNED_FROM_OF, PLACEHOLDER,
};

/// The longest honest value is a pin with a hub's address before it, some 400 bytes.
const LONGEST_VALUE: usize = 1024;
/// More containers than any pod has.
const MOST_ANNOTATIONS: usize = 256;
/// How many containers an error may name.
const MOST_NAMES: usize = 8;
/// How much of a hostile text an error may repeat.
const SHOWN: usize = 60;

/// Annotations of a container's specification.
pub type Annotations = BTreeMap<String, String>;

/// Why annotations are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// A value that no honest tenant writes.
    #[error(
        "annotation {name} has {length} bytes; at most {LONGEST_VALUE} are allowed: shorten it"
    )]
    TooLong {
        /// The annotation.
        name: String,
        /// Its value's length.
        length: usize,
    },
    /// A value that would break a line.
    #[error("annotation {name} holds a control character or line break: remove it")]
    Control {
        /// The annotation.
        name: String,
    },
    /// A name that ends with no container's name.
    #[error("annotation name {name:?} is not valid: it must end with a container's name")]
    Name {
        /// The annotation.
        name: String,
    },
    /// More annotations than containers.
    #[error("the pod has more than {MOST_ANNOTATIONS} nival.dev annotations: remove some")]
    TooMany,
    /// A value that is not among those that there are.
    #[error("annotation {name} is {value:?}: it must be one of {allowed}")]
    Choice {
        /// The annotation.
        name: String,
        /// Its value, shortened.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// No reference, or no pin.
    #[error("annotation {name} cannot be understood")]
    Reference {
        /// The annotation.
        name: String,
        /// What is wrong with it.
        #[source]
        source: env_spec::ReferenceError,
    },
    /// The reference was changed after the pin was made.
    #[error(
        "annotation {name} was pinned from {pinned_from} but the pod asks for {reference}: remove {name}, so that it is pinned anew"
    )]
    Stale {
        /// The pin's annotation.
        name: String,
        /// What it was made from.
        pinned_from: String,
        /// What is asked for.
        reference: String,
    },
    /// A pin of something else than what is asked for.
    #[error("annotation {name} pins {pin} but the pod asks for {reference}: make them agree")]
    OtherPin {
        /// The pin's annotation.
        name: String,
        /// The pin.
        pin: String,
        /// What is asked for.
        reference: String,
    },
    /// The placeholder image alone has nothing to run.
    #[error(
        "container {container} has the placeholder image but no environment{}: annotate the pod with {ENVIRONMENT}, or the container with {ENVIRONMENT_OF}{container}",
        said(others)
    )]
    NoEnvironment {
        /// The container.
        container: String,
        /// The containers that annotations do name.
        others: Vec<String>,
    },
}

/// Who runs, in containerd's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The sandbox.
    pub sandbox_id: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container's name in the pod.
    pub container: String,
    /// The image as the pod names it.
    pub image: String,
}

/// What a container is to the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Holds the pod's namespaces; runs nothing of the tenant.
    Sandbox,
    /// One of the pod's containers.
    Container,
    /// Started by something other than a kubelet.
    Alone,
}

/// An environment that a pod or container asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The reference as written.
    pub reference: String,
    /// The pin as written, or nothing.
    pub pin: String,
    /// What the pin was made from, or nothing.
    pub pinned_from: String,
    /// The activate mode as written, or nothing.
    pub mode: String,
    /// The container's image is the placeholder, so its root filesystem needs a skeleton.
    pub placeholder: bool,
    /// Processes that are added later run outside the environment.
    pub exec_outside: bool,
}

/// Returns what containerd says about the container.
#[must_use]
pub fn role(annotations: &Annotations) -> Role {
    match annotations.get(CONTAINER_TYPE).map(String::as_str) {
        Some("sandbox") => Role::Sandbox,
        Some(_) => Role::Container,
        None => Role::Alone,
    }
}

/// Returns who runs, from containerd's own annotations alone.
#[must_use]
pub fn identity(annotations: &Annotations) -> Identity {
    let own = |name: &str| annotations.get(name).cloned().unwrap_or_default();
    Identity {
        sandbox_id: own(SANDBOX_ID),
        namespace: own(SANDBOX_NAMESPACE),
        pod: own(SANDBOX_NAME),
        container: own(CONTAINER_NAME),
        image: own(IMAGE_NAME),
    }
}

/// Returns the sandbox that a container belongs to.
#[must_use]
pub fn sandbox_id(annotations: &Annotations) -> Option<&str> {
    annotations.get(SANDBOX_ID).map(String::as_str)
}

/// Returns every environment that the pod's annotations name, each once.
///
/// # Errors
/// Fails for annotations that no honest tenant writes, and for those that contradict each other.
pub fn wishes_of_pod(annotations: &Annotations) -> Result<Vec<Wish>, AnnotationError> {
    check(annotations)?;
    let mut wishes: Vec<Wish> = Vec::new();
    let mut add = |wish: Wish| {
        let known = |other: &Wish| (&other.reference, &other.pin) == (&wish.reference, &wish.pin);
        if !wishes.iter().any(known) {
            wishes.push(wish);
        }
    };
    if let Some(wish) = wish(annotations, ENVIRONMENT, GENERATION, PINNED_FROM)? {
        add(wish);
    }
    for container in named_containers(annotations) {
        if let Some(wish) = named_wish(annotations, container, true)?.flatten() {
            add(wish);
        }
    }
    Ok(wishes)
}

/// Returns the containers that annotations name. One may have a pin of its own for the environment that the pod names.
fn named_containers(annotations: &Annotations) -> Vec<&str> {
    let names = annotations.keys().filter_map(|name| {
        name.strip_prefix(ENVIRONMENT_OF)
            .or_else(|| name.strip_prefix(GENERATION_OF))
    });
    let mut containers: Vec<&str> = names.collect();
    containers.sort_unstable();
    containers.dedup();
    containers
}

/// Returns the environment that a container of the pod runs in, if any.
///
/// # Errors
/// Fails for annotations that no honest tenant writes, and for those that contradict each other.
pub fn wish_of_container(
    annotations: &Annotations,
    identity: &Identity,
) -> Result<Option<Wish>, AnnotationError> {
    check(annotations)?;
    let placeholder = is_placeholder(&identity.image);
    let container = &identity.container;
    let wish = match named_wish(annotations, container, placeholder)? {
        Some(Some(wish)) => wish,
        Some(None) => return Ok(None),
        None if placeholder => wish(annotations, ENVIRONMENT, GENERATION, PINNED_FROM)?
            .ok_or_else(|| AnnotationError::NoEnvironment {
                container: shown(container),
                others: named_containers(annotations)
                    .into_iter()
                    .map(shown)
                    .collect(),
            })?,
        None => return Ok(None),
    };
    let outside = format!("{EXEC_OUTSIDE_OF}{container}");
    let exec_outside = match annotations.get(&outside).map(String::as_str) {
        None | Some("false") => false,
        Some("true") => true,
        Some(value) => {
            return Err(AnnotationError::Choice {
                name: outside,
                value: shown(value),
                allowed: "\"true\", \"false\"",
            });
        }
    };
    Ok(Some(Wish {
        placeholder,
        exec_outside,
        ..wish
    }))
}

/// Looks for annotations with the container's name: no such annotation, excluded, or a wish.
fn named_wish(
    annotations: &Annotations,
    container: &str,
    takes_pods: bool,
) -> Result<Option<Option<Wish>>, AnnotationError> {
    let environment = format!("{ENVIRONMENT_OF}{container}");
    let generation = format!("{GENERATION_OF}{container}");
    let pinned_from = format!("{PINNED_FROM_OF}{container}");
    if annotations
        .get(&environment)
        .is_some_and(|value| value == NONE)
    {
        return Ok(Some(None));
    }
    let own_reference = annotations.contains_key(&environment);
    let own_pin = annotations.contains_key(&generation);
    if !own_reference && !own_pin {
        return Ok(None);
    }
    let inherits = !own_reference && takes_pods && annotations.contains_key(ENVIRONMENT);
    let environment = if inherits { ENVIRONMENT } else { &environment };
    Ok(Some(wish(
        annotations,
        environment,
        &generation,
        &pinned_from,
    )?))
}

fn wish(
    annotations: &Annotations,
    environment: &str,
    generation: &str,
    pinned_from: &str,
) -> Result<Option<Wish>, AnnotationError> {
    let pin = annotations.get(generation).map(|value| value.trim());
    let reference = annotations.get(environment).map(|value| value.trim());
    let (Some(reference), name) = (match reference {
        Some(reference) => (Some(reference), environment),
        None => (pin, generation),
    }) else {
        return Ok(None);
    };
    // The pod-wide annotation excludes in the same words.
    if reference == NONE {
        return Ok(None);
    }
    let parsed = parse::<Reference>(name, reference)?;
    if let Some(pin) = pin {
        let pinned = parse::<Pin>(generation, pin)?;
        check_agreement(generation, &pinned, &parsed)?;
    }
    let from = annotations
        .get(pinned_from)
        .map_or("", |value| value.trim());
    // After the reference stands the restart that was seen, which only admission compares.
    let made_from = from.split_whitespace().next().unwrap_or("");
    if pin.is_some() && !made_from.is_empty() && made_from != reference {
        return Err(AnnotationError::Stale {
            name: generation.to_owned(),
            pinned_from: shown(made_from),
            reference: shown(reference),
        });
    }
    let mode = annotations.get(ACTIVATE_MODE).map_or("", String::as_str);
    if !matches!(mode, "" | "run" | "dev") {
        return Err(AnnotationError::Choice {
            name: ACTIVATE_MODE.to_owned(),
            value: shown(mode),
            allowed: "\"run\", \"dev\"",
        });
    }
    Ok(Some(Wish {
        reference: reference.to_owned(),
        pin: pin.unwrap_or("").to_owned(),
        pinned_from: from.to_owned(),
        mode: mode.to_owned(),
        placeholder: false,
        exec_outside: false,
    }))
}

/// Refuses a pin of something else than the reference.
pub(crate) fn check_agreement(
    generation: &str,
    pin: &Pin,
    reference: &Reference,
) -> Result<(), AnnotationError> {
    if reference.means(pin) {
        return Ok(());
    }
    Err(AnnotationError::OtherPin {
        name: generation.to_owned(),
        pin: shown(&pin.to_string()),
        reference: shown(&reference.to_string()),
    })
}

pub(crate) fn parse<T: std::str::FromStr<Err = env_spec::ReferenceError>>(
    name: &str,
    value: &str,
) -> Result<T, AnnotationError> {
    value.parse().map_err(|source| AnnotationError::Reference {
        name: name.to_owned(),
        source,
    })
}

/// Refuses what no honest tenant writes, before anything is looked at.
pub(crate) fn check(annotations: &Annotations) -> Result<(), AnnotationError> {
    let mut count = 0;
    for name in annotations.keys().filter(|name| is_ours(name)) {
        count += 1;
        let value = &annotations[name];
        let suffix = name.split_once('/').map_or("", |(_, suffix)| suffix);
        let plain = |character: char| character.is_ascii_graphic();
        if suffix.is_empty() || name.len() > 253 || !name.chars().all(plain) {
            return Err(AnnotationError::Name { name: shown(name) });
        }
        if value.len() > LONGEST_VALUE {
            return Err(AnnotationError::TooLong {
                name: name.clone(),
                length: value.len(),
            });
        }
        if value.chars().any(char::is_control) {
            return Err(AnnotationError::Control { name: name.clone() });
        }
    }
    if count > MOST_ANNOTATIONS {
        return Err(AnnotationError::TooMany);
    }
    Ok(())
}

/// Tells whether an annotation is one of Nival's.
pub(crate) fn is_ours(name: &str) -> bool {
    let prefix = name.split_once('/').map(|(prefix, _)| prefix);
    prefix.is_some_and(|prefix| prefix == GROUP || prefix.ends_with(".nival.dev"))
}

/// Tells whether an image's name means the placeholder, with any tag or digest, in any form that containerd uses.
pub(crate) fn is_placeholder(image: &str) -> bool {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    let image = image.strip_prefix("library/").unwrap_or(image);
    image
        .strip_prefix(PLACEHOLDER)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(':') && !rest.contains('/'))
}

/// Names the containers that annotations name, as far as they fit into a message.
fn said(containers: &[String]) -> String {
    if containers.is_empty() {
        return String::new();
    }
    let mut text = format!(
        " (annotations name: {}",
        containers[..containers.len().min(MOST_NAMES)].join(", ")
    );
    if containers.len() > MOST_NAMES {
        text.push_str(&format!(" and {} more", containers.len() - MOST_NAMES));
    }
    text.push(')');
    text
}

pub(crate) fn shown(text: &str) -> String {
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

#[cfg(test)]
#[path = "annotations/tests.rs"]
mod tests;
