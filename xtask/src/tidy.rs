//! House rules that no other tool checks: opening sentences, licences, ignored tests, unowned to-dos, banned crates,
//! and documents that say what is not so.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use fs_err as fs;

use crate::{documents, metadata};

/// Licences that a dependency may have. A dependency under a choice is fine when one of the choices is here.
const LICENSES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that must not come in, with the reason.
const BANNED: &[(&str, &str)] = &[
    (
        "aws-lc-sys",
        "two TLS providers in one program make rustls panic; ring is the one",
    ),
    (
        "openssl-sys",
        "static programs carry no OpenSSL; ring is the TLS provider",
    ),
];

/// Longest file that is not split; tests and generated files are not counted.
const LONGEST_FILE: usize = 450;

/// Checks the tree and its dependencies.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut faults = Vec::new();
    let files = tracked_files(root)?;
    for file in files.iter().filter(|file| file.ends_with(".rs")) {
        let text = fs::read_to_string(root.join(file))?;
        faults.extend(faults_of_source(file, &text));
    }
    faults.extend(documents::faults(root, &files)?);
    faults.extend(faults_of_dependencies(root)?);
    if faults.is_empty() {
        return Ok(());
    }
    bail!(
        "{} of the house's rules are broken:\n  {}",
        faults.len(),
        faults.join("\n  ")
    )
}

/// Returns the files that git tracks.
fn tracked_files(root: &Path) -> Result<Vec<String>> {
    let mut command = Command::new("git");
    command.args(["ls-files", "-z"]).current_dir(root);
    let output = host::process::run(&mut command).context("listing the tree's files")?;
    let names = output
        .stdout
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    let exists = |name: &String| root.join(name).is_file();
    Ok(names
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .filter(exists)
        .collect())
}

fn faults_of_source(file: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let fuzz_target = file.starts_with("fuzz/");
    let first = text
        .lines()
        .find(|line| !line.starts_with("#!") && !line.trim().is_empty());
    if !fuzz_target && !first.is_some_and(|line| line.starts_with("//! ")) {
        faults.push(format!("{file}: the first line is no `//!` sentence"));
    }
    let lines = text.lines().count();
    if lines > LONGEST_FILE && !file.contains("/tests") {
        faults.push(format!(
            "{file}: {lines} lines; split it by noun (the most is {LONGEST_FILE})"
        ));
    }
    for (number, line) in text.lines().enumerate() {
        let at = || format!("{file}:{}", number + 1);
        // Written in two parts, so that this file does not accuse itself.
        if line.trim_start().starts_with(concat!("#[", "ignore")) {
            faults.push(format!("{}: an ignored test tests nothing", at()));
        }
        if line.contains(concat!("TO", "DO")) && !line.contains(concat!("TO", "DO(#")) {
            faults.push(format!("{}: a TO{} without an issue's number", at(), "DO"));
        }
    }
    faults
}

fn faults_of_dependencies(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for package in metadata::all_packages(root)? {
        let name = format!("{} {}", package.name, package.version);
        if let Some((_, reason)) = BANNED.iter().find(|(banned, _)| *banned == package.name) {
            faults.push(format!("{name} is banned: {reason}"));
        }
        let Some(source) = &package.source else {
            continue;
        };
        if !source.starts_with("registry+") {
            faults.push(format!("{name} comes from {source}, not from a registry"));
        }
        let license = package.license.as_deref().unwrap_or("no licence field");
        if !is_permissive(license) {
            faults.push(format!(
                "{name} has licence {license:?}, which is not on the list"
            ));
        }
    }
    Ok(faults)
}

/// Reads an SPDX expression: one alternative of every conjunction must be on the list.
fn is_permissive(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    expression
        .split(" AND ")
        .all(|part| part.split(" OR ").any(|one| LICENSES.contains(&one.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_read_as_expressions() {
        assert!(is_permissive("MIT OR GPL-3.0-only"));
        assert!(is_permissive("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(is_permissive("MIT/Apache-2.0"));
        assert!(!is_permissive("GPL-3.0-only"));
        assert!(!is_permissive("MIT AND GPL-3.0-only"));
        assert!(!is_permissive("no licence field"));
    }

    #[test]
    fn a_source_without_opening_sentence_or_with_an_ignored_test_is_named() {
        let ignored = format!(
            "//! A file.\n{}\nfn test() {{}}\n",
            concat!("#[", "ignore]")
        );
        assert_eq!(faults_of_source("a.rs", "fn main() {}").len(), 1);
        assert_eq!(
            faults_of_source("a.rs", &ignored),
            ["a.rs:2: an ignored test tests nothing"]
        );
        assert!(faults_of_source("a.rs", "//! A file.\n").is_empty());
    }
}
