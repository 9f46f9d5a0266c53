//! `nival-operator uninstall`: takes Nival off all nodes.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use api::kubernetes::{NivalNode, NodeState};
use clap::Args;
use host::error::one_line;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::args::Global;
use crate::error::Failure;
use crate::node::PODS_LEFT;

/// How often the nodes are asked how far they are.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A server that does not answer in this time is asked again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Options of `uninstall`.
#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    /// How long the nodes may take: 300s, 10m
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_time)]
    wait: Duration,
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let time: Option<jiff::SignedDuration> = text.parse().ok();
    time.and_then(|time| Duration::try_from(time).ok())
        .ok_or_else(|| format!("{text:?} is not a time: write 300s or 10m"))
}

/// Runs to its end: fails where Nival is still on a node.
pub(crate) async fn run(global: &Global, wish: &Uninstall) -> Result<(), Failure> {
    host::telemetry::init(None, global.log_json);
    let nodes: Api<NivalNode> = Api::all(Client::try_default().await?);
    let end = Instant::now() + wish.wait;
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let left = match timeout(PATIENCE, ask(&nodes, &mut said)).await {
            Ok(Ok(left)) => left,
            Ok(Err(error)) => vec![one_line(&error)],
            Err(_late) => vec!["the API server did not answer in time".to_owned()],
        };
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            let left = left.join("; ");
            return Err(format!(
                "Nival is not off all nodes after {} s: {left}; see the logs of the container `node` there, and try again",
                wish.wait.as_secs()
            )
            .into());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Asks every node that was not asked, tells what has changed, and returns what is left.
async fn ask(
    nodes: &Api<NivalNode>,
    said: &mut BTreeMap<String, String>,
) -> Result<Vec<String>, kube::Error> {
    let mut left = Vec::new();
    let mut done = Vec::new();
    for node in nodes.list(&ListParams::default()).await? {
        let name = node.name_any();
        let status = node.status.unwrap_or_default();
        if !node.spec.remove {
            let patch = json!({"spec": {"remove": true}});
            nodes
                .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
                .await?;
            say(said, &name, "asked");
            left.push(format!("{name} (asked)"));
        } else if status.state == NodeState::Removed && status.reason == PODS_LEFT {
            say(said, &name, &format!("removed, but {}", status.message));
        } else if status.state == NodeState::Removed {
            say(said, &name, "removed");
            done.push(name);
        } else {
            let standing = match status.reason.as_str() {
                "Removing" => "removing".to_owned(),
                "RemoveFailed" => format!("failed: {}", status.message),
                _ => "its neighbour has not answered".to_owned(),
            };
            say(said, &name, &standing);
            left.push(format!("{name} ({standing})"));
        }
    }
    if left.is_empty() {
        // What is left of them would be taken for a wish by an installation that comes later.
        for name in done {
            match nodes.delete(&name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                other => drop(other?),
            }
        }
    }
    Ok(left)
}

/// Tells once how a node stands.
fn say(said: &mut BTreeMap<String, String>, node: &str, standing: &str) {
    if said.get(node).map(String::as_str) != Some(standing) {
        // Nothing is lost where nobody listens: what is left is said at the end.
        writeln!(std::io::stdout(), "{node}: {standing}").ok();
        said.insert(node.to_owned(), standing.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_their_unit() {
        assert_eq!(parse_time("300s"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_time("10m"), Ok(Duration::from_secs(600)));
        for text in ["", "soon", "-5s"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
