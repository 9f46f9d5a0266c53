//! `nival-hub token`: makes, lists and revokes tokens, also beside a running server.

use serde::Serialize;

use super::{CommandError, open_database, print, print_json};
use crate::args::Token;
use crate::config::Settings;
use crate::db::{COMMAND_LINE, NewToken, TokenRow};
use crate::time;

/// A token as `token list --json` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: String,
    owner: String,
    scope: String,
    state: &'static str,
    created: String,
    expires: Option<String>,
}

pub(super) async fn run(settings: &Settings, verb: Token) -> Result<(), CommandError> {
    let database = open_database(settings).await?;
    match verb {
        Token::Create(options) => {
            let after = |length: std::time::Duration| {
                time::now().saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))
            };
            let new = NewToken {
                owner: options.owner,
                scope: options.scope,
                expires_at: options.expires.map(after),
            };
            let (_, token) = database.create_token(&new, COMMAND_LINE).await?;
            print(&format!("{token}\n"))?;
        }
        Token::List { json } => {
            let tokens: Vec<Shown> = database.tokens().await?.into_iter().map(shown).collect();
            if json {
                print_json(&tokens)?;
            } else {
                print(&tokens.iter().map(line).collect::<String>())?;
            }
        }
        Token::Revoke { id } => {
            if !database.revoke_token(&id).await? {
                return Err(CommandError::NoToken { id });
            }
        }
    }
    database.close().await;
    Ok(())
}

fn shown(token: TokenRow) -> Shown {
    let state = match (token.revoked_at, token.expires_at) {
        (Some(_), _) => "revoked",
        (None, Some(at)) if at <= time::now() => "expired",
        _ => "valid",
    };
    Shown {
        id: token.id,
        owner: token.owner.to_string(),
        scope: token.scope.to_string(),
        state,
        created: time::text(token.created_at),
        expires: token.expires_at.map(time::text),
    }
}

fn line(token: &Shown) -> String {
    let expires = token.expires.as_deref().unwrap_or("never");
    format!(
        "{}  {:<20}  {:<5}  {:<7}  made {}  ends {expires}\n",
        token.id, token.owner, token.scope, token.state, token.created
    )
}
