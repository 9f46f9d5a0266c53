//! `nival config`: shows the decided settings and where each comes from.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::context::Context;
use crate::error::Outcome;
use crate::settings::{KeyChoice, Setting};

/// Shows the configuration.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every setting with where it comes from
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// Fails when standard output takes no more.
pub(crate) fn run(context: &Context, args: &ConfigArgs) -> Outcome {
    let ConfigCommand::Show { json } = args.command;
    let settings = &context.settings;
    let revisions = settings
        .revisions
        .value
        .iter()
        .map(|one| format!("{} ({})", one.name, one.path));
    let optional = |one: &Option<Setting<String>>| match one {
        Some(one) => (json!(one.value), one.value.clone(), one.from.clone()),
        None => (json!(null), "none".to_owned(), "default".to_owned()),
    };
    let list =
        |one: &Setting<Vec<String>>| (json!(one.value), one.value.join(" "), one.from.clone());
    let plain = |one: &Setting<String>| (json!(one.value), one.value.clone(), one.from.clone());
    let mut token = optional(&settings.token);
    if settings.token.is_some() {
        // A token is a secret: that there is one, and from where, is enough to know.
        (token.0, token.1) = (json!("set"), "set".to_owned());
    }
    let signing_key = match &settings.signing_key {
        None => (
            json!(null),
            "the only one there is".to_owned(),
            "default".to_owned(),
        ),
        Some(Setting {
            value: KeyChoice::Name(name),
            from,
        }) => (json!(name), name.clone(), from.clone()),
        Some(Setting {
            value: KeyChoice::File(path),
            from,
        }) => (json!(path), path.display().to_string(), from.clone()),
    };
    let trust: Vec<String> = settings
        .trust
        .iter()
        .map(|(owner, key)| format!("{owner}: {key}"))
        .collect();
    let rows = [
        ("hub", plain(&settings.hub)),
        ("token", token),
        ("nix", plain(&settings.nix)),
        ("substituters", list(&settings.substituters)),
        ("trusted_public_keys", list(&settings.trusted_public_keys)),
        ("signing_key", signing_key),
        ("author", optional(&settings.author)),
        (
            "catalog.revisions",
            (
                json!(settings.revisions.value),
                revisions.collect::<Vec<_>>().join(", "),
                settings.revisions.from.clone(),
            ),
        ),
        (
            "trust",
            (json!(trust), trust.join(" "), "files, added up".to_owned()),
        ),
        (
            "user file",
            (
                json!(settings.user_config),
                settings.user_config.display().to_string(),
                if settings.user_config.exists() {
                    "found"
                } else {
                    "not there"
                }
                .to_owned(),
            ),
        ),
    ];
    if json {
        let object: serde_json::Map<_, _> = rows
            .into_iter()
            .map(|(name, (value, _, from))| {
                (name.to_owned(), json!({ "value": value, "from": from }))
            })
            .collect();
        return context.printer.json(&object);
    }
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(name, (_, text, from))| vec![name.to_owned(), text, from])
        .collect();
    Ok(context
        .printer
        .table(&["SETTING", "VALUE", "FROM"], &rows)?)
}
