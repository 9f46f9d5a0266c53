//! `nival-operator crds`: the definitions of Nival's resources, from the types that the programs themselves use.

use std::io::Write as _;

use api::kubernetes::{Environment, NivalNode};
use kube::CustomResourceExt as _;

use crate::error::Failure;

/// Prints them as YAML.
pub(crate) fn run() -> Result<(), Failure> {
    let mut out = std::io::stdout();
    for definition in [Environment::crd(), NivalNode::crd()] {
        write!(out, "---\n{}", serde_saphyr::to_string(&definition)?)?;
    }
    Ok(())
}
