//! Two versions of Nix from newer Debian suites.

use anyhow::Result;

use super::prefix::Prefix;
use super::step::{Inputs, Steps};
use super::tools::Tools;

/// Each suite with the name of the version that it brings.
pub(super) const VERSIONS: &[(&str, &str)] = &[("sid", "nix"), ("trixie", "nix-2.26")];

const PREFIXES: &[Prefix] = &[of("nix/sid", "sid"), of("nix/trixie", "trixie")];

const fn of(folder: &'static str, suite: &'static str) -> Prefix {
    Prefix {
        folder,
        suite,
        packages: &["nix-bin"],
        programs: &["usr/bin/nix"],
    }
}

/// Brings Nix from every suite in [`VERSIONS`] to `nix/<suite>`.
pub(super) fn bring(steps: &Steps, tools: &Tools) -> Result<()> {
    for prefix in PREFIXES {
        let inputs = Inputs::of_recipe(1)
            .with(prefix.suite)
            .with(steps.setup().as_os_str().as_encoded_bytes());
        prefix.bring_from(steps, tools, inputs)?;
    }
    Ok(())
}
