//! A user with an empty home, who types commands.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program as this test run built it.
pub(crate) const NIVAL: &str = env!("CARGO_BIN_EXE_nival");

/// A user.
pub(crate) struct User {
    home: tempfile::TempDir,
}

/// What a command did.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) data: String,
    pub(crate) talk: String,
}

impl User {
    pub(crate) fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Returns a new folder of this user's.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.home().join(name);
        fs_err::create_dir_all(&folder).unwrap();
        folder
    }

    pub(crate) fn configure(&self, text: &str) {
        let folder = self.folder(".config/nival");
        fs_err::write(folder.join("config.toml"), text).unwrap();
    }

    /// Types a command in a folder.
    pub(crate) fn types(&self, folder: &Path, arguments: &[&str]) -> Done {
        self.types_with(folder, arguments, &[])
    }

    pub(crate) fn types_with(
        &self,
        folder: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Done {
        let mut command = Command::new(NIVAL);
        command.args(arguments).current_dir(folder).env_clear();
        command
            .env("HOME", self.home())
            .env("PATH", "/usr/bin:/bin");
        command.env(
            "NIVAL_SYSTEM_CONFIG",
            self.home().join("no-such-system-config"),
        );
        command.envs(variables.iter().copied());
        Done::of(&command.output().unwrap())
    }
}

impl Done {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            data: String::from_utf8(output.stdout.clone()).unwrap(),
            talk: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// Fails the test, with what was said, unless the command succeeded.
    #[track_caller]
    pub(crate) fn well(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.data, self.talk);
        self
    }

    /// Fails the test unless the command ended so and said all of these.
    #[track_caller]
    pub(crate) fn badly(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, code, "{}{}", self.data, self.talk);
        for part in parts {
            assert!(
                self.talk.contains(part),
                "{part:?} is missing in: {}",
                self.talk
            );
        }
        self
    }
}
