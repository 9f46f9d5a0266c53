//! Flags that all verbs share, in `kubectl`'s own words.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::error::{CommandError, ErrorKind, Outcome};
use crate::k8s::kinds::is_name;

const HEADING: &str = "Cluster options";

/// Which cluster, as whom, and which namespace.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ClusterFlags {
    /// The namespace (default: the context's)
    #[arg(
        long,
        short = 'n',
        global = true,
        value_name = "NAME",
        help_heading = HEADING
    )]
    pub(crate) namespace: Option<String>,
    /// The file that says how to reach clusters (default: `KUBECONFIG`, or ~/.kube/config)
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of that file
    #[arg(long, global = true, value_name = "NAME", help_heading = HEADING)]
    pub(crate) context: Option<String>,
    /// The cluster of that file
    #[arg(long, global = true, value_name = "NAME", help_heading = HEADING)]
    pub(crate) cluster: Option<String>,
    /// The user of that file
    #[arg(long, global = true, value_name = "NAME", help_heading = HEADING)]
    pub(crate) user: Option<String>,
    /// The user to act as
    #[arg(long = "as", global = true, value_name = "NAME", help_heading = HEADING)]
    pub(crate) impersonate: Option<String>,
    /// The groups to act as
    #[arg(
        long = "as-group",
        global = true,
        value_name = "NAME",
        help_heading = HEADING
    )]
    pub(crate) impersonate_groups: Vec<String>,
    /// The namespace that Nival is installed in
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = "nival-system",
        help_heading = HEADING
    )]
    pub(crate) nival_namespace: String,
}

/// Whether all namespaces are meant.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct AllNamespaces {
    /// Look into all namespaces
    #[arg(long, short = 'A')]
    pub(crate) all_namespaces: bool,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct OutputFlag {
    /// The form of the output (default: a table)
    #[arg(long, short = 'o', value_enum, value_name = "FORM")]
    pub(crate) output: Option<Output>,
}

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A table with more columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// Only the names
    Name,
}

/// Returns a flag's name of a namespace, where it is one.
///
/// # Errors
/// Fails for what would be another path of the API.
pub(crate) fn checked_namespace(name: &str) -> Outcome<&str> {
    if is_name(name) && !name.contains('.') {
        return Ok(name);
    }
    let shown: String = name.chars().take(100).collect();
    Err(CommandError::with_kind(
        ErrorKind::Usage,
        format!("{shown:?} is not a namespace: expected letters, digits and '-'"),
    ))
}
