//! `nival-operator controller`: admission, rollouts and the state of environments.

use clap::Args;

use crate::args::Global;
use crate::error::Failure;

/// Options of `controller`.
#[derive(Debug, Args)]
pub(crate) struct Controller {}

/// Runs to its end.
pub(crate) async fn run(_global: &Global, _wish: &Controller) -> Result<(), Failure> {
    Err("this command is not built yet".into())
}
