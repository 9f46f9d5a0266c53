//! The configuration of a node, as written: the agent decides with it, and the operator of the cluster reads the same file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use env_spec::{EnvironmentName, Pin, TrustedKeys};
use nix_data::PublicKey;
use serde::Deserialize;
use workload::Pattern;
use workload::policy::{DefaultPolicy, Policy, Rule};

/// Where the configuration is unless told otherwise.
pub const DEFAULT_FILE: &str = "/etc/nival/agent.toml";
/// Configurations are written by hand; larger ones are a mistake.
pub const LARGEST_FILE: u64 = 4 << 20;
/// Files of tokens are read up to this size, and no token is longer.
pub const LARGEST_TOKEN: u64 = 16 << 10;
/// What a token is, for messages.
pub const TOKEN_RULE: &str = "expected one line of ASCII text without spaces, at most 16 KiB";
/// The key of a Secret whose value is the token.
pub const TOKEN_KEY: &str = "token";

/// The file as written: everything may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// Where the agent keeps everything.
    pub state: Option<PathBuf>,
    /// Where it listens.
    pub socket: Option<PathBuf>,
    /// The hub's address.
    pub hub: Option<String>,
    /// Where metrics and health are served.
    pub metrics: Option<SocketAddr>,
    /// How many generations per environment stay after their last container.
    pub keep_generations: Option<usize>,
    /// Generations that always stay.
    #[serde(default)]
    pub keep: Vec<Pin>,
    /// When what nobody needs is removed.
    #[serde(default)]
    pub collect: CollectTable,
    /// Binary caches beside the hub's.
    #[serde(default)]
    pub substituters: Vec<SubstituterTable>,
    /// The keys that may sign for an owner.
    #[serde(default)]
    pub trust: BTreeMap<String, Vec<String>>,
    /// What holds where no rule speaks.
    #[serde(default)]
    pub policy: PolicyTable,
    /// Which namespaces may use which environments.
    #[serde(default)]
    pub allow: Vec<AllowTable>,
    /// The tokens that rules and caches name.
    #[serde(default)]
    pub credentials: BTreeMap<String, CredentialTable>,
    /// How lists of revoked generations are kept up to date.
    #[serde(default)]
    pub revocations: RevocationsTable,
}

/// When what nobody needs is removed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectTable {
    /// How full the disk is when it begins, in percent.
    pub high: Option<u8>,
    /// How full it is when it ends.
    pub low: Option<u8>,
    /// How often the agent looks.
    pub every_seconds: Option<u64>,
}

/// A binary cache beside the hub's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubstituterTable {
    /// Its address.
    pub url: String,
    /// Whether it is asked before the hub's.
    #[serde(default)]
    pub before_hub: bool,
    /// Whose token is sent.
    pub credential: Option<String>,
}

/// What holds where no rule speaks.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTable {
    /// For public environments.
    pub default: Option<DefaultPolicy>,
}

/// Lets namespaces use environments.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowTable {
    /// Patterns of namespaces.
    pub namespaces: Vec<String>,
    /// Patterns of environments.
    pub environments: Vec<String>,
    /// The token to ask with.
    pub credential: Option<String>,
}

/// Where a token is: exactly one of these is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialTable {
    /// A file on the machine.
    pub token_file: Option<PathBuf>,
    /// `namespace/name` of a Secret of the cluster, whose key `token` is the token.
    pub secret: Option<String>,
}

/// How lists of revoked generations are kept up to date.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationsTable {
    /// How often the hub is asked.
    pub every_seconds: Option<u64>,
    /// How old a list may be before nothing of its owner starts; without it any age counts.
    pub max_age_seconds: Option<u64>,
}

/// Where a token comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// A file on the machine, read when the token is needed.
    File(PathBuf),
    /// A Secret of the cluster: the agent's neighbour hands the token over.
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// Returns the token that these bytes are, without the white space around it; `None` where they are none.
#[must_use]
pub fn token(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let is_token = (1..=LARGEST_TOKEN).contains(&(text.len() as u64))
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_token.then_some(text)
}

/// Tells whether a hub that a reference names is the configured one.
#[must_use]
pub fn is_own_hub(configured: &str, hub: &str) -> bool {
    let own = configured.split_once("://");
    let own = own.map_or(configured, |(_scheme, rest)| rest);
    // References are written small.
    own.trim_end_matches('/').eq_ignore_ascii_case(hub)
}

impl ConfigFile {
    /// Returns where the tokens are, by the credential's name.
    ///
    /// # Errors
    /// Fails for a table that names no place, or two, and for rules and caches that name a table which is not there.
    pub fn credentials(&self) -> Result<BTreeMap<String, CredentialSource>, String> {
        let mut credentials = BTreeMap::new();
        for (name, table) in &self.credentials {
            credentials.insert(name.clone(), table.source(name)?);
        }
        let rules = self.allow.iter().map(|table| &table.credential);
        let caches = self.substituters.iter().map(|table| &table.credential);
        for name in rules.chain(caches).flatten() {
            if !credentials.contains_key(name) {
                return Err(format!(
                    "there is no [credentials.{name}], which a rule or substituter names"
                ));
            }
        }
        Ok(credentials)
    }

    /// Returns which namespaces may use which environments.
    ///
    /// # Errors
    /// Fails for a rule that speaks of nothing.
    pub fn policy(&self) -> Result<Policy, String> {
        let mut rules = Vec::new();
        for table in &self.allow {
            rules.push(Rule {
                namespaces: patterns(&table.namespaces, "namespaces")?,
                environments: patterns(&table.environments, "environments")?,
                credential: table.credential.clone(),
            });
        }
        Ok(Policy {
            default: self.policy.default.unwrap_or_default(),
            rules,
        })
    }

    /// Returns the keys that may sign for each owner.
    ///
    /// # Errors
    /// Fails for what is no owner or no key.
    pub fn trusted(&self) -> Result<TrustedKeys, String> {
        let mut trusted = TrustedKeys::default();
        for (owner, keys) in &self.trust {
            EnvironmentName::new(owner, "any")
                .map_err(|_| format!("{owner:?} in [trust] is not an owner"))?;
            for text in keys {
                let key: PublicKey = text
                    .parse()
                    .map_err(|error| format!("a key of {owner} in [trust]: {error}"))?;
                trusted.add(owner, key);
            }
        }
        Ok(trusted)
    }
}

impl CredentialTable {
    fn source(&self, name: &str) -> Result<CredentialSource, String> {
        match (&self.token_file, &self.secret) {
            (Some(file), None) => Ok(CredentialSource::File(file.clone())),
            (None, Some(secret)) => {
                let parts = secret.split_once('/');
                let parts = parts.filter(|(namespace, name)| {
                    !namespace.is_empty() && !name.is_empty() && !name.contains('/')
                });
                let (namespace, name) = parts.ok_or_else(|| {
                    format!("[credentials.{name}]: secret is {secret:?}: expected namespace/name")
                })?;
                Ok(CredentialSource::Secret {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                })
            }
            _ => Err(format!(
                "[credentials.{name}] needs either token_file or secret"
            )),
        }
    }
}

fn patterns(texts: &[String], what: &str) -> Result<Vec<Pattern>, String> {
    if texts.is_empty() {
        return Err(format!("an [[allow]] rule has no {what}"));
    }
    Ok(texts.iter().map(|text| Pattern::new(text)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_hub_is_meant_whatever_its_scheme() {
        for configured in [
            "https://hub.example.com",
            "http://hub.example.com/",
            "hub.example.com",
            "https://Hub.example.com",
        ] {
            assert!(is_own_hub(configured, "hub.example.com"), "{configured}");
        }
        for configured in ["https://hub.example.com:8443", "https://evil.example.com"] {
            assert!(!is_own_hub(configured, "hub.example.com"), "{configured}");
        }
    }

    #[test]
    fn a_token_is_one_line_of_text_without_spaces() {
        assert_eq!(token(b" nvl_abc.D-1\n"), Some("nvl_abc.D-1"));
        let longest = [b'a'; LARGEST_TOKEN as usize];
        assert!(token(&longest).is_some());
        let too_long = [b'a'; LARGEST_TOKEN as usize + 1];
        let no_text: &[u8] = b"\xff";
        for bytes in [
            b"",
            b" \n".as_slice(),
            b"two words",
            b"two\nlines",
            b"a\0b",
            "ü".as_bytes(),
            no_text,
            &too_long,
        ] {
            assert_eq!(token(bytes), None, "{bytes:?}");
        }
    }
}
