//! What a node's agent wrote into its log about a pod: which generation it prepared, and how long that took.

use std::collections::BTreeMap;

use env_spec::Pin;
use jiff::Timestamp;
use serde_json::Value;

use crate::k8s::cluster::{Cluster, ClusterError};
use crate::k8s::kinds::Kind;
use crate::k8s::object;

/// The agents' pods begin with this, as those of the DaemonSet do.
const AGENT: &str = "nival-agent";
const CONTAINER: &str = "agent";
/// A busy node's log of a day.
const MOST: i64 = 16 << 20;

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// When, as written.
    pub(crate) time: String,
    /// What happened, in the log's own words.
    pub(crate) message: String,
    /// Its particulars.
    pub(crate) fields: BTreeMap<String, String>,
}

/// Which agent is on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agent {
    namespace: String,
    pod: String,
}

impl Agent {
    /// Returns the agent of a node, if there is one.
    ///
    /// # Errors
    /// Fails when the user may not see Nival's own pods.
    pub(crate) async fn of(
        cluster: &Cluster,
        namespace: &str,
        node: &str,
    ) -> Result<Option<Self>, ClusterError> {
        let fields = format!("spec.nodeName={node}");
        let pods = cluster
            .list_where(Kind::Pod, Some(namespace), Some(&fields))
            .await?;
        let is_agent = |pod: &&Value| {
            object::owner(pod).is_some_and(|(kind, name)| (kind, name) == ("DaemonSet", AGENT))
        };
        Ok(pods.iter().find(is_agent).map(|pod| Self {
            namespace: namespace.to_owned(),
            pod: object::name(pod).to_owned(),
        }))
    }

    /// Returns what it wrote since a time.
    ///
    /// # Errors
    /// Fails when the log cannot be read.
    pub(crate) async fn lines(
        &self,
        cluster: &Cluster,
        since: Option<&str>,
    ) -> Result<Vec<Line>, ClusterError> {
        let since = since.and_then(|time| time.parse::<Timestamp>().ok());
        let text = cluster
            .log(&self.namespace, &self.pod, CONTAINER, since, MOST)
            .await?;
        Ok(text.lines().filter_map(parse).collect())
    }

    /// Returns the command that shows the same log.
    pub(crate) fn command(&self) -> String {
        format!(
            "kubectl -n {} logs {} -c {CONTAINER}",
            self.namespace, self.pod
        )
    }
}

impl Line {
    /// Tells whether it is about a pod.
    pub(crate) fn is_of_pod(&self, namespace: &str, pod: &str) -> bool {
        let is = |name: &str, value: &str| self.fields.get(name).is_some_and(|one| one == value);
        is("namespace", namespace) && is("pod", pod)
    }

    /// Returns the generation that was prepared for a container. The sandbox, which comes first, has no name.
    pub(crate) fn prepared(&self) -> Option<(&str, Pin)> {
        if self.message != "prepared" {
            return None;
        }
        let container = self.fields.get("container")?;
        Some((container, self.fields.get("pin")?.parse().ok()?))
    }
}

/// Reads a line of either form that the agent's log has. Lines of others are none.
fn parse(line: &str) -> Option<Line> {
    if line.starts_with('{') {
        return parse_json(line);
    }
    let mut words = line.splitn(2, char::is_whitespace);
    let time = words.next().filter(|word| word.starts_with("20"))?;
    let rest = words.next()?.trim_start();
    let (_level, rest) = rest.split_once(char::is_whitespace)?;
    // `crate::module: ` stands before the words.
    let (_target, rest) = rest.trim_start().split_once(": ")?;
    let (message, fields) = split_fields(rest);
    Some(Line {
        time: time.to_owned(),
        message,
        fields,
    })
}

fn parse_json(line: &str) -> Option<Line> {
    let value: Value = serde_json::from_str(line).ok()?;
    let fields = value.get("fields")?.as_object()?;
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Some(Line {
        time: value.get("timestamp")?.as_str()?.to_owned(),
        message: fields.get("message")?.as_str()?.to_owned(),
        fields: fields
            .iter()
            .filter(|(name, _)| *name != "message")
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
    })
}

/// Splits `words name=value name="a value"`: the words end before the first name.
fn split_fields(text: &str) -> (String, BTreeMap<String, String>) {
    let mut fields = BTreeMap::new();
    let mut message = String::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find(' ').unwrap_or(rest.len());
        let name = rest[..end].split_once('=').map(|(name, _)| name);
        let is_name = |name: &&str| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        let Some(name) = name.filter(is_name) else {
            message.push_str(&rest[..end]);
            message.push(' ');
            rest = rest[end..].trim_start();
            continue;
        };
        let value = &rest[name.len() + 1..];
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let end = value.find(' ').unwrap_or(value.len());
                (value[..end].to_owned(), &value[end..])
            }
        };
        fields.insert(name.to_owned(), value);
        rest = after.trim_start();
    }
    (message.trim_end().to_owned(), fields)
}

/// Returns what stands before the closing quote, and what follows it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, one)) = characters.next() {
        match one {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            one => value.push(one),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_log_are_read() {
        let pin = format!("acme/api:12@sha256:{}", "0".repeat(64));
        let text = format!(
            "2026-11-25T10:00:00.123Z  INFO agent::agent: prepared pin={pin} namespace=\"shop\" pod=\"web-1\" container=\"web\" elapsed=1.5ms"
        );
        let json = format!(
            "{{\"timestamp\":\"2026-11-25T10:00:00.123Z\",\"level\":\"INFO\",\"fields\":{{\"message\":\"prepared\",\"pin\":\"{pin}\",\"namespace\":\"shop\",\"pod\":\"web-1\",\"container\":\"web\",\"elapsed\":\"1.5ms\"}},\"target\":\"agent::agent\"}}"
        );
        let lines = [parse(&text).unwrap(), parse(&json).unwrap()];
        assert_eq!(lines[0], lines[1]);
        assert!(lines[0].is_of_pod("shop", "web-1"));
        assert!(!lines[0].is_of_pod("shop", "web-2"));
        let (container, prepared) = lines[0].prepared().unwrap();
        assert_eq!((container, prepared.to_string()), ("web", pin));
        assert_eq!(lines[0].fields["elapsed"], "1.5ms");
    }

    #[test]
    fn words_with_quotes_and_strange_lines_do_no_harm() {
        let line = parse(
            "2026-11-25T10:00:00Z WARN agent: not fetched generation=\"a\" error=\"it said \\\"no\\\"\"",
        );
        let line = line.unwrap();
        assert_eq!(line.message, "not fetched");
        assert_eq!(line.fields["error"], "it said \"no\"");
        for text in [
            "",
            "{",
            "{}",
            "2026",
            "2026 x",
            "thread panicked",
            "2026-1 INFO a: b=\"",
            "é é é: é=é",
        ] {
            parse(text);
        }
    }
}
