//! Who asks, and what they may.

use api::hub::environment::Visibility;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use env_spec::EnvironmentName;

use crate::app::App;
use crate::db::{EnvironmentRow, Scope};
use crate::error::HubError;
use crate::oidc::Identity;
use crate::owner::Owner;
use crate::time;

/// Longer headers hold no token of ours; those of other issuers say a lot.
const LONGEST_HEADER: usize = 8 << 10;

/// Who asks: nobody in particular, or the holder of a valid token.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Option<Holder>);

/// The holder of a valid token.
#[derive(Debug, Clone)]
struct Holder {
    /// Who it is, for the audit log.
    name: String,
    /// What may be done with whose things.
    grants: Vec<(Owner, Scope)>,
}

impl FromRequestParts<App> for Caller {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, HubError> {
        let Some(token) = token_of(&parts.headers)? else {
            return Ok(Self(None));
        };
        if app.oidc.is_for(&token) {
            let Identity { name, grants } = app.oidc.identify(&token).await?;
            return Ok(Self(Some(Holder { name, grants })));
        }
        let row = app
            .database
            .token(&token)
            .await?
            .ok_or(HubError::InvalidToken)?;
        if row.revoked_at.is_some() {
            return Err(HubError::InvalidToken);
        }
        match row.expires_at {
            Some(at) if at <= time::now() => Err(HubError::TokenExpired { at: time::text(at) }),
            _ => Ok(Self(Some(Holder {
                name: format!("{} (token {})", row.owner, row.id),
                grants: vec![(row.owner, row.scope)],
            }))),
        }
    }
}

impl Caller {
    fn grants(&self) -> &[(Owner, Scope)] {
        self.0.as_ref().map_or(&[], |holder| &holder.grants)
    }

    /// Returns whose things may be read.
    pub(crate) fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.grants().iter().map(|(owner, _)| owner)
    }

    /// Returns whose token it is, in words.
    #[must_use]
    pub(crate) fn owner(&self) -> Option<String> {
        let mut names: Vec<&str> = self.owners().map(Owner::as_str).collect();
        names.sort_unstable();
        names.dedup();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// Tells whether the token is good for every owner.
    #[must_use]
    pub(crate) fn is_admin(&self) -> bool {
        self.grants()
            .iter()
            .any(|(_, scope)| *scope == Scope::Admin)
    }

    /// Tells whether what is private to this owner may be read.
    #[must_use]
    pub(crate) fn may_read(&self, owner: &Owner) -> bool {
        self.is_admin() || self.owners().any(|one| one == owner)
    }

    /// Checks that what is private to this owner may be read, where strangers may know that it exists.
    ///
    /// # Errors
    /// Fails without a token, and with one of another owner.
    pub(crate) fn require_read(&self, owner: &Owner) -> Result<(), HubError> {
        let holder = self.owner().ok_or(HubError::Unauthenticated)?;
        if self.may_read(owner) {
            return Ok(());
        }
        Err(HubError::ForeignToken {
            holder,
            owner: owner.to_string(),
        })
    }

    /// Checks that things of this owner may be changed, and returns who changes them, for the audit log.
    ///
    /// # Errors
    /// Fails without a token, with one of another owner, and with one that may only read.
    pub(crate) fn require_push(&self, owner: &Owner) -> Result<String, HubError> {
        self.require_read(owner)?;
        let holder = self.0.as_ref().ok_or(HubError::Unauthenticated)?;
        let may_push = |(one, scope): &(Owner, Scope)| *scope >= Scope::Push && one == owner;
        if !self.is_admin() && !holder.grants.iter().any(may_push) {
            return Err(HubError::ReadOnlyToken);
        }
        Ok(holder.name.clone())
    }

    /// Returns an environment that may be read. To strangers a private one looks like none.
    ///
    /// # Errors
    /// Fails when it is not there or may not be read.
    pub(crate) async fn environment(
        &self,
        app: &App,
        name: &EnvironmentName,
    ) -> Result<EnvironmentRow, HubError> {
        let row = app.database.environment(name).await?;
        row.filter(|row| row.visibility == Visibility::Public || self.may_read(&name.into()))
            .ok_or_else(|| self.not_found(&format!("environment {name}")))
    }

    /// Returns the error for what is not there or may not be seen.
    #[must_use]
    pub(crate) fn not_found(&self, what: &str) -> HubError {
        let hint = match self.0 {
            Some(_) => "or it is private to an owner that your token is not of",
            None => "or it is private and needs a token of its owner",
        };
        HubError::NotFound {
            what: format!("this hub has no {what}, {hint}"),
        }
    }
}

/// Returns the token of a request: Bearer, or the password of Basic, which is what a netrc file gives.
fn token_of(headers: &HeaderMap) -> Result<Option<String>, HubError> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let text = header
        .to_str()
        .ok()
        .filter(|text| text.len() <= LONGEST_HEADER);
    let (scheme, value) = text
        .and_then(|text| text.split_once(' '))
        .ok_or(HubError::InvalidToken)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Some(value.trim().to_owned()));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = STANDARD.decode(value.trim()).ok();
        let pair = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let password = pair.as_deref().and_then(|pair| pair.split_once(':'));
        return match password {
            Some((_, password)) => Ok(Some(password.to_owned())),
            None => Err(HubError::InvalidToken),
        };
    }
    Err(HubError::InvalidToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, header.parse().unwrap());
        token_of(&headers).ok().flatten()
    }

    #[test]
    fn bearer_and_basic_passwords_are_tokens() {
        assert_eq!(token("Bearer nvl_x").as_deref(), Some("nvl_x"));
        assert_eq!(token("bearer nvl_x").as_deref(), Some("nvl_x"));
        let basic = format!("Basic {}", STANDARD.encode("any:nvl_a:b"));
        assert_eq!(token(&basic).as_deref(), Some("nvl_a:b"));
        for wrong in ["nvl_x", "Digest x", "Basic !", "Basic bm9jb2xvbg=="] {
            assert_eq!(token(wrong), None, "{wrong}");
        }
    }
}
