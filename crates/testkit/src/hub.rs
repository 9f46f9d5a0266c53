//! A real hub on a machine of its own.

use std::path::PathBuf;

use fs_err as fs;

use crate::{Failure, Kind, Machine, Service, World, poll, run};

/// Where the hub listens in its world.
pub const HUB_ADDRESS: &str = "127.0.0.1:7878";

/// A running hub.
#[derive(Debug)]
pub struct Hub {
    machine: Machine,
    service: Option<Service>,
    network: PathBuf,
    arguments: Vec<String>,
}

impl Hub {
    /// Starts a hub with its defaults and waits until it is ready.
    ///
    /// # Errors
    /// Fails when it does not start.
    pub fn start(world: &World, arguments: &[&str]) -> Result<Self, Failure> {
        let machine = world.machine(Kind::Server, "hub")?;
        let arguments = arguments.iter().map(|&one| one.to_owned()).collect();
        let mut hub = Self {
            machine,
            service: None,
            network: world.network(),
            arguments,
        };
        hub.resume()?;
        Ok(hub)
    }

    /// Starts it again on the data it has.
    ///
    /// # Errors
    /// Fails when it does not become ready.
    pub fn resume(&mut self) -> Result<(), Failure> {
        let mut arguments = vec!["serve"];
        arguments.extend(self.arguments.iter().map(String::as_str));
        let mut service = self.machine.service("nival-hub", "nival-hub", &arguments)?;
        let network = self.network.clone();
        poll("the hub to be ready", || {
            service.check_alive()?;
            let answer = crate::network::get(&network, HUB_ADDRESS, "/readyz").ok();
            Ok(answer.filter(|(status, _)| *status == 200))
        })?;
        self.service = Some(service);
        Ok(())
    }

    /// Kills it as `kill -9` does.
    ///
    /// # Errors
    /// Fails when it cannot be waited for.
    pub fn kill(&mut self) -> Result<(), Failure> {
        self.service
            .take()
            .map_or(Ok(()), |mut service| service.kill())
    }

    /// Makes a token.
    ///
    /// # Errors
    /// Fails when the hub's command line refuses.
    pub fn token(&self, owner: &str, more: &[&str]) -> Result<String, Failure> {
        let mut command = self.machine.command("nival-hub")?;
        command
            .args(["token", "create", "--owner", owner])
            .args(more);
        Ok(run(&mut command)?.trim().to_owned())
    }

    /// Returns the sum of a counter over all its labels.
    ///
    /// # Errors
    /// Fails when the hub does not answer.
    pub fn counter(&self, name: &str) -> Result<u64, Failure> {
        let (_, page) = crate::network::get(&self.network, HUB_ADDRESS, "/metrics")?;
        let values = page.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        let numbers = values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of bytes"
        )]
        Ok(numbers.sum::<f64>() as u64)
    }

    /// Returns the machine it runs on.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Returns its folder of data as the host sees it.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.machine
            .on_host("/root/.local/share/nival-hub")
            .expect("the path is below /root")
    }

    /// Returns the files in its folder of data whose path ends so.
    ///
    /// # Errors
    /// Fails when the folder cannot be read.
    pub fn files_ending(&self, suffix: &str) -> Result<Vec<PathBuf>, Failure> {
        let mut found = Vec::new();
        let mut folders = vec![self.data()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_string_lossy().ends_with(suffix) {
                    found.push(path);
                }
            }
        }
        Ok(found)
    }

    /// Returns where the narinfo and the NAR of a store path lie on the hub's disk.
    ///
    /// # Errors
    /// Fails when the hub lacks one of them.
    pub fn cache_files(&self, store_path: &str) -> Result<(PathBuf, PathBuf), Failure> {
        let hash = store_path
            .strip_prefix("/nix/store/")
            .and_then(|name| name.get(..32));
        let hash = hash.ok_or_else(|| Failure::Text(format!("{store_path} is no store path")))?;
        let one = |suffix: &str| {
            let found = self.files_ending(suffix)?.into_iter().next();
            found.ok_or_else(|| Failure::Text(format!("the hub has no file {suffix}")))
        };
        let narinfo = one(&format!("/{hash}.narinfo"))?;
        let text = fs::read_to_string(&narinfo)?;
        let url = text.lines().find_map(|line| line.strip_prefix("URL: "));
        let nar = one(url.ok_or_else(|| Failure::Text("a narinfo without URL".to_owned()))?)?;
        Ok((narinfo, nar))
    }
}
