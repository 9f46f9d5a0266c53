//! `nival init`: makes `.nival/manifest.toml` in a folder.

use clap::Args;
use env_spec::{EnvironmentName, edit};

use crate::context::Context;
use crate::error::{CommandError, Outcome};
use crate::project::{Project, Remote};

/// Makes a new environment.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The name: owner/name is also where `nival push` publishes it (default: the folder's name)
    #[arg(long)]
    name: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// Fails when there is a manifest already, or the name is not valid.
pub(crate) fn run(context: &Context, args: &InitArgs) -> Outcome {
    let remote = match &args.name {
        Some(name) if name.contains('/') => Some(Remote {
            environment: name.parse::<EnvironmentName>()?,
        }),
        _ => None,
    };
    let name = match (&args.name, &remote) {
        (_, Some(remote)) => remote.environment.name().to_owned(),
        (Some(name), None) => EnvironmentName::new("any", name)
            .map_err(|error| {
                CommandError::from(error)
                    .doing(format!("{name:?} is not a name for an environment"))
            })?
            .name()
            .to_owned(),
        (None, None) => context.folder.file_name().map_or_else(
            || "environment".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        ),
    };
    let project = Project::create(&context.folder, &edit::template(&name))?;
    if let Some(remote) = &remote {
        project.set_remote(remote)?;
    }
    context
        .printer
        .say(format!("Made {}.", project.manifest_path().display()));
    context
        .printer
        .say("Next: `nival install PACKAGE…`, then `nival activate`.");
    Ok(())
}
