//! Revocation lists: the last one of each owner counts, and none before it is kept.

use env_spec::Signed;
use env_spec::generation::RevocationList;

use super::{Action, Database, Writing, parse, to_database};
use crate::error::HubError;
use crate::owner::Owner;
use crate::time;

/// How many changes a line of the audit log names.
const NAMED: usize = 20;

impl Database {
    /// Returns an owner's signed list.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn revocations(&self, owner: &Owner) -> Result<Option<Signed>, HubError> {
        let row: Option<(String,)> =
            sqlx::query_as("SELECT signed FROM revocations WHERE owner = $1")
                .bind(owner.as_str())
                .fetch_optional(&self.pool)
                .await?;
        row.map(|(text,)| read(&text, owner)).transpose()
    }

    /// Returns an owner's list. Its signatures are for those to check who run environments.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn revocation_list(
        &self,
        owner: &Owner,
    ) -> Result<Option<RevocationList>, HubError> {
        let read = |signed: Signed| {
            signed.read_unverified().map_err(|error| {
                HubError::Damaged(format!("the revocation list of {owner}: {error}"))
            })
        };
        self.revocations(owner).await?.map(read).transpose()
    }

    /// Returns all owners' signed lists.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn all_revocations(&self) -> Result<Vec<(Owner, Signed)>, HubError> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT owner, signed FROM revocations ORDER BY owner")
                .fetch_all(&self.pool)
                .await?;
        let one = |(owner, text): (String, String)| {
            let owner: Owner = parse(&owner, "an owner")?;
            let signed = read(&text, &owner)?;
            Ok((owner, signed))
        };
        rows.into_iter().map(one).collect()
    }
}

fn read(text: &str, owner: &Owner) -> Result<Signed, HubError> {
    serde_json::from_str(text)
        .map_err(|error| HubError::Damaged(format!("the revocation list of {owner}: {error}")))
}

impl Writing {
    /// Puts an owner's next list in the place of the present one.
    ///
    /// # Errors
    /// Fails when the database does.
    pub(crate) async fn put_revocations(
        &mut self,
        owner: &Owner,
        present: &RevocationList,
        next: &RevocationList,
        signed: &str,
        actor: &str,
    ) -> Result<(), HubError> {
        sqlx::query(
            "INSERT INTO revocations (owner, sequence, signed, put_at, put_by) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (owner) DO UPDATE SET sequence = excluded.sequence, signed = excluded.signed, \
             put_at = excluded.put_at, put_by = excluded.put_by",
        )
        .bind(owner.as_str())
        .bind(to_database(next.sequence, "sequence")?)
        .bind(signed)
        .bind(time::now())
        .bind(actor)
        .execute(self.connection())
        .await?;
        let detail = difference(present, next);
        self.audit(actor, Action::ChangeRevocations, owner.as_str(), &detail)
            .await
    }
}

/// Says what a list changes.
fn difference(present: &RevocationList, next: &RevocationList) -> String {
    let added = next
        .revoked
        .iter()
        .filter(|(digest, reason)| present.reason(**digest) != Some(reason.as_str()))
        .map(|(digest, reason)| format!("revoked {digest} ({reason})"));
    let removed = present
        .revoked
        .keys()
        .filter(|digest| next.reason(**digest).is_none())
        .map(|digest| format!("no longer revoked {digest}"));
    let mut changes: Vec<String> = added.chain(removed).collect();
    let more = changes.len().saturating_sub(NAMED);
    changes.truncate(NAMED);
    if more > 0 {
        changes.push(format!("{more} more changes"));
    }
    let changes = match changes.is_empty() {
        true => "nothing changed".to_owned(),
        false => changes.join(", "),
    };
    format!("sequence {}: {changes}", next.sequence)
}
