//! `pin`: writes the pins that admission would write into manifests, so that git says what runs.

mod manifest;
mod resolver;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::context::Context;
use crate::error::{CommandError, Doing as _, ErrorKind, Outcome};
use crate::k8s::pin::manifest::{Manifest, Pinned};
use crate::k8s::pin::resolver::Resolver;
use crate::output::count;

/// Larger files are no manifests.
const LARGEST_FILE: u64 = 32 << 20;
/// What means standard input.
const STANDARD_INPUT: &str = "-";
/// The names of manifests in a folder.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Pins manifests.
#[derive(Debug, Args)]
pub(crate) struct PinArgs {
    /// Manifests, or folders of them, which are changed in place; `-` reads standard input and writes to standard output
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Change nothing; fail when a reference has no pin, or one that was made from another reference
    #[arg(long)]
    check: bool,
    /// Make pins anew that are there, so that references without a number take the generation that is live now
    #[arg(long)]
    update: bool,
}

/// Runs the command.
///
/// # Errors
/// Fails when a manifest cannot be read or changed in place, a reference cannot be resolved, or the check found something.
pub(crate) async fn run(context: &Context, args: &PinArgs) -> Outcome {
    let files = files(&args.files)?;
    // All are read before the first is written: a mistake in the last leaves all as they were.
    let mut manifests = Vec::new();
    for file in files {
        let name = match is_standard_input(&file) {
            true => "standard input".to_owned(),
            false => file.display().to_string(),
        };
        let text = read(&file).doing(|| format!("cannot read {name}"))?;
        let manifest = Manifest::read(&text, args.update)
            .doing(|| format!("{name} is no manifest that can be pinned"))
            .map_err(|error| {
                error.hint("a template (Helm, …) is pinned after it was rendered: `helm template … | kubectl nival pin -`")
            })?;
        manifests.push((file, name, text, manifest));
    }
    let mut resolver = Resolver::new(context);
    let mut stale = Vec::new();
    let mut changes = Vec::new();
    for (file, name, text, manifest) in manifests {
        if args.check && !args.update {
            stale.extend(
                manifest
                    .unpinned()
                    .into_iter()
                    .map(|what| format!("{name}: {what}")),
            );
            continue;
        }
        let pinned = manifest
            .pin(&text, &mut resolver)
            .await
            .doing(|| format!("cannot pin {name}"))?;
        if args.check {
            stale.extend(pinned.changes.iter().map(|what| format!("{name}: {what}")));
        }
        changes.push((file, name, text, pinned));
    }
    if args.check {
        return checked(&stale);
    }
    changes
        .iter()
        .try_for_each(|(file, name, text, pinned)| write(context, file, name, text, pinned))
}

/// Returns a manifest's text with its pins.
///
/// # Errors
/// Fails when a reference cannot be resolved.
pub(crate) async fn pinned(context: &Context, text: &str) -> Outcome<String> {
    let mut resolver = Resolver::new(context);
    let pinned = Manifest::read(text, false)?
        .pin(text, &mut resolver)
        .await?;
    Ok(pinned.text)
}

fn write(context: &Context, file: &Path, name: &str, text: &str, pinned: &Pinned) -> Outcome {
    let printer = context.printer;
    for warning in &pinned.warnings {
        printer.warn(format!("{name}: {warning}"));
    }
    for change in &pinned.changes {
        printer.say(format!("{name}: {change}"));
    }
    if is_standard_input(file) {
        return Ok(printer.raw(pinned.text.as_bytes())?);
    }
    if pinned.text == text {
        printer.say(format!("{name}: nothing to pin."));
        return Ok(());
    }
    // The file itself and not a link to it, and with the rights that it had.
    let file = fs_err::canonicalize(file)?;
    let rights = fs_err::metadata(&file)?.permissions();
    host::fs::write_atomic(&file, pinned.text.as_bytes())?;
    Ok(fs_err::set_permissions(&file, rights)?)
}

fn checked(stale: &[String]) -> Outcome {
    match stale {
        [] => Ok(()),
        [only] => Err(CommandError::with_kind(
            ErrorKind::NotUpToDate,
            only.clone(),
        )),
        [first, rest @ ..] => {
            let more = count(rest.len(), "more place", "more places");
            let error =
                CommandError::with_kind(ErrorKind::NotUpToDate, format!("{first} (and {more})"));
            Err(rest
                .iter()
                .fold(error, |error, line| error.hint(format!("also {line}"))))
        }
    }
    .map_err(|error| error.hint("`kubectl nival pin FILE` writes the pins"))
}

/// Returns the files that arguments mean: those of a folder in the order of their names.
fn files(arguments: &[PathBuf]) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    for argument in arguments {
        if is_standard_input(argument) || !argument.is_dir() {
            files.push(argument.clone());
            continue;
        }
        let mut found = Vec::new();
        for entry in fs_err::read_dir(argument)? {
            let path = entry?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            let is_manifest = extension.is_some_and(|extension| EXTENSIONS.contains(&extension));
            if is_manifest && path.is_file() {
                found.push(path);
            }
        }
        if found.is_empty() {
            let text = format!("the folder {} has no manifests", argument.display());
            return Err(CommandError::user(text).hint("their names end with .yaml, .yml or .json"));
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

fn read(file: &Path) -> Outcome<String> {
    let bytes = if is_standard_input(file) {
        let mut bytes = Vec::new();
        let mut input = std::io::stdin().lock().take(LARGEST_FILE + 1);
        input.read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_FILE {
            let text = format!("standard input has more than {LARGEST_FILE} bytes");
            return Err(CommandError::user(text));
        }
        bytes
    } else {
        host::fs::read_bounded(file, LARGEST_FILE)?
    };
    Ok(String::from_utf8(bytes)?)
}

fn is_standard_input(file: &Path) -> bool {
    file == Path::new(STANDARD_INPUT)
}
