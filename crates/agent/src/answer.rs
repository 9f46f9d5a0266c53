//! What a container is told that may run: where its closure is, its variables, and the programs that it is known by.

use std::path::Path;

use api::agent as wire;
use env_spec::activation;

use crate::agent::Agent;
use crate::ready::Ready;
use crate::request::Mode;

/// The variable in a container that says which generation it runs.
const PIN_VARIABLE: &str = "NIVAL_ENVIRONMENT";

impl Agent {
    pub(crate) fn answer(
        &self,
        ready: &Ready,
        mode: Mode,
        mount_source: &Path,
    ) -> wire::PrepareResponse {
        let variable = |name: &str, value: String| wire::Variable {
            name: name.to_owned(),
            value,
            ..Default::default()
        };
        let environment = ready.environment.to_string();
        let planned = ready.plan.variables.iter();
        let mut variables: Vec<_> = planned
            .map(|one| variable(&one.name, one.value.clone()))
            .collect();
        if !variables
            .iter()
            .any(|one| one.name == activation::ENVIRONMENT)
        {
            variables.insert(0, variable(activation::ENVIRONMENT, environment.clone()));
        }
        variables.push(variable(PIN_VARIABLE, ready.pin.to_string()));
        let mut search_paths = ready.plan.search_paths.clone();
        if mode == Mode::Development {
            for (name, entries) in &ready.plan.development_paths {
                search_paths
                    .entry(name.clone())
                    .or_default()
                    .extend(entries.iter().cloned());
            }
        }
        let programs = ready.programs(&self.store).clone();
        wire::PrepareResponse {
            pin: ready.pin.to_string(),
            environment,
            mount_source: mount_source.to_string_lossy().into_owned(),
            variables,
            search_paths: search_paths
                .into_iter()
                .map(|(name, entries)| wire::SearchPath {
                    name,
                    entries,
                    ..Default::default()
                })
                .collect(),
            hook: ready.plan.hook.clone().unwrap_or_default(),
            shell: programs.shell.unwrap_or_default(),
            env_program: programs.env.unwrap_or_default(),
            ..Default::default()
        }
    }
}
