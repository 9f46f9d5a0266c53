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
use crate::db::{EnvironmentRow, Scope, TokenRow};
use crate::error::HubError;
use crate::owner::Owner;
use crate::time;

/// Longer headers hold no token of ours.
const LONGEST_HEADER: usize = 1024;

/// Who asks: nobody in particular, or the holder of a valid token.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Option<TokenRow>);

impl FromRequestParts<App> for Caller {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, HubError> {
        let Some(token) = token_of(&parts.headers)? else {
            return Ok(Self(None));
        };
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
            _ => Ok(Self(Some(row))),
        }
    }
}

impl Caller {
    /// Returns whose token it is.
    #[must_use]
    pub(crate) fn owner(&self) -> Option<&Owner> {
        self.0.as_ref().map(|token| &token.owner)
    }

    /// Tells whether the token is good for every owner.
    #[must_use]
    pub(crate) fn is_admin(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|token| token.scope == Scope::Admin)
    }

    /// Tells whether what is private to this owner may be read.
    #[must_use]
    pub(crate) fn may_read(&self, owner: &Owner) -> bool {
        self.is_admin() || self.owner() == Some(owner)
    }

    /// Checks that what is private to this owner may be read, where strangers may know that it exists.
    ///
    /// # Errors
    /// Fails without a token, and with one of another owner.
    pub(crate) fn require_read(&self, owner: &Owner) -> Result<(), HubError> {
        let token = self.0.as_ref().ok_or(HubError::Unauthenticated)?;
        if self.may_read(owner) {
            return Ok(());
        }
        Err(HubError::ForeignToken {
            holder: token.owner.to_string(),
            owner: owner.to_string(),
        })
    }

    /// Checks that things of this owner may be changed, and returns who changes them, for the audit log.
    ///
    /// # Errors
    /// Fails without a token, with one of another owner, and with one that may only read.
    pub(crate) fn require_push(&self, owner: &Owner) -> Result<String, HubError> {
        self.require_read(owner)?;
        let token = self.0.as_ref().ok_or(HubError::Unauthenticated)?;
        if token.scope < Scope::Push {
            return Err(HubError::ReadOnlyToken);
        }
        Ok(format!("{} (token {})", token.owner, token.id))
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
