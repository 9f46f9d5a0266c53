//! Which of a workload's environments a command means.

use env_spec::EnvironmentName;
use workload::pin::Slot;
use workload::uses::Use;

use crate::error::{CommandError, Outcome};

/// Returns the uses of one environment: of the container, or of the only one there is.
///
/// # Errors
/// Fails when there is none, or several and none is named.
pub(crate) fn select(
    workload: &str,
    uses: Vec<Use>,
    container: Option<&str>,
) -> Outcome<(EnvironmentName, Vec<Use>)> {
    let Some(first) = uses.first().map(|one| one.environment.clone()) else {
        return Err(
            CommandError::user(format!("{workload} does not run in an environment"))
                .hint("annotate its pod template with nival.dev/environment"),
        );
    };
    if let Some(container) = container {
        return of_container(workload, &uses, container);
    }
    if uses.iter().all(|one| one.environment == first) {
        return Ok((first, uses));
    }
    Err(
        CommandError::user(format!("{workload} runs in several environments")).hint(format!(
            "choose one of its containers by -c: {}",
            places(&uses)
        )),
    )
}

fn of_container(
    workload: &str,
    uses: &[Use],
    container: &str,
) -> Outcome<(EnvironmentName, Vec<Use>)> {
    let is_own = |one: &&Use| matches!(&one.slot, Slot::Container(name) if name == container);
    let own = uses.iter().find(is_own);
    let pods = uses.iter().find(|one| one.slot == Slot::Pod);
    let found = own.or(pods).cloned().ok_or_else(|| {
        CommandError::user(format!(
            "container {container} of {workload} does not run in an environment"
        ))
        .hint(format!("these do: {}", places(uses)))
    })?;
    Ok((found.environment.clone(), vec![found]))
}

/// Returns where environments are, for messages.
pub(crate) fn places(uses: &[Use]) -> String {
    let place = |one: &Use| match &one.slot {
        Slot::Pod => format!("the pod ({})", one.environment),
        Slot::Container(name) => format!("{name} ({})", one.environment),
    };
    uses.iter().map(place).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(pairs: &[(&str, &str)]) -> Vec<Use> {
        let annotations = pairs
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Use::all_in(&annotations.collect())
    }

    #[test]
    fn the_only_environment_needs_no_name_and_one_of_several_does() {
        let one = uses(&[("nival.dev/environment", "acme/api")]);
        let (name, found) = select("deployment.apps/web", one, None).unwrap();
        assert_eq!((name.to_string(), found.len()), ("acme/api".to_owned(), 1));
        let two = || {
            uses(&[
                ("nival.dev/environment", "acme/api"),
                ("environment.nival.dev/db", "acme/redis"),
            ])
        };
        let error = select("deployment.apps/web", two(), None).unwrap_err();
        assert!(error.hints()[0].contains("db (acme/redis)"), "{error:?}");
        let of = |container| select("w", two(), Some(container)).unwrap().0.to_string();
        assert_eq!(of("db"), "acme/redis");
        assert_eq!(of("web"), "acme/api", "it has the pod's");
        select("w", Vec::new(), None).unwrap_err();
        let only_db = uses(&[("environment.nival.dev/db", "acme/redis")]);
        select("w", only_db, Some("web")).unwrap_err();
    }
}
