//! Tokens that others issue (OpenID Connect), such as those of a Kubernetes cluster's service accounts.
//!
//! What a token is signed with is checked by ring, as all of TLS is. The libraries for such tokens bring a second set of
//! cryptography, and most of what they do is what this hub must refuse.

mod config;
mod keys;
mod source;
mod token;

use std::sync::Arc;

use workload::Pattern;

pub(crate) use config::{OidcSettings, OidcTable};
pub(crate) use source::SourceError;

use crate::db::Scope;
use crate::oidc::source::KeySource;
use crate::oidc::token::Token;
use crate::owner::Owner;
use crate::time;

/// Clocks may differ by so many seconds.
const LEEWAY: i64 = 30;

/// The longest subject that is taken: it stands in the audit log.
const LONGEST_SUBJECT: usize = 512;

/// All issuers whose tokens count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Oidc(Arc<[Issuer]>);

/// One issuer, for one audience.
#[derive(Debug)]
struct Issuer {
    issuer: String,
    audience: String,
    rules: Vec<Rule>,
    keys: KeySource,
}

/// What subjects may.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// Whom it is for.
    pub(crate) subject: Pattern,
    /// Whose things it opens.
    pub(crate) owner: Owner,
    /// What may be done with them.
    pub(crate) scope: Scope,
}

/// Whom a valid token names.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// Subject and issuer, for the audit log.
    pub(crate) name: String,
    /// What it may, by owner: at least one thing.
    pub(crate) grants: Vec<(Owner, Scope)>,
}

/// Why a token does not count.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// It cannot be read.
    #[error("the token is not valid: {0}")]
    Malformed(&'static str),
    /// Signed in a way that is not checked.
    #[error(
        "the token is not valid: it is signed with {algorithm:?}; this hub takes RS256 and ES256"
    )]
    Algorithm {
        /// What its header says, shortened.
        algorithm: String,
    },
    /// Nobody trusts its issuer.
    #[error("the token is not valid: this hub takes none of its issuer {issuer:?}")]
    Issuer {
        /// Who issued it, shortened.
        issuer: String,
    },
    /// It is meant for somebody else.
    #[error("the token is not valid: it is not for the audience {audience:?}")]
    Audience {
        /// What it should be for.
        audience: String,
    },
    /// Past its time.
    #[error("the token expired at {at}; ask its issuer for a new one")]
    Expired {
        /// When (RFC 3339).
        at: String,
    },
    /// Before its time.
    #[error("the token is not valid before {at}; look at the clocks of its issuer and of this hub")]
    NotYet {
        /// When it begins (RFC 3339).
        at: String,
    },
    /// The issuer has no such key.
    #[error("the token is not valid: its issuer has no key {id:?}")]
    UnknownKey {
        /// The key's identifier, shortened.
        id: String,
    },
    /// Not signed by the key that it names.
    #[error("the token is not valid: its signature is wrong")]
    Signature,
    /// No rule speaks of its subject.
    #[error(
        "the token of {subject} is valid, but no rule of this hub lets it do anything: add [[oidc.allow]] to the hub's configuration"
    )]
    NotAllowed {
        /// Whom it names.
        subject: String,
    },
    /// The issuer's keys cannot be had.
    #[error("the keys of {issuer} cannot be had")]
    NoKeys {
        /// The issuer.
        issuer: String,
        /// Why.
        #[source]
        source: Arc<SourceError>,
    },
}

impl Oidc {
    /// Prepares for all issuers; keys are fetched when the first token comes.
    ///
    /// # Errors
    /// Fails when a file with certificates cannot be read.
    pub(crate) fn open(settings: Vec<OidcSettings>) -> Result<Self, SourceError> {
        let issuer = |one: OidcSettings| {
            Ok(Issuer {
                keys: KeySource::open(one.keys)?,
                issuer: one.issuer,
                audience: one.audience,
                rules: one.rules,
            })
        };
        let issuers: Result<Vec<_>, SourceError> = settings.into_iter().map(issuer).collect();
        Ok(Self(issuers?.into()))
    }

    /// Tells whether a token is for one of the issuers to vouch for. The hub's own have no dots.
    #[must_use]
    pub(crate) fn is_for(&self, token: &str) -> bool {
        !self.0.is_empty() && token.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// Returns whom a token names.
    ///
    /// # Errors
    /// Fails when it is not valid in any way, or may nothing here.
    pub(crate) async fn identify(&self, token: &str) -> Result<Identity, IdentityError> {
        let token = Token::read(token)?;
        let claims = &token.claims;
        let mut known = self.0.iter().filter(|one| one.issuer == claims.issuer);
        let Some(first) = known.clone().next() else {
            return Err(IdentityError::Issuer {
                issuer: shown(&claims.issuer),
            });
        };
        // One issuer may be configured for several audiences.
        let issuer = known
            .find(|one| claims.audience.has(&one.audience))
            .ok_or_else(|| IdentityError::Audience {
                audience: first.audience.clone(),
            })?;
        let now = time::now().div_euclid(1000);
        if claims.expires.saturating_add(LEEWAY) <= now {
            let at = time::text(claims.expires.saturating_mul(1000));
            return Err(IdentityError::Expired { at });
        }
        if let Some(begin) = claims.not_before
            && begin.saturating_sub(LEEWAY) > now
        {
            let at = time::text(begin.saturating_mul(1000));
            return Err(IdentityError::NotYet { at });
        }
        issuer.check_signature(&token).await?;
        let subject = &claims.subject;
        if subject.is_empty()
            || subject.len() > LONGEST_SUBJECT
            || subject.contains(char::is_control)
        {
            return Err(IdentityError::Malformed("its subject cannot be shown"));
        }
        let fitting = issuer
            .rules
            .iter()
            .filter(|rule| rule.subject.fits(subject));
        let grants: Vec<_> = fitting
            .map(|rule| (rule.owner.clone(), rule.scope))
            .collect();
        if grants.is_empty() {
            let subject = subject.clone();
            return Err(IdentityError::NotAllowed { subject });
        }
        let name = format!("{subject} ({})", issuer.issuer);
        Ok(Identity { name, grants })
    }
}

impl Issuer {
    async fn check_signature(&self, token: &Token<'_>) -> Result<(), IdentityError> {
        let key = self.keys.key(&token.key_id).await;
        let key = key.map_err(|source| IdentityError::NoKeys {
            issuer: self.issuer.clone(),
            source,
        })?;
        let key = key.ok_or_else(|| IdentityError::UnknownKey {
            id: shown(&token.key_id),
        })?;
        match key.verifies(token.algorithm, token.signed.as_bytes(), &token.signature) {
            true => Ok(()),
            false => Err(IdentityError::Signature),
        }
    }
}

/// Hostile text is shown shortened; Debug formatting escapes its control characters.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}
