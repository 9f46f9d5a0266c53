//! A person who publishes to a real hub.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use testkit::{Failure, Stack};

use crate::user::NIVAL;

/// A hub, and a laptop whose `nival` is the one of this test run.
pub(crate) struct Publisher {
    pub(crate) stack: Stack,
}

impl Publisher {
    /// Starts both; `~/app` is a project with one package.
    pub(crate) fn new() -> Self {
        let stack = Stack::start().unwrap();
        let program = stack.laptop.shared().join("nival");
        fs_err::copy(NIVAL, &program).unwrap();
        fs_err::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        stack.make_key().unwrap();
        let publisher = Self { stack };
        publisher.well("mkdir ~/app && cd ~/app && nival init && nival install jq");
        publisher
    }

    pub(crate) fn shell(&self, script: &str) -> Result<String, Failure> {
        let folder = self.stack.laptop.shared();
        let script = format!("export PATH={}:$PATH; {script}", folder.display());
        self.stack.laptop.shell(&script)
    }

    #[track_caller]
    pub(crate) fn well(&self, script: &str) -> String {
        self.shell(script)
            .unwrap_or_else(|error| panic!("`{script}`: {error}"))
    }

    #[track_caller]
    pub(crate) fn badly(&self, script: &str, parts: &[&str]) {
        let talk = match self.shell(script) {
            Ok(text) => panic!("`{script}` was not refused: {text}"),
            Err(error) => error.to_string(),
        };
        for part in parts {
            assert!(talk.contains(part), "{part:?} is missing in: {talk}");
        }
    }

    /// Publishes a generation that differs from all before, and returns its digest.
    #[track_caller]
    pub(crate) fn push(&self, text: &str) -> String {
        self.well(&format!(
            "cd ~/app && echo '# {text}' >> .nival/manifest.toml"
        ));
        let done = self.well("cd ~/app && nival push demo/app --json");
        let done: Value = serde_json::from_str(&done).unwrap();
        done["digest"].as_str().unwrap().to_owned()
    }

    pub(crate) fn generations(&self) -> Value {
        serde_json::from_str(&self.well("nival generations demo/app --json")).unwrap()
    }
}
