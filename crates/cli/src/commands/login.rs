//! `nival login`: keeps a token for the hub, after the hub has said that it is good.

use std::io::Read as _;

use clap::Args;

use crate::context::Context;
use crate::error::{CommandError, Doing as _, Outcome};
use crate::settings::edit_user_file;

/// A token is one short line.
const LARGEST_TOKEN: u64 = 4096;

/// Keeps a token.
#[derive(Debug, Args)]
#[command(
    after_help = "The token is read from standard input, so that no list of processes shows it:\n\n    \
                        nival-hub token create --owner acme --scope push | nival login"
)]
pub(crate) struct LoginArgs {}

/// Runs the command.
///
/// # Errors
/// Fails when the hub does not know the token; then the configuration stays as it is.
pub(crate) async fn run(context: &Context, _args: &LoginArgs) -> Outcome {
    let mut text = String::new();
    std::io::stdin()
        .take(LARGEST_TOKEN)
        .read_to_string(&mut text)
        .doing(|| "cannot read a token from standard input".to_owned())?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(CommandError::user("standard input has no token")
            .hint("nival-hub token create --owner OWNER --scope push | nival login"));
    }
    let hub = context.hub_with_token(token)?;
    let owner = hub.info().await?.owner.ok_or_else(|| {
        CommandError::user(format!(
            "the hub at {} does not know this token",
            hub.base()
        ))
        .hint("make one with `nival-hub token create --owner OWNER`")
    })?;
    let hub_setting = context.settings.hub.value.clone();
    let path = &context.settings.user_config;
    edit_user_file(path, |document| {
        document["hub"] = toml_edit::value(hub_setting);
        document["token"] = toml_edit::value(token);
    })?;
    context.printer.say(format!(
        "Logged in to {} as {owner} ({}).",
        hub.base(),
        path.display()
    ));
    Ok(())
}
