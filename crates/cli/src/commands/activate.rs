//! `nival activate`: runs a command, or a shell, in the environment, by becoming it.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Args, ValueEnum};
use env_spec::manifest::{ActivateMode, Manifest};
use nix_data::StorePath;

use crate::changing;
use crate::context::Context;
use crate::env_vars;
use crate::error::{CommandError, Outcome};
use crate::manifest;
use crate::project::Project;
use crate::provide;
use crate::shell::{HOOK, Shell, quoted};

/// Runs a command in the environment.
#[derive(Debug, Args)]
pub(crate) struct ActivateArgs {
    /// How: `run` as in production, `dev` with headers and build tools as well (default: as the manifest says)
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Print the variables for a shell to evaluate, and run nothing
    #[arg(long, conflicts_with = "command")]
    print: bool,
    /// Print the variables as JSON, and run nothing
    #[arg(long, conflicts_with_all = ["command", "print"])]
    json: bool,
    /// The command with its arguments (default: an interactive shell)
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Variables with their values, in the order in which to set them.
type Pairs = Vec<(String, String)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// For developing
    Dev,
    /// As in production
    Run,
}

/// Runs the command. It returns only when nothing was run.
///
/// # Errors
/// Fails when the environment cannot be had, or the command is not there.
pub(crate) fn run(context: &Context, args: &ActivateArgs) -> Outcome<ExitCode> {
    let project = context.project()?;
    let lock = changing::fresh_lock(context, &project)?;
    let manifest = manifest::read(&project, &project.manifest_text()?)?.manifest;
    let path = provide::provide(context, &project, &manifest, &lock)?;
    let (_, environment) = provide::locked(&lock, &context.system()?)?;
    let mode = match args.mode {
        Some(Mode::Dev) => ActivateMode::Dev,
        Some(Mode::Run) => ActivateMode::Run,
        None => manifest.options.activate_mode,
    };
    let surroundings: BTreeMap<String, String> = context
        .variables
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let variables = environment.activation.expand(mode, &surroundings);
    if args.json {
        let object: BTreeMap<&str, &str> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        context.printer.json(&object)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.print {
        for (name, value) in &variables {
            context
                .printer
                .data(format!("export {name}={}", quoted(value)))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (words, more) = if args.command.is_empty() {
        shell(context, &project, &manifest, &variables)?
    } else {
        (args.command.clone(), Vec::new())
    };
    let variables: Pairs = variables.into_iter().chain(more).collect();
    let search = search_path(context, &variables);
    let command = match &environment.activation.hook {
        Some(hook) if !hook.trim().is_empty() => {
            // The command is looked for before the hook runs: a typing error costs no hook.
            find(&words[0], &search)?;
            let mut command = Command::new(bash(&path, &search)?);
            command
                .args(["--noprofile", "--norc", "-c", HOOK, hook])
                .args(&words);
            command
        }
        _ => {
            let mut command = Command::new(find(&words[0], &search)?);
            command.arg0(&words[0]).args(&words[1..]);
            command
        }
    };
    become_it(command, &words[0], &variables)
}

fn become_it(
    mut command: Command,
    name: &str,
    variables: &[(String, String)],
) -> Outcome<ExitCode> {
    let error = command
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .exec();
    Err(CommandError::from(error).doing(format!("cannot run {name:?}")))
}

fn shell(
    context: &Context,
    project: &Project,
    manifest: &Manifest,
    variables: &[(String, String)],
) -> Outcome<(Vec<String>, Pairs)> {
    let program = context.variables.get(env_vars::SHELL).unwrap_or("/bin/sh");
    let folder = project
        .root()
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let name = match project.remote()? {
        Some(remote) => remote.environment.to_string(),
        None => folder.unwrap_or_else(|| "nival".to_owned()),
    };
    let shell = Shell::prepare(
        program,
        &project.state()?,
        &name,
        variables,
        &manifest.profile,
    )?;
    Ok((shell.command, shell.variables))
}

/// Returns the folders where the environment's commands are, as the command itself will see them.
fn search_path(context: &Context, variables: &[(String, String)]) -> Vec<PathBuf> {
    let set = variables
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map(|(_, value)| value.as_str());
    let path = set
        .or_else(|| context.variables.by_name("PATH"))
        .unwrap_or("/usr/bin:/bin");
    std::env::split_paths(path).collect()
}

fn find(program: &str, search: &[PathBuf]) -> Outcome<PathBuf> {
    if program.contains('/') {
        return Ok(program.into());
    }
    search
        .iter()
        .map(|folder| folder.join(program))
        .find(|path| is_program(path))
        .ok_or_else(|| {
            CommandError::user(format!(
                "there is no command {program:?} in the environment"
            ))
            .hint("`nival list` shows what is installed; `nival search` what could be")
        })
}

/// The hook is written in bash: the environment's own goes first, then the machine's.
fn bash(environment: &StorePath, search: &[PathBuf]) -> Outcome<PathBuf> {
    let own = [
        format!("{environment}/bin/bash").into(),
        PathBuf::from("/bin/bash"),
    ];
    let found = own
        .into_iter()
        .find(|path| is_program(path))
        .or_else(|| find("bash", search).ok());
    found.ok_or_else(|| {
        CommandError::user("the on-activate hook needs bash, and there is none")
            .hint("nival install bash")
    })
}

fn is_program(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file()
}
