//! `nival key`: makes, shows and trusts signing keys.

use clap::{Args, Subcommand};
use env_spec::EnvironmentName;
use nix_data::PublicKey;
use serde::Serialize;

use crate::context::Context;
use crate::error::{CommandError, Outcome};
use crate::keys::{Keys, add_trust};

/// Makes, shows and trusts keys.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a signing key and print its public half
    Generate {
        /// The key's name, such as acme-1: who signs, and a number that grows when the key is replaced
        name: String,
    },
    /// Print the public half of a key (default: of the one that signs)
    Show {
        /// The key's name
        name: Option<String>,
    },
    /// List own keys and trusted ones
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Trust a key to sign an owner's generations
    Trust {
        /// The owner, the part before the slash in owner/name
        owner: String,
        /// The public key, name:base64
        key: String,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyList {
    own: Vec<OwnKey>,
    trusted: Vec<TrustedKey>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OwnKey {
    name: String,
    public: PublicKey,
    signs: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TrustedKey {
    owner: String,
    public: PublicKey,
}

/// Runs the command.
///
/// # Errors
/// Fails when a key is missing, there already, or not valid.
pub(crate) fn run(context: &Context, args: &KeyArgs) -> Outcome {
    let keys = context.keys();
    match &args.command {
        KeyCommand::Generate { name } => generate(context, &keys, name),
        KeyCommand::Show { name } => {
            let key = match name {
                Some(name) => keys.read(name)?,
                None => keys.signing(&context.settings)?,
            };
            Ok(context.printer.data(key.public_key().to_string())?)
        }
        KeyCommand::List { json } => list(context, &keys, *json),
        KeyCommand::Trust { owner, key } => trust(context, owner, key),
    }
}

fn generate(context: &Context, keys: &Keys, name: &str) -> Outcome {
    let key = keys.generate(name)?;
    context.printer.say(format!(
        "The secret half lies in {}; keep a copy in a safe place.",
        context
            .settings
            .keys
            .join(format!("{name}.secret"))
            .display()
    ));
    context
        .printer
        .say("Whoever runs your environments trusts the public half:");
    Ok(context.printer.data(key.public_key().to_string())?)
}

fn list(context: &Context, keys: &Keys, json: bool) -> Outcome {
    let signing = keys
        .signing(&context.settings)
        .ok()
        .map(|key| key.public_key());
    let mut own = Vec::new();
    for name in keys.names()? {
        let public = keys.read(&name)?.public_key();
        own.push(OwnKey {
            signs: signing.as_ref() == Some(&public),
            name,
            public,
        });
    }
    let trusted = context.settings.trust.iter();
    let trusted = trusted.map(|(owner, key)| TrustedKey {
        owner: owner.to_owned(),
        public: key.clone(),
    });
    let all = KeyList {
        own,
        trusted: trusted.collect(),
    };
    if json {
        return context.printer.json(&all);
    }
    let own = all.own.iter().map(|key| {
        let role = if key.signs { "own, signs" } else { "own" };
        vec![role.to_owned(), key.public.to_string()]
    });
    let trusted = all
        .trusted
        .iter()
        .map(|key| vec![format!("trusted for {}", key.owner), key.public.to_string()]);
    let rows: Vec<_> = own.chain(trusted).collect();
    Ok(context.printer.table(&["ROLE", "PUBLIC KEY"], &rows)?)
}

fn trust(context: &Context, owner: &str, key: &str) -> Outcome {
    // The same rules as for owners in references.
    EnvironmentName::new(owner, "any")?;
    let key: PublicKey = key.parse().map_err(|error| {
        CommandError::from(error)
            .doing(format!("{key:?} is not a public key"))
            .hint("a public key is what `nival key show` prints: name:base64")
    })?;
    let path = &context.settings.user_config;
    let text = match fs_err::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    let Some(text) = add_trust(&text, owner, &key)? else {
        context
            .printer
            .say(format!("{} is trusted for {owner} already.", key.name()));
        return Ok(());
    };
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    // The file may hold a token.
    host::fs::write_atomic_private(path, text.as_bytes())?;
    context.printer.say(format!(
        "{} may now sign environments of {owner} ({}).",
        key.name(),
        path.display()
    ));
    Ok(())
}
