//! Manifests as people write them: YAML or JSON, read with the places of everything in the text, so that a change
//! touches nothing else.

mod read;
mod scalar;
mod surgery;

pub(crate) use read::{Document, read};
pub(crate) use surgery::edit;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
