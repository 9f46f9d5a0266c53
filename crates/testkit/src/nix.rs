//! The real Nix in the versions that set-up brings, each with private stores that need no `/nix`.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use tempfile::TempDir;

use crate::{Failure, setup};

/// The names in the set-up folder's `bin`: the newest, and the oldest that is promised to work.
const NAMES: [&str; 2] = ["nix", "nix-2.26"];

/// One version of Nix with a folder of its own, which goes when this goes.
#[derive(Debug)]
pub struct Nix {
    program: PathBuf,
    folder: TempDir,
}

/// Tells whether set-up has brought all versions.
#[must_use]
pub fn is_there() -> bool {
    NAMES.iter().all(|name| program(name).exists())
}

fn program(name: &str) -> PathBuf {
    setup::dir().join("bin").join(name)
}

impl Nix {
    /// Returns every version, each with an empty folder.
    ///
    /// # Errors
    /// Fails when the folders cannot be made.
    pub fn every() -> Result<Vec<Self>, Failure> {
        NAMES
            .iter()
            .map(|name| {
                let folder = tempfile::Builder::new().prefix("nival-nix-").tempdir()?;
                fs::create_dir(folder.path().join("home"))?;
                Ok(Self {
                    program: program(name),
                    folder,
                })
            })
            .collect()
    }

    /// Returns its folder, in which tests may write.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns where a store path really is: below the private store's folder.
    #[must_use]
    pub fn real_path(&self, store_path: &str) -> PathBuf {
        self.store_folder().join(store_path.trim_start_matches('/'))
    }

    /// Returns `nix <words>` in a clean environment, with the private store where it takes one.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.bare_command();
        command.args(words);
        command
    }

    /// Returns one of the old commands, such as `nix-store`.
    pub fn old_command(&self, name: &str) -> Command {
        let mut command = self.bare_command();
        command.arg0(name);
        command
    }

    /// Runs `nix <words>` and returns what it printed, without the last line feed.
    ///
    /// # Errors
    /// Fails when it does.
    pub fn text(&self, words: &[&str]) -> Result<String, Failure> {
        Ok(crate::run(&mut self.command(words))?
            .trim_end_matches('\n')
            .to_owned())
    }

    /// Runs an old command and returns what it printed, byte for byte.
    ///
    /// # Errors
    /// Fails when it does.
    pub fn old_output(
        &self,
        name: &str,
        arguments: &[&dyn AsRef<OsStr>],
    ) -> Result<Vec<u8>, Failure> {
        let mut command = self.old_command(name);
        command.args(arguments.iter().map(|argument| (*argument).as_ref()));
        Ok(host::process::run(&mut command)?.stdout)
    }

    /// Runs a command with these bytes as its input; returns whether it succeeded, what it
    /// printed and what it said.
    ///
    /// # Errors
    /// Fails when it cannot be run.
    pub fn with_input(
        mut command: Command,
        input: &[u8],
    ) -> Result<(bool, Vec<u8>, String), Failure> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut pipe = child.stdin.take().expect("the input is a pipe");
        let output = std::thread::scope(|scope| {
            scope.spawn(move || {
                // A program that refuses its input stops reading; its exit status tells.
                drop(pipe.write_all(input));
            });
            child.wait_with_output()
        })?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((output.status.success(), output.stdout, said))
    }

    fn store_folder(&self) -> PathBuf {
        self.folder().join("store")
    }

    fn bare_command(&self) -> Command {
        let home = self.folder().join("home");
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("NIX_CONF_DIR", &home)
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_STATE_HOME", home.join("state"))
            .env("HOME", &home)
            .env("NIX_REMOTE", self.store_folder())
            .env("NIX_CONFIG", CONFIGURATION);
        command
    }
}

/// No network, no daemon, no build users; all commands that the tests use.
const CONFIGURATION: &str = "\
experimental-features = nix-command ca-derivations
build-users-group =
substituters =
sandbox = false
";
