//! The verbs, one file each.

pub(crate) mod activate;
pub(crate) mod config;
pub(crate) mod generations;
pub(crate) mod init;
pub(crate) mod install;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod lock;
pub(crate) mod login;
pub(crate) mod push;
pub(crate) mod revocations;
pub(crate) mod revoke;
pub(crate) mod rollback;
pub(crate) mod sbom;
pub(crate) mod search;
pub(crate) mod show;
pub(crate) mod uninstall;
pub(crate) mod upgrade;
pub(crate) mod verify;

use std::process::ExitCode;

use crate::args::{Command, reference_markdown};
use crate::context::Context;
use crate::error::Outcome;

/// Runs a verb.
///
/// # Errors
/// Fails as the verb does.
pub(crate) async fn run(context: &Context, command: Command) -> Outcome<ExitCode> {
    match command {
        Command::Init(args) => init::run(context, &args)?,
        Command::Install(args) => install::run(context, &args)?,
        Command::Uninstall(args) => uninstall::run(context, &args)?,
        Command::List(args) => list::run(context, &args)?,
        Command::Search(args) => search::run(context, &args)?,
        Command::Lock(args) => lock::run(context, &args)?,
        Command::Upgrade(args) => upgrade::run(context, &args)?,
        Command::Activate(args) => return activate::run(context, &args),
        Command::Push(args) => push::run(context, &args).await?,
        Command::Generations(args) => generations::run(context, &args).await?,
        Command::Show(args) => show::run(context, &args).await?,
        Command::Rollback(args) => rollback::run(context, &args).await?,
        Command::Revoke(args) => revoke::run(context, &args).await?,
        Command::Revocations(args) => revocations::run(context, &args).await?,
        Command::Sbom(args) => sbom::run(context, &args).await?,
        Command::Verify(args) => verify::run(context, &args).await?,
        Command::Login(args) => login::run(context, &args).await?,
        Command::Key(args) => key::run(context, &args)?,
        Command::K8s(args) => return Box::pin(crate::k8s::run(context, &args)).await,
        Command::Config(args) => config::run(context, &args)?,
        Command::ReferenceMarkdown => context.printer.raw(reference_markdown().as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}
