//! `rollout history`: the revisions that the cluster remembers, with the generations that they ran.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use workload::pin::Slot;

use crate::context::Context;
use crate::error::{CommandError, Outcome};
use crate::k8s::change::get;
use crate::k8s::cluster::Cluster;
use crate::k8s::flags::OutputFlag;
use crate::k8s::history::revisions;
use crate::k8s::kinds::{Kind, ObjectName};
use crate::k8s::object;
use crate::k8s::show::{self, Listed, age};

/// Shows history.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The workload, such as deployment/web
    workload: ObjectName,
    /// How it is printed.
    #[command(flatten)]
    output: OutputFlag,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    revision: i64,
    current: bool,
    container: Option<String>,
    environment: Option<String>,
    number: Option<u64>,
    generation: Option<String>,
    created: Option<String>,
    change_cause: Option<String>,
    #[serde(skip)]
    age: String,
    #[serde(skip)]
    namespace: String,
    #[serde(skip)]
    workload: String,
}

impl Listed for Row {
    const COLUMNS: (&'static [&'static str], &'static [&'static str]) = (
        &[
            "REVISION",
            "CURRENT",
            "ENVIRONMENT",
            "GENERATION",
            "AGE",
            "CHANGE-CAUSE",
        ],
        &["PIN"],
    );

    fn cells(&self) -> (Vec<String>, Vec<String>) {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "<none>".to_owned());
        let environment = match (&self.environment, &self.container) {
            (Some(environment), Some(container)) => Some(format!("{environment}[{container}]")),
            (environment, _) => environment.clone(),
        };
        let narrow = vec![
            self.revision.to_string(),
            if self.current { "*" } else { "" }.to_owned(),
            or_none(environment),
            or_none(self.number.map(|number| number.to_string())),
            self.age.clone(),
            or_none(self.change_cause.clone()),
        ];
        (narrow, vec![or_none(self.generation.clone())])
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> String {
        self.workload.clone()
    }
}

/// Runs the command.
///
/// # Errors
/// Fails when there is no such workload, or its kind keeps no history.
pub(super) async fn run(context: &Context, cluster: &Cluster, args: &HistoryArgs) -> Outcome {
    let name = &args.workload;
    if !matches!(
        name.kind,
        Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet
    ) {
        return Err(
            CommandError::user(format!("{name} has no history: its kind keeps none"))
                .hint("Deployments, StatefulSets and DaemonSets keep one"),
        );
    }
    let object = get(cluster, name).await?;
    let revisions = revisions(cluster, name, &object).await?;
    let now = Timestamp::now();
    let last = revisions.last().map(|one| one.number);
    let mut rows = Vec::new();
    for revision in revisions {
        let row = || Row {
            revision: revision.number,
            current: Some(revision.number) == last,
            container: None,
            environment: None,
            number: None,
            generation: None,
            created: revision.created.clone(),
            change_cause: revision.cause.clone(),
            age: age(revision.created.as_deref(), now),
            namespace: object::namespace(&object).to_owned(),
            workload: name.to_string(),
        };
        if revision.uses.is_empty() {
            rows.push(row());
        }
        rows.extend(revision.uses.iter().map(|one| Row {
            container: match &one.slot {
                Slot::Pod => None,
                Slot::Container(name) => Some(name.clone()),
            },
            environment: Some(one.environment.to_string()),
            number: one.pin.as_ref().map(|pin| pin.number),
            generation: one.pin.as_ref().map(ToString::to_string),
            ..row()
        }));
    }
    show::list(context.printer, args.output.output, false, &rows)
}
