//! Live pointers: every move is kept, the last one counts.

use api::hub::history::PointerSummary;
use env_spec::generation::LivePointer;
use env_spec::{EnvironmentName, Signed};

use super::{Action, Database, Writing, from_database, parse, to_database};
use crate::error::HubError;
use crate::time;

impl Database {
    /// Returns the signed pointer that counts.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn live(&self, name: &EnvironmentName) -> Result<Option<Signed>, HubError> {
        let row: Option<(String,)> = sqlx::query_as(
            "SELECT signed FROM pointers WHERE owner = $1 AND name = $2 ORDER BY sequence DESC LIMIT 1",
        )
        .bind(name.owner())
        .bind(name.name())
        .fetch_optional(&self.pool)
        .await?;
        let read = |(text,): (String,)| {
            serde_json::from_str(&text)
                .map_err(|error| HubError::Damaged(format!("the live pointer of {name}: {error}")))
        };
        row.map(read).transpose()
    }

    /// Returns all moves, newest first.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn pointers(
        &self,
        name: &EnvironmentName,
    ) -> Result<Vec<PointerSummary>, HubError> {
        type Row = (i64, i64, String, String);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT sequence, number, digest, time FROM pointers WHERE owner = $1 AND name = $2 ORDER BY sequence DESC",
        )
        .bind(name.owner())
        .bind(name.name())
        .fetch_all(&self.pool)
        .await?;
        let summary = |(sequence, number, digest, time): Row| {
            Ok(PointerSummary {
                sequence: from_database(sequence, "a sequence")?,
                number: from_database(number, "a generation's number")?,
                digest: parse(&digest, "a digest")?,
                time,
            })
        };
        rows.into_iter().map(summary).collect()
    }
}

impl Writing {
    /// Moves the pointer.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn move_pointer(
        &mut self,
        pointer: &LivePointer,
        signed: &str,
        actor: &str,
    ) -> Result<(), HubError> {
        let name = &pointer.environment;
        let number = to_database(pointer.number, "generation number")?;
        let sequence = to_database(pointer.sequence, "sequence")?;
        sqlx::query(
            "INSERT INTO pointers (owner, name, sequence, number, digest, time, signed, moved_at, moved_by) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(name.owner())
        .bind(name.name())
        .bind(sequence)
        .bind(number)
        .bind(pointer.digest.to_string())
        .bind(&pointer.time)
        .bind(signed)
        .bind(time::now())
        .bind(actor)
        .execute(self.connection())
        .await?;
        sqlx::query(
            "UPDATE environments SET live_number = $1, live_digest = $2, live_sequence = $3 \
             WHERE owner = $4 AND name = $5",
        )
        .bind(number)
        .bind(pointer.digest.to_string())
        .bind(sequence)
        .bind(name.owner())
        .bind(name.name())
        .execute(self.connection())
        .await?;
        let detail = format!(
            "to generation {} with sequence {}",
            pointer.number, pointer.sequence
        );
        self.audit(actor, Action::MovePointer, &name.to_string(), &detail)
            .await
    }
}
