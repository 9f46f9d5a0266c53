//! The package set of real programs: Debian's packages made into Nix's by the real Nix, and served as a signed cache.

mod debs;
mod smoke;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use fs_err as fs;

use super::step::{Inputs, Steps};
use super::tools::Tools;
use crate::{namespace, say};

/// What the set's revisions are called.
const REVISIONS: &[&str] = &["r1", "r2"];

/// The name of the key that the cache is signed with.
const KEY_NAME: &str = "nival-test-1";

/// Files of the set that every revision has a copy of.
const SHARED_FILES: &[&str] = &["default.nix", "everything.nix"];

/// Brings the package set: sources, expressions, signed caches.
pub(super) fn bring(steps: &Steps, tools: &Tools) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/packages");
    debs::bring(steps, tools, &source)?;
    for revision in REVISIONS {
        let files = files_of(&source, revision)?;
        let mut inputs =
            Inputs::of_recipe(1).with(fs::read(steps.setup().join("packages/debs/debs.json"))?);
        for (name, content) in &files {
            inputs = inputs.with(name).with(content);
        }
        let folder = format!("packages/revisions/{revision}");
        steps.run(&folder, inputs, |folder| {
            write_revision(steps, tools, &files, folder)
        })?;
    }
    let key = key(steps)?;
    caches(steps, &key)?;
    smoke::check(steps)
}

/// Returns the files of a revision with their contents.
fn files_of(source: &Path, revision: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for name in SHARED_FILES {
        files.push(((*name).to_owned(), fs::read(source.join(name))?));
    }
    let own = source.join(format!("revisions/{revision}.nix"));
    files.push(("revision.nix".to_owned(), fs::read(own)?));
    for entry in fs::read_dir(source.join("build"))? {
        let entry = entry?;
        let name = format!("build/{}", entry.file_name().to_string_lossy());
        files.push((name, fs::read(entry.path())?));
    }
    files.sort();
    Ok(files)
}

/// Writes a revision that needs nothing outside its folder to be evaluated.
fn write_revision(
    steps: &Steps,
    tools: &Tools,
    files: &[(String, Vec<u8>)],
    folder: &Path,
) -> Result<()> {
    fs::create_dir(folder.join("build"))?;
    for (name, content) in files {
        fs::write(folder.join(name), content)?;
    }
    let debs = steps.setup().join("packages/debs/debs.json");
    fs::copy(debs, folder.join("debs.json"))?;
    for part in ["bin", "lib"] {
        fs::create_dir_all(folder.join("tools").join(part))?;
        for entry in fs::read_dir(tools.bootstrap().join(part))? {
            let entry = entry?;
            fs::copy(
                entry.path(),
                folder.join("tools").join(part).join(entry.file_name()),
            )?;
        }
    }
    Ok(())
}

/// Returns the secret key's file, made at the first run and kept for good.
fn key(steps: &Steps) -> Result<PathBuf> {
    let secret = steps.setup().join("packages/cache-key.secret");
    let public = secret.with_extension("public");
    if !secret.exists() {
        let text = nix(&["key", "generate-secret", "--key-name", KEY_NAME])?;
        host::fs::write_atomic_private(&secret, text.trim().as_bytes())?;
    }
    if !public.exists() {
        // Nix reads the secret key from its standard input alone.
        let mut command = namespace::with_nix("sh")?;
        command
            .args(["-c", "exec nix key convert-secret-to-public <\"$0\""])
            .arg(&secret);
        let text = output_of(&mut command)?;
        host::fs::write_atomic(&public, text.trim().as_bytes())?;
    }
    Ok(secret)
}

/// Builds both revisions, and copies what was built into the caches.
fn caches(steps: &Steps, key: &Path) -> Result<()> {
    let inputs = || -> Result<Inputs> {
        let mut inputs = Inputs::of_recipe(1).with(fs::read(key)?);
        for revision in REVISIONS {
            let stamp = steps
                .setup()
                .join(format!(".stamps/packages-revisions-{revision}"));
            inputs = inputs.with(fs::read(stamp)?);
        }
        Ok(inputs)
    };
    steps.run("packages/cache", inputs()?, |folder| {
        add_sources(steps)?;
        let mut paths = Vec::new();
        for revision in REVISIONS {
            let begun = Instant::now();
            let built = build(steps, revision, "everything.nix", &[])?;
            say(&format!(
                "{revision}: {} packages built in {:.1?}",
                built.len(),
                begun.elapsed()
            ));
            paths.extend(built);
        }
        paths.sort();
        paths.dedup();
        copy(&paths, folder, "zstd", key)
    })?;
    steps.run("packages/cache-xz", inputs()?, |folder| {
        let paths = build(steps, REVISIONS[0], "default.nix", &["jq"])?;
        copy(&paths, folder, "xz", key)
    })
}

/// Puts Debian's packages into the store under their hashes, so that nothing is fetched when building.
fn add_sources(steps: &Steps) -> Result<()> {
    let mut command = namespace::with_nix("nix-store")?;
    command.args(["--add-fixed", "sha256"]);
    for entry in fs::read_dir(steps.setup().join("packages/debs"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            command.arg(path);
        }
    }
    output_of(&mut command)?;
    Ok(())
}

/// Builds attributes of a revision's file, or all of it, and returns the store paths.
fn build(steps: &Steps, revision: &str, file: &str, attributes: &[&str]) -> Result<Vec<String>> {
    let revisions = steps.setup().join("packages/revisions");
    let mut command = namespace::with_nix("nix")?;
    command
        .args(["build", "--no-link", "--print-out-paths", "--file"])
        .arg(revisions.join(revision).join(file));
    let text = output_of(command.args(attributes))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Copies the closures of paths into a signed binary cache.
fn copy(paths: &[String], folder: &Path, compression: &str, key: &Path) -> Result<()> {
    let cache = format!(
        "file://{}?compression={compression}&secret-key={}&write-nar-listing=true",
        folder.display(),
        key.display()
    );
    let mut command = namespace::with_nix("nix")?;
    output_of(command.args(["copy", "--to", &cache]).args(paths))?;
    Ok(())
}

/// Runs `nix` where the set-up's store is, and returns what it printed.
fn nix(arguments: &[&str]) -> Result<String> {
    output_of(namespace::with_nix("nix")?.args(arguments))
}

fn output_of(command: &mut Command) -> Result<String> {
    let output = host::process::run(command)?;
    String::from_utf8(output.stdout).context("reading a program's output")
}
