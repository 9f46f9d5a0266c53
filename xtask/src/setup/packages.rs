//! The package set of real programs.

use anyhow::Result;

use super::step::Steps;
use super::tools::Tools;

pub(super) fn bring(_steps: &Steps, _tools: &Tools) -> Result<()> {
    Ok(())
}
