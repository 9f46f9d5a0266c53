//! Brings the schema up to date: numbered files, each applied once, in order.

use super::Database;
use crate::error::HubError;

/// Append only: what has run once on somebody's hub never changes.
const MIGRATIONS: &[(i64, &str)] = &[
    (1, include_str!("../../migrations/0001_first.sql")),
    (2, include_str!("../../migrations/0002_revocations.sql")),
];

/// Applies what is missing, all in one transaction.
pub(super) async fn run(database: &Database) -> Result<(), HubError> {
    let newest = MIGRATIONS.last().map_or(0, |(number, _)| *number);
    if applied(database).await? == newest {
        return Ok(());
    }
    let mut writing = database.write().await?;
    let make = "CREATE TABLE IF NOT EXISTS migrations (number BIGINT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)";
    sqlx::query(make).execute(writing.connection()).await?;
    let (present,): (i64,) = sqlx::query_as("SELECT COALESCE(MAX(number), 0) FROM migrations")
        .fetch_one(writing.connection())
        .await?;
    if present > newest {
        return Err(HubError::Damaged(format!(
            "the database has schema {present}, this hub knows up to {newest}: it was used by a newer hub; upgrade this one"
        )));
    }
    for (number, sql) in MIGRATIONS.iter().filter(|(number, _)| *number > present) {
        sqlx::raw_sql(*sql).execute(writing.connection()).await?;
        sqlx::query("INSERT INTO migrations (number, applied_at) VALUES ($1, $2)")
            .bind(*number)
            .bind(crate::time::now())
            .execute(writing.connection())
            .await?;
        tracing::info!(number, "database schema brought up to date");
    }
    writing.commit().await.map(drop)
}

/// Returns the newest migration applied; 0 where there is no table yet.
async fn applied(database: &Database) -> Result<i64, HubError> {
    let found = sqlx::query_as("SELECT COALESCE(MAX(number), 0) FROM migrations")
        .fetch_one(&database.pool)
        .await;
    match found {
        Ok((number,)) => Ok(number),
        Err(sqlx::Error::Database(_)) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_of_the_first_schema_keeps_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.sqlite");
        let database = Database::open(&file).await.unwrap();
        // What a hub of the first schema left.
        let mut writing = database.write().await.unwrap();
        sqlx::raw_sql(
            "DROP TABLE revocations; DELETE FROM migrations WHERE number > 1; \
             INSERT INTO environments (owner, name, visibility, created_at) VALUES ('demo', 'app', 'public', 1)",
        )
        .execute(writing.connection())
        .await
        .unwrap();
        drop(writing.commit().await.unwrap());
        database.close().await;

        let database = Database::open(&file).await.unwrap();
        let name = "demo/app".parse().unwrap();
        assert!(database.environment(&name).await.unwrap().is_some());
        let owner = "demo".parse().unwrap();
        assert_eq!(database.revocations(&owner).await.unwrap(), None);
    }
}
