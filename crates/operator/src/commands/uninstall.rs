//! `nival-operator uninstall`: takes Nival off all nodes.

use clap::Args;

use crate::args::Global;
use crate::error::Failure;

/// Options of `uninstall`.
#[derive(Debug, Args)]
pub(crate) struct Uninstall {}

/// Runs to its end.
pub(crate) async fn run(_global: &Global, _wish: &Uninstall) -> Result<(), Failure> {
    Err("this command is not built yet".into())
}
