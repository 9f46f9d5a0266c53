//! What every command has at hand: settings, variables, printer, and from them `nix`, the hub, the project.

use std::path::PathBuf;
use std::time::Duration;

use api::hub::HubClient;
use env_spec::System;
use host::nix::Nix;

use crate::args::GlobalArgs;
use crate::env_vars::{self, Variables};
use crate::error::Outcome;
use crate::keys::Keys;
use crate::output::Printer;
use crate::project::Project;
use crate::settings::Settings;

/// A hub that does not even accept the connection for so long is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be silent before it is probed.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// An answer that stands still for so long does not come any more.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// Returns the time as records carry it: RFC 3339 in UTC, to the second.
#[must_use]
pub(crate) fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

pub(crate) fn http_client() -> Outcome<reqwest::Client> {
    Ok(client_builder().read_timeout(READ_TIMEOUT).build()?)
}

fn client_builder() -> reqwest::ClientBuilder {
    // A dead connection shows by its unanswered probes, whatever is waited for.
    reqwest::Client::builder()
        .user_agent(concat!("nival/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_keepalive(KEEPALIVE)
}

/// The surroundings of a command.
#[derive(Debug)]
pub(crate) struct Context {
    /// What was configured.
    pub(crate) settings: Settings,
    /// The process's variables.
    pub(crate) variables: Variables,
    /// The way to the terminal.
    pub(crate) printer: Printer,
    /// The folder that the command works in.
    pub(crate) folder: PathBuf,
}

impl Context {
    /// Takes in the surroundings.
    ///
    /// # Errors
    /// Fails when the configuration is not valid or there is no current folder.
    pub(crate) fn new(flags: &GlobalArgs, variables: Variables, printer: Printer) -> Outcome<Self> {
        let settings = Settings::decide(flags, &variables)?;
        let folder = match &flags.dir {
            Some(folder) => std::path::absolute(folder)?,
            None => std::env::current_dir()?,
        };
        Ok(Self {
            settings,
            variables,
            printer,
            folder,
        })
    }

    /// Returns the project.
    ///
    /// # Errors
    /// Fails when there is none.
    pub(crate) fn project(&self) -> Outcome<Project> {
        Project::find(&self.folder)
    }

    /// Returns the way to run `nix`.
    #[must_use]
    pub(crate) fn nix(&self) -> Nix {
        // Nix asks no cache where only the loopback interface is up, although one may be on this machine.
        let mut nix = Nix::new(&self.settings.nix.value).option("substitute", "true");
        let options = [
            ("substituters", &self.settings.substituters.value),
            (
                "trusted-public-keys",
                &self.settings.trusted_public_keys.value,
            ),
        ];
        for (name, values) in options {
            if !values.is_empty() {
                nix = nix.option(name, values.join(" "));
            }
        }
        nix
    }

    /// Returns the hub.
    ///
    /// # Errors
    /// Fails when its address is none.
    pub(crate) fn hub(&self) -> Outcome<HubClient> {
        let token = self
            .settings
            .token
            .as_ref()
            .map(|token| token.value.clone());
        Ok(HubClient::new(
            &self.settings.hub.value,
            token,
            http_client()?,
        )?)
    }

    /// Returns the hub, asked with another token than the configured one.
    ///
    /// # Errors
    /// Fails when its address is none.
    pub(crate) fn hub_with_token(&self, token: &str) -> Outcome<HubClient> {
        let token = Some(token.to_owned());
        Ok(HubClient::new(
            &self.settings.hub.value,
            token,
            http_client()?,
        )?)
    }

    /// Returns the hub for large uploads, whose answer comes only after the last byte.
    ///
    /// # Errors
    /// Fails when its address is none.
    pub(crate) fn patient_hub(&self) -> Outcome<HubClient> {
        let token = self
            .settings
            .token
            .as_ref()
            .map(|token| token.value.clone());
        Ok(HubClient::new(
            &self.settings.hub.value,
            token,
            client_builder().build()?,
        )?)
    }

    /// Returns who a generation says made it.
    #[must_use]
    pub(crate) fn author(&self) -> String {
        let configured = self
            .settings
            .author
            .as_ref()
            .map(|author| author.value.clone());
        configured
            .or_else(|| self.variables.get(env_vars::USER).map(str::to_owned))
            .unwrap_or_else(|| "unknown".to_owned())
    }

    /// Returns the hub that a reference names by its address. The token is for the configured hub, and goes to no other.
    ///
    /// # Errors
    /// Fails when the address is none.
    pub(crate) fn other_hub(&self, address: &str) -> Outcome<HubClient> {
        let configured = self.hub()?;
        let same = configured.base().authority() == address
            || configured.base().host_str() == Some(address);
        if same {
            return Ok(configured);
        }
        let host = address.split(':').next().unwrap_or(address);
        let scheme = if matches!(host, "localhost" | "127.0.0.1") {
            "http"
        } else {
            "https"
        };
        Ok(HubClient::new(
            &format!("{scheme}://{address}"),
            None,
            http_client()?,
        )?)
    }

    /// Returns the user's keys.
    #[must_use]
    pub(crate) fn keys(&self) -> Keys {
        Keys::in_folder(&self.settings.keys)
    }

    /// Returns the machine's system.
    ///
    /// # Errors
    /// Fails on a machine that Nival does not know.
    pub(crate) fn system(&self) -> Outcome<System> {
        Ok(System::of(std::env::consts::ARCH, std::env::consts::OS)?)
    }
}
