//! Generations: what was published, in order.

use api::hub::environment::GenerationId;
use api::hub::history::GenerationSummary;
use env_spec::generation::Generation;
use env_spec::{Digest, EnvironmentName};

use super::{Action, Database, Writing, from_database, parse, to_database};
use crate::error::HubError;
use crate::time;

impl Database {
    /// Returns the number of the generation with this digest.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn generation_number(
        &self,
        name: &EnvironmentName,
        digest: Digest,
    ) -> Result<Option<u64>, HubError> {
        let row: Option<(i64,)> = sqlx::query_as(
            "SELECT number FROM generations WHERE owner = $1 AND name = $2 AND digest = $3",
        )
        .bind(name.owner())
        .bind(name.name())
        .bind(digest.to_string())
        .fetch_optional(&self.pool)
        .await?;
        row.map(|(number,)| from_database(number, "a generation's number"))
            .transpose()
    }

    /// Returns the digest of the generation with this number.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn generation_digest(
        &self,
        name: &EnvironmentName,
        number: u64,
    ) -> Result<Option<Digest>, HubError> {
        let row: Option<(String,)> = sqlx::query_as(
            "SELECT digest FROM generations WHERE owner = $1 AND name = $2 AND number = $3",
        )
        .bind(name.owner())
        .bind(name.name())
        .bind(to_database(number, "generation number")?)
        .fetch_optional(&self.pool)
        .await?;
        row.map(|(digest,)| parse(&digest, "a digest")).transpose()
    }

    /// Returns all generations, newest first.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn generations(
        &self,
        name: &EnvironmentName,
    ) -> Result<Vec<GenerationSummary>, HubError> {
        type Row = (i64, String, String, String, String);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT number, digest, created, author, message FROM generations \
             WHERE owner = $1 AND name = $2 ORDER BY number DESC",
        )
        .bind(name.owner())
        .bind(name.name())
        .fetch_all(&self.pool)
        .await?;
        let summary = |(number, digest, created, author, message): Row| {
            Ok(GenerationSummary {
                number: from_database(number, "a generation's number")?,
                digest: parse(&digest, "a digest")?,
                created,
                author,
                message,
            })
        };
        rows.into_iter().map(summary).collect()
    }
}

impl Writing {
    /// Makes a record the environment's head, and its paths those that the environment needs.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn add_generation(
        &mut self,
        record: &Generation,
        digest: Digest,
        actor: &str,
    ) -> Result<(), HubError> {
        let name = &record.environment;
        let number = to_database(record.number, "generation number")?;
        sqlx::query(
            "INSERT INTO generations (owner, name, number, digest, created, author, message, published_at, published_by) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(name.owner())
        .bind(name.name())
        .bind(number)
        .bind(digest.to_string())
        .bind(&record.created)
        .bind(&record.author)
        .bind(&record.message)
        .bind(time::now())
        .bind(actor)
        .execute(self.connection())
        .await?;
        sqlx::query(
            "UPDATE environments SET head_number = $1, head_digest = $2 WHERE owner = $3 AND name = $4",
        )
        .bind(number)
        .bind(digest.to_string())
        .bind(name.owner())
        .bind(name.name())
        .execute(self.connection())
        .await?;
        for path in record.systems.values().flat_map(|system| &system.closure) {
            sqlx::query(
                "INSERT INTO environment_paths (owner, name, hash_part) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            )
            .bind(name.owner())
            .bind(name.name())
            .bind(path.path.hash_part())
            .execute(self.connection())
            .await?;
        }
        let id = GenerationId {
            number: record.number,
            digest,
        };
        let subject = format!("{name}:{}@{}", id.number, id.digest);
        self.audit(actor, Action::PublishGeneration, &subject, &record.message)
            .await
    }
}
