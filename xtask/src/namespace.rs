//! Runs commands where `/nix` is the set-up folder's, or where there is no `/nix`, and leaves the host's root alone.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use fs_err as fs;

const SCRIPT: &str = include_str!("namespace.sh");

/// Returns a command that runs on a machine with Nix, whose `/nix` is a folder below the set-up folder.
pub(crate) fn with_nix(program: impl AsRef<OsStr>) -> Result<Command> {
    let setup = testkit::setup::dir();
    let mut command = in_namespace(&testkit::setup::nix_root(), program)?;
    command.env("PATH", path_with(&setup.join("bin"))?);
    // Nothing of the user's own Nix, where there is one.
    let variables = [
        "NIX_REMOTE",
        "NIX_PATH",
        "NIX_PROFILES",
        "NIX_STORE_DIR",
        "NIX_STATE_DIR",
    ];
    variables.iter().for_each(|name| {
        command.env_remove(name);
    });
    let own = setup.join("nix-root");
    command
        .env("NIX_CONF_DIR", own.join("etc"))
        .env("NIX_USER_CONF_FILES", "");
    command.env("XDG_CACHE_HOME", own.join("cache"));
    command.env("NIX_CONFIG", testkit::setup::builder_nix_configuration());
    Ok(command)
}

/// Returns a command that runs on a machine without Nix: no `/nix`, and no program of it in `PATH`.
fn without_nix(program: impl AsRef<OsStr>) -> Result<Command> {
    let mut command = in_namespace(Path::new(""), program)?;
    command.env("PATH", path_with(&testkit::setup::dir().join("node/bin"))?);
    Ok(command)
}

/// Runs a command of the user's with Nix, on this terminal.
pub(crate) fn run_with_nix(command: &[OsString]) -> Result<()> {
    pass_through(|program| with_nix(program), command)
}

/// Runs a command of the user's without Nix, on this terminal.
pub(crate) fn run_without_nix(command: &[OsString]) -> Result<()> {
    pass_through(|program| without_nix(program), command)
}

fn pass_through(make: impl Fn(&OsString) -> Result<Command>, words: &[OsString]) -> Result<()> {
    let (program, arguments) = words.split_first().context("no command")?;
    let status = make(program)?
        .args(arguments)
        .status()
        .context("starting the command")?;
    if !status.success() {
        bail!("{} ended with {status}", program.display());
    }
    Ok(())
}

fn in_namespace(nix: &Path, program: impl AsRef<OsStr>) -> Result<Command> {
    if !rustix::process::geteuid().is_root() {
        bail!("mount namespaces need root: run this as root");
    }
    let root = testkit::setup::dir().join("nix-root/mount-point");
    fs::create_dir_all(&root)?;
    if !nix.as_os_str().is_empty() {
        fs::create_dir_all(nix)?;
    }
    // As a file: an error that quotes the command would otherwise quote the whole script.
    let script = root.with_file_name("namespace.sh");
    host::fs::write_atomic(&script, SCRIPT.as_bytes())?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh"])
        .arg(script);
    command.arg(root).arg(nix).arg(program);
    Ok(command)
}

fn path_with(folder: &Path) -> Result<OsString> {
    let system = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&system));
    std::env::join_paths(folders).context("joining PATH")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_no_nix_and_a_laptop_has_its_own() {
        testkit::require!(root, setup);
        let mut node = without_nix("sh").unwrap();
        let script = "test ! -e /nix && test ! -x /usr/bin/nix && command -v containerd";
        host::process::run(node.args(["-c", script])).unwrap();
        let mut laptop = with_nix("sh").unwrap();
        host::process::run(laptop.args(["-c", "test -d /nix/store && nix --version"])).unwrap();
    }
}
