//! Store paths and NAR files in the owners' caches.

use std::collections::HashMap;

use nix_data::{Hash, StorePath};
use sqlx::QueryBuilder;

use super::{Database, Writing, from_database, parse, to_database};
use crate::error::HubError;
use crate::owner::Owner;
use crate::time;

/// How many hash parts one query asks for: far below the variables that any SQLite allows.
const AT_ONCE: usize = 500;

/// A store path as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathRow {
    /// The store path.
    pub(crate) store_path: StorePath,
    /// The SHA-256 of its NAR.
    pub(crate) nar_hash: Hash,
    /// The length of its NAR.
    pub(crate) nar_size: u64,
    /// The file below `nar/`.
    pub(crate) file: String,
    /// The length of the file.
    pub(crate) file_size: u64,
}

/// A NAR file as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NarRow {
    /// Its length.
    pub(crate) file_size: u64,
    /// Whether everybody may read it.
    pub(crate) is_public: bool,
}

type Row = (String, String, i64, String, i64);

impl PathRow {
    fn from_row(row: Row) -> Result<Self, HubError> {
        let (store_path, nar_hash, nar_size, file, file_size) = row;
        Ok(Self {
            store_path: parse(&store_path, "a store path")?,
            nar_hash: parse(&nar_hash, "a NAR hash")?,
            nar_size: from_database(nar_size, "a NAR size")?,
            file,
            file_size: from_database(file_size, "a file size")?,
        })
    }
}

impl Database {
    /// Returns a store path by its hash part, and whether everybody may read it.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn path(
        &self,
        owner: &Owner,
        hash_part: &str,
    ) -> Result<Option<(PathRow, bool)>, HubError> {
        type Row = (String, String, i64, String, i64, i64);
        let row: Option<Row> = sqlx::query_as(
            "SELECT store_path, nar_hash, nar_size, file, file_size, \
             (SELECT COUNT(*) FROM (SELECT 1 FROM environment_paths e JOIN environments v \
               ON v.owner = e.owner AND v.name = e.name AND v.visibility = 'public' \
               WHERE e.owner = p.owner AND e.hash_part = p.hash_part LIMIT 1) AS found) \
             FROM paths p WHERE p.owner = $1 AND p.hash_part = $2",
        )
        .bind(owner.as_str())
        .bind(hash_part)
        .fetch_optional(&self.pool)
        .await?;
        let Some((path, hash, size, file, file_size, public)) = row else {
            return Ok(None);
        };
        Ok(Some((
            PathRow::from_row((path, hash, size, file, file_size))?,
            public > 0,
        )))
    }

    /// Returns those of the hash parts that the owner's cache has.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn paths(
        &self,
        owner: &Owner,
        hash_parts: &[&str],
    ) -> Result<HashMap<String, PathRow>, HubError> {
        let mut found = HashMap::with_capacity(hash_parts.len());
        for some in hash_parts.chunks(AT_ONCE) {
            let mut query = QueryBuilder::new(
                "SELECT store_path, nar_hash, nar_size, file, file_size FROM paths WHERE owner = ",
            );
            query.push_bind(owner.as_str()).push(" AND hash_part IN (");
            let mut list = query.separated(", ");
            for hash_part in some {
                list.push_bind(*hash_part);
            }
            query.push(")");
            let rows: Vec<Row> = query.build_query_as().fetch_all(&self.pool).await?;
            for row in rows {
                let row = PathRow::from_row(row)?;
                found.insert(row.store_path.hash_part().to_owned(), row);
            }
        }
        Ok(found)
    }

    /// Returns a NAR file of the owner's cache. It is public when a public path has it.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn nar(&self, owner: &Owner, file: &str) -> Result<Option<NarRow>, HubError> {
        let row: Option<(i64, i64)> = sqlx::query_as(
            "SELECT n.file_size, \
             (SELECT COUNT(*) FROM (SELECT 1 FROM paths p \
               JOIN environment_paths e ON e.owner = p.owner AND e.hash_part = p.hash_part \
               JOIN environments v ON v.owner = e.owner AND v.name = e.name AND v.visibility = 'public' \
               WHERE p.owner = n.owner AND p.file = n.file LIMIT 1) AS found) \
             FROM nars n WHERE n.owner = $1 AND n.file = $2",
        )
        .bind(owner.as_str())
        .bind(file)
        .fetch_optional(&self.pool)
        .await?;
        let Some((file_size, public)) = row else {
            return Ok(None);
        };
        let file_size = from_database(file_size, "a file size")?;
        Ok(Some(NarRow {
            file_size,
            is_public: public > 0,
        }))
    }

    /// Remembers a NAR file that is in the object store.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn add_nar(
        &self,
        owner: &Owner,
        file: &str,
        file_size: u64,
        actor: &str,
    ) -> Result<(), HubError> {
        let mut writing = self.write().await?;
        sqlx::query(
            "INSERT INTO nars (owner, file, file_size, uploaded_at, uploaded_by) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT DO NOTHING",
        )
        .bind(owner.as_str())
        .bind(file)
        .bind(to_database(file_size, "file size")?)
        .bind(time::now())
        .bind(actor)
        .execute(writing.connection())
        .await?;
        writing.commit().await.map(drop)
    }
}

impl Writing {
    /// Returns a store path by its hash part.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn path(
        &mut self,
        owner: &Owner,
        hash_part: &str,
    ) -> Result<Option<PathRow>, HubError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT store_path, nar_hash, nar_size, file, file_size FROM paths WHERE owner = $1 AND hash_part = $2",
        )
        .bind(owner.as_str())
        .bind(hash_part)
        .fetch_optional(self.connection())
        .await?;
        row.map(PathRow::from_row).transpose()
    }

    /// Adds a store path.
    ///
    /// # Errors
    /// Fails when the database does, and when it is there already.
    pub(crate) async fn add_path(
        &mut self,
        owner: &Owner,
        row: &PathRow,
        actor: &str,
    ) -> Result<(), HubError> {
        sqlx::query(
            "INSERT INTO paths (owner, hash_part, store_path, nar_hash, nar_size, file, file_size, uploaded_at, uploaded_by) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(owner.as_str())
        .bind(row.store_path.hash_part())
        .bind(row.store_path.to_string())
        .bind(row.nar_hash.to_sri())
        .bind(to_database(row.nar_size, "NAR size")?)
        .bind(&row.file)
        .bind(to_database(row.file_size, "file size")?)
        .bind(time::now())
        .bind(actor)
        .execute(self.connection())
        .await?;
        Ok(())
    }
}
