//! `nival-operator install`: the shim and containerd's configuration on a node.

use clap::Args;

use crate::args::Global;
use crate::error::Failure;

/// Options of `install`.
#[derive(Debug, Args)]
pub(crate) struct Install {}

/// Runs to its end.
pub(crate) async fn run(_global: &Global, _wish: &Install) -> Result<(), Failure> {
    Err("this command is not built yet".into())
}
