//! The audit log: who did what, when.

use serde::Serialize;

use super::{Database, Writing};
use crate::error::HubError;
use crate::{random, time};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// A token was made.
    CreateToken,
    /// A token was ended.
    RevokeToken,
    /// An environment was made.
    CreateEnvironment,
    /// Who may read an environment was changed.
    ChangeVisibility,
    /// A generation was published.
    PublishGeneration,
    /// The live pointer was moved.
    MovePointer,
    /// The list of revoked generations was changed.
    ChangeRevocations,
}

/// One line of the log.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AuditEntry {
    /// When (RFC 3339).
    pub(crate) at: String,
    /// Who: `owner (token id)`, or `command line`.
    pub(crate) actor: String,
    /// What.
    pub(crate) action: String,
    /// On what.
    pub(crate) subject: String,
    /// More words.
    pub(crate) detail: String,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::CreateToken => "create-token",
            Self::RevokeToken => "revoke-token",
            Self::CreateEnvironment => "create-environment",
            Self::ChangeVisibility => "change-visibility",
            Self::PublishGeneration => "publish-generation",
            Self::MovePointer => "move-pointer",
            Self::ChangeRevocations => "change-revocations",
        }
    }
}

impl Writing {
    /// Adds a line, in the same transaction as the act itself.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn audit(
        &mut self,
        actor: &str,
        action: Action,
        subject: &str,
        detail: &str,
    ) -> Result<(), HubError> {
        let id = random::hex::<16>().map_err(HubError::Random)?;
        sqlx::query(
            "INSERT INTO audit (id, at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(id)
        .bind(time::now())
        .bind(actor)
        .bind(action.name())
        .bind(subject)
        .bind(detail)
        .execute(self.connection())
        .await?;
        Ok(())
    }
}

impl Database {
    /// Returns the newest lines, oldest first.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn audit(&self, most: u32) -> Result<Vec<AuditEntry>, HubError> {
        type Row = (i64, String, String, String, String);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT at, actor, action, subject, detail FROM audit ORDER BY at DESC, id LIMIT $1",
        )
        .bind(i64::from(most))
        .fetch_all(&self.pool)
        .await?;
        let entry = |(at, actor, action, subject, detail)| AuditEntry {
            at: time::text(at),
            actor,
            action,
            subject,
            detail,
        };
        Ok(rows.into_iter().rev().map(entry).collect())
    }
}
