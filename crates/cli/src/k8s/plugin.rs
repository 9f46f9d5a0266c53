//! The program `kubectl-nival`: the verbs of `nival k8s`, found by `kubectl` as `kubectl nival`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser};

use crate::args::GlobalArgs;
use crate::context::Context;
use crate::env_vars::Variables;
use crate::k8s::completion::{self, COMPLETE};
use crate::k8s::{self, K8sArgs};

/// Nix environments on Kubernetes: see, pin, roll out and roll back what workloads run.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-nival",
    bin_name = "kubectl nival",
    version,
    max_term_width = 100,
    propagate_version = true
)]
pub(super) struct PluginCli {
    #[command(flatten)]
    global: PluginGlobal,
    #[command(flatten)]
    k8s: K8sArgs,
}

/// Those of the global flags that mean something without a project.
#[derive(Debug, Args)]
struct PluginGlobal {
    /// The hub's address
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Global options"
    )]
    hub: Option<String>,
    /// Say nothing but data, warnings and errors
    #[arg(long, short, global = true, help_heading = "Global options")]
    quiet: bool,
}

/// Returns the definition of the command line.
pub(super) fn command() -> clap::Command {
    let mut command = PluginCli::command();
    command.build();
    command
}

/// Runs the command line of the plugin to its end and returns the exit code.
pub async fn run_plugin(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.get(1).is_some_and(|verb| verb == COMPLETE) {
        let words = arguments.iter().skip(2);
        let words: Vec<String> = words
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        return crate::finish(&GlobalArgs::default(), async |printer| {
            completion::complete(printer, &words).await?;
            Ok(ExitCode::SUCCESS)
        })
        .await;
    }
    let cli = match crate::parse::<PluginCli>(arguments) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let global = GlobalArgs {
        hub: cli.global.hub,
        quiet: cli.global.quiet,
        ..GlobalArgs::default()
    };
    crate::finish(&global, async |printer| {
        let context = Context::new(&global, Variables::of_process(), printer)?;
        Box::pin(k8s::run(&context, &cli.k8s)).await
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        PluginCli::command().debug_assert();
    }
}
