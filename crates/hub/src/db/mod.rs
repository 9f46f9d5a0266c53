//! The database: names, access and history. One file per table.

mod audit;
mod environments;
mod generations;
mod migrations;
mod paths;
mod pointers;
mod revocations;
mod tokens;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, SqliteConnection, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

pub(crate) use audit::{Action, AuditEntry};
pub(crate) use environments::EnvironmentRow;
pub(crate) use paths::PathRow;
pub(crate) use tokens::{COMMAND_LINE, NewToken, Scope, TokenRow};

use crate::error::HubError;

/// How long a writer waits for one in another process (`nival-hub token` beside the server).
const BUSY_TIMEOUT: Duration = Duration::from_secs(15);

/// Readers at the same time; writers take turns anyway.
const CONNECTIONS: u32 = 8;

/// The database.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pool: SqlitePool,
    writing: Arc<Mutex<()>>,
}

/// A transaction that writes. It is undone when it is dropped before [`Writing::commit`].
///
/// Writers of this process queue up here: SQLite itself would let them poll.
#[derive(Debug)]
pub(crate) struct Writing {
    transaction: Transaction<'static, Sqlite>,
    turn: Turn,
}

/// The turn to write: while it is held, nobody else in this process writes.
#[derive(Debug)]
pub(crate) struct Turn {
    _guard: OwnedMutexGuard<()>,
}

impl Database {
    /// Opens the database, makes it where it is missing, and brings its schema up to date.
    ///
    /// # Errors
    /// Fails when the file cannot be opened or was made by a newer hub.
    pub(crate) async fn open(file: &Path) -> Result<Self, HubError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What was answered as done must outlive a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect_with(options)
            .await?;
        let database = Self {
            pool,
            writing: Arc::default(),
        };
        migrations::run(&database).await?;
        Ok(database)
    }

    /// Begins to write.
    ///
    /// # Errors
    /// Fails when another process writes for too long.
    pub(crate) async fn write(&self) -> Result<Writing, HubError> {
        let turn = Turn {
            _guard: Arc::clone(&self.writing).lock_owned().await,
        };
        let transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Writing { transaction, turn })
    }

    /// Tells whether it answers.
    ///
    /// # Errors
    /// Fails when it does not.
    pub(crate) async fn check(&self) -> Result<(), HubError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Ends all connections.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

impl Writing {
    /// Makes all of it last, and returns the turn, for what must be done before others write.
    ///
    /// # Errors
    /// Fails when the disk does; then nothing is written.
    pub(crate) async fn commit(self) -> Result<Turn, HubError> {
        self.transaction.commit().await?;
        Ok(self.turn)
    }

    fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

/// Converts a number for the database, whose integers are signed.
fn to_database(number: u64, what: &str) -> Result<i64, HubError> {
    i64::try_from(number).map_err(|_| HubError::BadRequest(format!("{what} {number} is too large")))
}

/// Converts a number of the database.
fn from_database(number: i64, what: &str) -> Result<u64, HubError> {
    u64::try_from(number).map_err(|_| HubError::Damaged(format!("{what} is {number}")))
}

/// Parses what the hub itself wrote.
fn parse<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, HubError> {
    text.parse()
        .map_err(|_| HubError::Damaged(format!("{what} is {text:?}")))
}
