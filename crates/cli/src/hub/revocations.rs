//! What an owner revoked, as far as a trusted key says so.

use api::hub::error::ErrorCode;
use env_spec::believe::Seen;
use env_spec::generation::RevocationList;
use env_spec::revocation::Believed;
use env_spec::{Pin, Signed};
use nix_data::SecretKey;

use super::TrustedHub;
use super::seen::Subject;
use crate::error::{CommandError, Outcome};
use crate::output::Printer;

impl TrustedHub {
    /// Returns an owner's revocation list; an empty one with sequence 0 where nothing was ever revoked.
    ///
    /// # Errors
    /// Fails when it is not signed by a trusted key, or older than one seen before.
    pub(crate) async fn revocations(&self, owner: &str) -> Outcome<RevocationList> {
        let signed = match self.client.revocations(owner).await {
            Ok(signed) => Some(signed),
            // Everybody may read lists, so none that was seen can be hidden by right.
            Err(error) if error.code() == Some(ErrorCode::NotFound) => {
                self.seen.check_none(&Subject::revocations(owner))?;
                None
            }
            Err(error) => return Err(error.into()),
        };
        let believed = Believed::read(owner, signed.as_ref(), &self.trusted)?;
        if signed.is_some() {
            self.seen.check_revocations(owner, believed.seen())?;
        }
        Ok(believed.list().clone())
    }

    /// Returns an owner's revocation list for showing beside something else, which is shown also where the list cannot be had.
    pub(crate) async fn revocations_for_show(
        &self,
        owner: &str,
        printer: Printer,
    ) -> RevocationList {
        self.revocations(owner).await.unwrap_or_else(|error| {
            let why = error.lines().join(": ");
            printer.warn(format!("cannot tell what is revoked: {why}"));
            RevocationList::before_the_first(owner)
        })
    }

    /// Signs an owner's next list and puts it.
    ///
    /// # Errors
    /// Fails when the list is not valid or the hub refuses it.
    pub(crate) async fn put_revocations(
        &self,
        list: &RevocationList,
        key: &SecretKey,
        printer: Printer,
    ) -> Outcome {
        list.check(&list.owner)?;
        let signed = Signed::new(list, key)?;
        self.client.put_revocations(&list.owner, &signed).await?;
        let next = Seen {
            sequence: list.sequence,
            digest: Some(signed.digest()),
        };
        if let Err(error) = self.seen.check_revocations(&list.owner, next) {
            // It is published: to say that it failed would make somebody do it again.
            let why = error.lines().join(": ");
            printer.warn(format!("cannot remember the revocation list: {why}"));
        }
        Ok(())
    }
}

/// Refuses to make a revoked generation live.
///
/// # Errors
/// Fails when the list names it.
pub(crate) fn require_not_revoked(list: &RevocationList, pin: &Pin) -> Outcome {
    let Some(reason) = list.reason(pin.digest) else {
        return Ok(());
    };
    let label = format!("{}:{}", pin.environment, pin.number);
    Err(
        CommandError::user(format!("{label} is revoked: {reason}")).hint(format!(
            "choose or push another generation; if it may run after all: nival revoke --undo {label}"
        )),
    )
}
