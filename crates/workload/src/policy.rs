//! Which namespaces may use which environments, and with which credential.

use env_spec::EnvironmentName;
use serde::Deserialize;

use crate::pattern::Pattern;

/// What holds for public environments that no rule names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefaultPolicy {
    /// Every namespace may use them.
    #[default]
    AllowPublic,
    /// No namespace may use them.
    Deny,
}

/// The rules of a node.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What holds where no rule speaks.
    pub default: DefaultPolicy,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// Lets namespaces use environments.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Whom it lets.
    pub namespaces: Vec<Pattern>,
    /// What it lets them use.
    pub environments: Vec<Pattern>,
    /// The token to ask with.
    pub credential: Option<String>,
}

/// What the rules say of one namespace and one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A rule allows it, with this credential.
    Allowed {
        /// Its name in the configuration.
        credential: Option<String>,
    },
    /// No rule speaks of it: it is allowed if everybody may see it.
    IfPublic,
    /// It is not allowed.
    Denied,
}

impl Policy {
    /// Decides for a namespace.
    #[must_use]
    pub fn verdict(&self, namespace: &str, environment: &EnvironmentName) -> Verdict {
        let fitting = self
            .rules
            .iter()
            .filter(|rule| rule.names(environment) && rule.lets(namespace));
        self.best(fitting)
    }

    /// Decides for the node itself, which only fetches and shows nothing to anybody: every rule for the environment
    /// lends its credential.
    #[must_use]
    pub fn verdict_for_node(&self, environment: &EnvironmentName) -> Verdict {
        match self.best(self.rules.iter().filter(|rule| rule.names(environment))) {
            Verdict::Allowed { credential } => Verdict::Allowed { credential },
            Verdict::IfPublic | Verdict::Denied => Verdict::Allowed { credential: None },
        }
    }

    fn best<'a>(&self, fitting: impl Iterator<Item = &'a Rule>) -> Verdict {
        let mut found = None;
        for rule in fitting {
            if rule.credential.is_some() {
                return Verdict::Allowed {
                    credential: rule.credential.clone(),
                };
            }
            found = Some(Verdict::Allowed { credential: None });
        }
        found.unwrap_or(match self.default {
            DefaultPolicy::AllowPublic => Verdict::IfPublic,
            DefaultPolicy::Deny => Verdict::Denied,
        })
    }
}

impl Rule {
    fn names(&self, environment: &EnvironmentName) -> bool {
        let name = environment.to_string();
        self.environments.iter().any(|pattern| pattern.fits(&name))
    }

    fn lets(&self, namespace: &str) -> bool {
        self.namespaces
            .iter()
            .any(|pattern| pattern.fits(namespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(namespaces: &str, environments: &str, credential: Option<&str>) -> Rule {
        Rule {
            namespaces: vec![Pattern::new(namespaces)],
            environments: vec![Pattern::new(environments)],
            credential: credential.map(str::to_owned),
        }
    }

    #[test]
    fn the_rule_with_a_credential_wins_and_other_namespaces_get_none_of_it() {
        let rules = vec![
            rule("*", "acme/web", None),
            rule("team-*", "acme/*", Some("acme")),
        ];
        let policy = Policy {
            default: DefaultPolicy::AllowPublic,
            rules,
        };
        let (api, web) = ("acme/api".parse().unwrap(), "acme/web".parse().unwrap());
        let with = |name: &str| Verdict::Allowed {
            credential: Some(name.to_owned()),
        };
        assert_eq!(policy.verdict("team-a", &api), with("acme"));
        assert_eq!(policy.verdict("team-a", &web), with("acme"));
        assert_eq!(
            policy.verdict("strangers", &web),
            Verdict::Allowed { credential: None }
        );
        assert_eq!(policy.verdict("strangers", &api), Verdict::IfPublic);
        assert_eq!(policy.verdict_for_node(&api), with("acme"));
        let strict = Policy {
            default: DefaultPolicy::Deny,
            ..policy
        };
        assert_eq!(strict.verdict("strangers", &api), Verdict::Denied);
    }
}
