//! Environments: who may see them, their head and what is live.

use api::hub::environment::{Environment, GenerationId, Visibility};
use env_spec::EnvironmentName;

use super::{Action, Database, Writing, from_database, parse};
use crate::error::HubError;
use crate::owner::Owner;
use crate::time;

/// An environment as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct EnvironmentRow {
    /// Its name.
    pub(crate) name: EnvironmentName,
    /// Who may read it.
    pub(crate) visibility: Visibility,
    /// The newest generation.
    pub(crate) head: Option<GenerationId>,
    /// The live one.
    pub(crate) live: Option<GenerationId>,
    /// The live pointer's sequence.
    pub(crate) sequence: u64,
}

type Row = (
    String,
    String,
    String,
    i64,
    Option<String>,
    i64,
    Option<String>,
    i64,
);

const BY_NAME: &str = "SELECT owner, name, visibility, head_number, head_digest, live_number, live_digest, \
     live_sequence FROM environments WHERE owner = $1 AND name = $2";

impl EnvironmentRow {
    fn from_row(row: Row) -> Result<Self, HubError> {
        let (owner, name, visibility, head_number, head, live_number, live, sequence) = row;
        let generation = |number, digest: Option<String>| {
            let digest = digest.map(|text| parse(&text, "a digest")).transpose()?;
            let number = from_database(number, "a generation's number")?;
            Ok::<_, HubError>(digest.map(|digest| GenerationId { number, digest }))
        };
        Ok(Self {
            name: parse(&format!("{owner}/{name}"), "an environment's name")?,
            visibility: match visibility.as_str() {
                "public" => Visibility::Public,
                _ => Visibility::Private,
            },
            head: generation(head_number, head)?,
            live: generation(live_number, live)?,
            sequence: from_database(sequence, "a sequence")?,
        })
    }

    /// Returns it as clients see it.
    #[must_use]
    pub(crate) fn into_wire(self) -> Environment {
        Environment {
            environment: self.name,
            visibility: self.visibility,
            head: self.head,
            live: self.live,
            sequence: self.sequence,
        }
    }
}

fn visibility_name(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::Public => "public",
        Visibility::Private => "private",
    }
}

impl Database {
    /// Returns an environment.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn environment(
        &self,
        name: &EnvironmentName,
    ) -> Result<Option<EnvironmentRow>, HubError> {
        let row: Option<Row> = sqlx::query_as(BY_NAME)
            .bind(name.owner())
            .bind(name.name())
            .fetch_optional(&self.pool)
            .await?;
        row.map(EnvironmentRow::from_row).transpose()
    }

    /// Returns the environments that these owners may see, sorted by name: everybody sees public ones, `all` sees all.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn environments(
        &self,
        owners: impl Iterator<Item = &Owner>,
        all: bool,
    ) -> Result<Vec<EnvironmentRow>, HubError> {
        let mut query = sqlx::QueryBuilder::new(
            "SELECT owner, name, visibility, head_number, head_digest, live_number, live_digest, live_sequence \
             FROM environments WHERE visibility = 'public'",
        );
        if all {
            query.push(" OR 1 = 1");
        }
        for owner in owners {
            query.push(" OR owner = ").push_bind(owner.as_str());
        }
        query.push(" ORDER BY owner, name");
        let rows: Vec<Row> = query.build_query_as().fetch_all(&self.pool).await?;
        rows.into_iter().map(EnvironmentRow::from_row).collect()
    }
}

impl Writing {
    /// Returns an environment; a new private one where there is none.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn environment_or_new(
        &mut self,
        name: &EnvironmentName,
        actor: &str,
    ) -> Result<EnvironmentRow, HubError> {
        let row: Option<Row> = sqlx::query_as(BY_NAME)
            .bind(name.owner())
            .bind(name.name())
            .fetch_optional(self.connection())
            .await?;
        if let Some(row) = row {
            return EnvironmentRow::from_row(row);
        }
        sqlx::query(
            "INSERT INTO environments (owner, name, visibility, created_at) VALUES ($1, $2, 'private', $3)",
        )
        .bind(name.owner())
        .bind(name.name())
        .bind(time::now())
        .execute(self.connection())
        .await?;
        self.audit(
            actor,
            Action::CreateEnvironment,
            &name.to_string(),
            "private",
        )
        .await?;
        Ok(EnvironmentRow {
            name: name.clone(),
            visibility: Visibility::Private,
            head: None,
            live: None,
            sequence: 0,
        })
    }

    /// Changes who may read an environment.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn set_visibility(
        &mut self,
        name: &EnvironmentName,
        visibility: Visibility,
        actor: &str,
    ) -> Result<(), HubError> {
        sqlx::query("UPDATE environments SET visibility = $1 WHERE owner = $2 AND name = $3")
            .bind(visibility_name(visibility))
            .bind(name.owner())
            .bind(name.name())
            .execute(self.connection())
            .await?;
        let detail = visibility_name(visibility);
        self.audit(actor, Action::ChangeVisibility, &name.to_string(), detail)
            .await
    }
}
