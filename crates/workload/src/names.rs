//! The names by which Kubernetes and Nival know each other: annotations, labels, classes and images.

/// The group of Nival's resources, and the prefix of its annotations and labels.
pub const GROUP: &str = "nival.dev";

/// Reference for containers that use the placeholder image; `none` excludes them.
pub const ENVIRONMENT: &str = "nival.dev/environment";
/// The pin of [`ENVIRONMENT`].
pub const GENERATION: &str = "nival.dev/generation";
/// What the pin was made from: the reference, then the restart that was seen.
pub const PINNED_FROM: &str = "nival.dev/pinned-from";
/// `run` or `dev`.
pub const ACTIVATE_MODE: &str = "nival.dev/activate-mode";
/// Before a container's name: the same as [`ENVIRONMENT`] for it alone.
pub const ENVIRONMENT_OF: &str = "environment.nival.dev/";
/// Before a container's name: its pin.
pub const GENERATION_OF: &str = "generation.nival.dev/";
/// Before a container's name: what its pin was made from.
pub const PINNED_FROM_OF: &str = "pinned-from.nival.dev/";
/// Before a container's name: whether exec runs outside the environment.
pub const EXEC_OUTSIDE_OF: &str = "exec-outside.nival.dev/";
/// The value of [`ENVIRONMENT`] that excludes.
pub const NONE: &str = "none";

/// On a workload: `latest` rolls new generations out.
pub const TRACK: &str = "nival.dev/track";
/// The value of [`TRACK`] that means it.
pub const TRACK_LATEST: &str = "latest";
/// On a workload: how long a tracked rollout may take before it is rolled back.
pub const PROGRESS_DEADLINE: &str = "nival.dev/progress-deadline";
/// On a workload: `"true"` holds tracking until it is gone.
pub const PAUSED: &str = "nival.dev/paused";
/// On a workload: what the operator remembers of its rollout.
pub const ROLLOUT: &str = "nival.dev/rollout";
/// A label on a workload: which [`ROLLOUT`] is the newest. `kubectl rollout undo` brings back old annotations, not labels.
pub const ROLLOUT_SERIAL: &str = "nival.dev/rollout-serial";
/// On a workload: what `kubectl rollout history` says of a revision.
pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// On what the operator has made.
pub const MANAGED_BY: &str = "nival.dev/managed-by";
/// The operator's name, as field manager, event source and owner of what it made.
pub const OPERATOR: &str = "nival-operator";

/// Returns the name of an environment's resource: `owner.name`, and six digits more where two environments could
/// otherwise have the same.
#[must_use]
pub fn environment_resource(environment: &env_spec::EnvironmentName) -> String {
    let name = plain(environment);
    if name.replacen('.', "/", 1) == environment.to_string() {
        return name;
    }
    environment_resource_apart(environment)
}

/// Returns the name with six digits in any case, for where somebody else has taken the short one.
#[must_use]
pub fn environment_resource_apart(environment: &env_spec::EnvironmentName) -> String {
    let digest = env_spec::Digest::of(environment.to_string().as_bytes()).hex();
    format!("{}-{}", plain(environment), &digest[..6])
}

fn plain(environment: &env_spec::EnvironmentName) -> String {
    let parts = [environment.owner(), environment.name()].map(|part| {
        let plain = |one: char| one.is_ascii_alphanumeric() || one == '-';
        let plain = part.chars().map(|one| if plain(one) { one } else { '-' });
        plain.collect::<String>()
    });
    parts.join(".")
}

/// In a pod template: when `kubectl rollout restart` was last asked for.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// On a node: `ready` when agent, shim and containerd's configuration are in place.
pub const NODE: &str = "nival.dev/node";
/// The value of [`NODE`] that means it.
pub const NODE_READY: &str = "ready";

/// The runtime class, and containerd's handler of it.
pub const RUNTIME_CLASS: &str = "nival";
/// The empty image, without its tag.
pub const PLACEHOLDER: &str = "nival.dev/placeholder";
/// The empty image, as pods name it.
pub const PLACEHOLDER_IMAGE: &str = "nival.dev/placeholder:v1";

/// Set by containerd itself, never by a tenant.
pub mod containerd {
    /// `sandbox` or `container`.
    pub const CONTAINER_TYPE: &str = "io.kubernetes.cri.container-type";
    /// The container's name in the pod.
    pub const CONTAINER_NAME: &str = "io.kubernetes.cri.container-name";
    /// The image as the pod names it.
    pub const IMAGE_NAME: &str = "io.kubernetes.cri.image-name";
    /// The sandbox that the container belongs to.
    pub const SANDBOX_ID: &str = "io.kubernetes.cri.sandbox-id";
    /// The pod's name.
    pub const SANDBOX_NAME: &str = "io.kubernetes.cri.sandbox-name";
    /// The pod's namespace.
    pub const SANDBOX_NAMESPACE: &str = "io.kubernetes.cri.sandbox-namespace";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_of_different_environments_have_different_names_that_kubernetes_takes() {
        let name = |text: &str| environment_resource(&text.parse().unwrap());
        assert_eq!(name("acme/api"), "acme.api");
        assert_eq!(name("acme/my-api"), "acme.my-api");
        let apart = environment_resource_apart(&"acme/api".parse().unwrap());
        assert!(apart.starts_with("acme.api-") && apart.len() == "acme.api-".len() + 6);
        let dotted = "a.b/c".parse().unwrap();
        assert_eq!(
            environment_resource_apart(&dotted),
            environment_resource(&dotted)
        );
        let odd = [
            "a.b/c", "a/b.c", "a/b_c", "a_b/c", "a-b/c", "a/b-c", "a/b-.c", "a/b..c",
        ];
        let names: std::collections::BTreeSet<_> = odd.iter().map(|text| name(text)).collect();
        assert_eq!(names.len(), odd.len());
        for name in names {
            assert!(name.len() <= 253);
            let segment = |part: &str| {
                let ends = |one: Option<char>| one.is_some_and(|one| one.is_ascii_alphanumeric());
                ends(part.chars().next()) && ends(part.chars().last())
            };
            assert!(name.split('.').all(segment), "{name}");
        }
    }
}
