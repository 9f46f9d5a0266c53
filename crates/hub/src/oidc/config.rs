//! Issuers as they are configured: `[[oidc]]` with its `[[oidc.allow]]`.

use std::path::PathBuf;

use serde::Deserialize;
use url::{Host, Url};
use workload::Pattern;

use super::Rule;
use super::source::Place;
use crate::db::Scope;

/// An issuer as written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct OidcTable {
    /// What tokens say of who issued them.
    issuer: String,
    /// What they must say of whom they are for.
    audience: String,
    /// The address of the issuer's keys.
    jwks_url: Option<String>,
    /// Or a file with them.
    jwks_file: Option<PathBuf>,
    /// Certificates of the authorities to believe at that address.
    ca_file: Option<PathBuf>,
    /// A token to ask with.
    token_file: Option<PathBuf>,
    /// What subjects may.
    #[serde(default)]
    allow: Vec<AllowTable>,
}

/// What subjects may, as written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct AllowTable {
    subject: String,
    owner: String,
    scope: String,
}

/// An issuer as decided.
#[derive(Debug, Clone)]
pub(crate) struct OidcSettings {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) keys: Place,
    pub(super) rules: Vec<Rule>,
}

impl OidcTable {
    /// Decides, or says what is wrong.
    pub(crate) fn decide(self) -> Result<OidcSettings, String> {
        let wrong = |what: &str| format!("[[oidc]] of issuer {:?}: {what}", self.issuer);
        if self.issuer.is_empty() || self.audience.is_empty() {
            return Err(wrong("issuer and audience must not be empty"));
        }
        let keys = match (&self.jwks_url, &self.jwks_file) {
            (Some(text), None) => Place::Url {
                url: address(text).map_err(|error| wrong(&error))?,
                ca_file: self.ca_file.clone(),
                token_file: self.token_file.clone(),
            },
            (None, Some(_)) if self.ca_file.is_some() || self.token_file.is_some() => {
                return Err(wrong("ca-file and token-file are for jwks-url"));
            }
            (None, Some(file)) => Place::File(file.clone()),
            _ => return Err(wrong("either jwks-url or jwks-file is needed")),
        };
        if self.allow.is_empty() {
            return Err(wrong(
                "it has no [[oidc.allow]], so that its tokens are good for nothing",
            ));
        }
        let rule = |one: &AllowTable| match one.scope.parse() {
            _ if one.subject.is_empty() => Err("a subject is empty".to_owned()),
            Ok(Scope::Admin) => {
                Err("scope is read or push: admin is for the hub's own tokens".to_owned())
            }
            Err(error) => Err(error),
            Ok(scope) => Ok(Rule {
                subject: Pattern::new(&one.subject),
                owner: one
                    .owner
                    .parse()
                    .map_err(|error: crate::error::HubError| error.to_string())?,
                scope,
            }),
        };
        let rules: Result<Vec<_>, String> = self.allow.iter().map(rule).collect();
        let rules = rules.map_err(|error| wrong(&error))?;
        Ok(OidcSettings {
            issuer: self.issuer,
            audience: self.audience,
            keys,
            rules,
        })
    }
}

/// Reads an address that nobody on the way can answer in the place of.
fn address(text: &str) -> Result<Url, String> {
    let no = |why: &str| format!("jwks-url {text:?} {why}");
    let url = Url::parse(text).map_err(|error| no(&format!("is not an address: {error}")))?;
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(no("names no host")),
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_here => Ok(url),
        _ => Err(no(
            "must begin with https://: who is on the way could put in keys of their own",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        issuer = "https://issuer"
        audience = "nival-hub"
        jwks-url = "https://issuer/keys"
        [[allow]]
        subject = "system:serviceaccount:a:*"
        owner = "acme"
        scope = "read"
    "#;

    fn decide(text: &str) -> Result<OidcSettings, String> {
        let table: OidcTable = toml::from_str(text).map_err(|error| error.to_string())?;
        table.decide()
    }

    #[test]
    fn mistakes_are_named() {
        decide(GOOD).unwrap();
        decide(&GOOD.replace("https://issuer/keys", "http://127.0.0.1:1/keys")).unwrap();
        for (from, to, part) in [
            (
                "audience = \"nival-hub\"",
                "audience = \"\"",
                "must not be empty",
            ),
            (
                "https://issuer/keys",
                "http://issuer/keys",
                "must begin with https",
            ),
            (
                "https://issuer/keys",
                "http://127.0.0.1.evil/keys",
                "must begin with https",
            ),
            ("https://issuer/keys", "keys", "is not an address"),
            ("jwks-url", "jwks-urll", "jwks-urll"),
            (
                "jwks-url = \"https://issuer/keys\"",
                "",
                "either jwks-url or jwks-file",
            ),
            (
                "jwks-url",
                "jwks-file = \"x\"\njwks-url",
                "either jwks-url or jwks-file",
            ),
            ("jwks-url", "ca-file = \"x\"\njwks-file", "are for jwks-url"),
            ("\"acme\"", "\"../x\"", "not the name of an owner"),
            ("\"read\"", "\"admin\"", "read or push"),
            ("\"read\"", "\"all\"", "not a scope"),
            ("system:serviceaccount:a:*", "", "subject is empty"),
        ] {
            let error = decide(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.contains(part), "{part}: {error}");
        }
        let none = GOOD.split("[[allow]]").next().unwrap();
        assert!(decide(none).unwrap_err().contains("no [[oidc.allow]]"));
    }
}
