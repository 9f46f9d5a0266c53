//! Tokens: who may do what, stored as hashes.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::{Action, Database, parse};
use crate::error::HubError;
use crate::owner::Owner;
use crate::{random, time};

/// What a token allows; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// To read what is private to the owner.
    Read,
    /// To push, too.
    Push,
    /// Everything, for every owner.
    Admin,
}

/// Who acts when a person runs `nival-hub token`, for the audit log.
pub(crate) const COMMAND_LINE: &str = "command line";

/// What a token is to be.
#[derive(Debug, Clone)]
pub(crate) struct NewToken {
    /// Whose it is.
    pub(crate) owner: Owner,
    /// What it allows.
    pub(crate) scope: Scope,
    /// When it ends (milliseconds since 1970).
    pub(crate) expires_at: Option<i64>,
}

/// A token as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct TokenRow {
    /// Its name: no secret.
    pub(crate) id: String,
    /// Whose it is.
    pub(crate) owner: Owner,
    /// What it allows.
    pub(crate) scope: Scope,
    /// When it was made.
    pub(crate) created_at: i64,
    /// When it ends.
    pub(crate) expires_at: Option<i64>,
    /// When it was revoked.
    pub(crate) revoked_at: Option<i64>,
}

type Row = (String, String, String, i64, Option<i64>, Option<i64>);

impl TokenRow {
    fn from_row(row: Row) -> Result<Self, HubError> {
        let (id, owner, scope, created_at, expires_at, revoked_at) = row;
        Ok(Self {
            id,
            owner: parse(&owner, "the owner of a token")?,
            scope: parse(&scope, "the scope of a token")?,
            created_at,
            expires_at,
            revoked_at,
        })
    }
}

impl Database {
    /// Makes a token and returns it: it can never be read again.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn create_token(
        &self,
        new: &NewToken,
        actor: &str,
    ) -> Result<(TokenRow, String), HubError> {
        let token = format!("nvl_{}", random::secret().map_err(HubError::Random)?);
        let row = TokenRow {
            id: random::hex::<6>().map_err(HubError::Random)?,
            owner: new.owner.clone(),
            scope: new.scope,
            created_at: time::now(),
            expires_at: new.expires_at,
            revoked_at: None,
        };
        let mut writing = self.write().await?;
        sqlx::query(
            "INSERT INTO tokens (id, owner, scope, hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&row.id)
        .bind(row.owner.as_str())
        .bind(row.scope.to_string())
        .bind(hash(&token))
        .bind(row.created_at)
        .bind(row.expires_at)
        .execute(writing.connection())
        .await?;
        let detail = format!("for {} with scope {}", row.owner, row.scope);
        writing
            .audit(actor, Action::CreateToken, &row.id, &detail)
            .await?;
        writing.commit().await?;
        Ok((row, token))
    }

    /// Returns what a token is, also one that has ended.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn token(&self, token: &str) -> Result<Option<TokenRow>, HubError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, owner, scope, created_at, expires_at, revoked_at FROM tokens WHERE hash = $1",
        )
        .bind(hash(token))
        .fetch_optional(&self.pool)
        .await?;
        row.map(TokenRow::from_row).transpose()
    }

    /// Returns all tokens, oldest first.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn tokens(&self) -> Result<Vec<TokenRow>, HubError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, owner, scope, created_at, expires_at, revoked_at FROM tokens ORDER BY created_at, id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(TokenRow::from_row).collect()
    }

    /// Ends a token. Returns whether there was one of this id that had not ended.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn revoke_token(&self, id: &str) -> Result<bool, HubError> {
        let mut writing = self.write().await?;
        let outcome =
            sqlx::query("UPDATE tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL")
                .bind(time::now())
                .bind(id)
                .execute(writing.connection())
                .await?;
        if outcome.rows_affected() == 0 {
            return Ok(false);
        }
        writing
            .audit(COMMAND_LINE, Action::RevokeToken, id, "")
            .await?;
        writing.commit().await?;
        Ok(true)
    }
}

/// Tokens are 256 random bits, so a plain hash cannot be guessed back.
fn hash(token: &str) -> String {
    random::to_hex(&Sha256::digest(token.as_bytes()))
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Read => "read",
            Self::Push => "push",
            Self::Admin => "admin",
        })
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "read" => Ok(Self::Read),
            "push" => Ok(Self::Push),
            "admin" => Ok(Self::Admin),
            _ => Err(format!("{text:?} is not a scope: read, push or admin")),
        }
    }
}
