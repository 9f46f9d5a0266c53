//! `nival sbom`: prints the bill of materials that the signed record of a generation names.

use clap::{Args, ValueEnum};
use env_spec::{Digest, Reference, System};

use crate::context::Context;
use crate::error::{CommandError, Outcome};
use crate::hub::{Published, TrustedHub};

/// Prints a bill of materials.
#[derive(Debug, Args)]
pub(crate) struct SbomArgs {
    /// The generation: owner/name (the live one), owner/name:12 or owner/name@sha256:…
    reference: Reference,
    /// The document's format
    #[arg(long, value_enum, default_value_t = Format::Cyclonedx)]
    format: Format,
    /// The system whose closure is meant (default: this machine's)
    #[arg(long)]
    system: Option<System>,
}

/// A format of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// CycloneDX 1.6, JSON
    Cyclonedx,
    /// SPDX 2.3, JSON
    Spdx,
}

impl Format {
    /// Returns the format's name in records.
    fn name(self) -> &'static str {
        match self {
            Self::Cyclonedx => sbom::CYCLONEDX_FORMAT,
            Self::Spdx => sbom::SPDX_FORMAT,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// Fails when there is no such document, or its bytes are not the ones that the record names.
pub(crate) async fn run(context: &Context, args: &SbomArgs) -> Outcome {
    let hub = TrustedHub::of(context, &args.reference)?;
    let published = hub.resolve(&args.reference).await?;
    let system = match &args.system {
        Some(system) => system.clone(),
        None => context.system()?,
    };
    let document = document(&hub, &published, &system, args.format).await?;
    print(context, &document)
}

/// Returns the document that a signed record names, byte for byte.
///
/// # Errors
/// Fails when there is no such document, or its bytes are not the ones that the record names.
pub(crate) async fn document(
    hub: &TrustedHub,
    published: &Published,
    system: &System,
    format: Format,
) -> Outcome<Vec<u8>> {
    let name = format.name();
    let part = published.generation.system(system)?;
    let digest = *part.sboms.get(name).ok_or_else(|| {
        let known = part.sboms.keys().cloned().collect::<Vec<_>>().join(", ");
        CommandError::user(format!(
            "{} has no {name} document (it has: {known})",
            published.pin
        ))
    })?;
    let document = hub
        .client
        .document(&published.pin.environment, digest)
        .await?;
    let found = Digest::of(&document);
    if found != digest {
        let text = format!(
            "the hub gave a document {found} where the record of {} names {digest}",
            published.pin
        );
        return Err(CommandError::user(text));
    }
    Ok(document.into())
}

/// Prints a document as it is, with a line's end at its end.
///
/// # Errors
/// Fails when standard output takes no more.
pub(crate) fn print(context: &Context, document: &[u8]) -> Outcome {
    context.printer.raw(document)?;
    if !document.ends_with(b"\n") {
        context.printer.raw(b"\n")?;
    }
    Ok(())
}
