//! `nival-agent doctor`: what the agent needs of a machine, looked at one by one.

use std::io::Write as _;
use std::path::Path;

use api::hub::HubClient;
use host::error::one_line;

use super::{CommandError, ask};
use crate::args::Global;
use crate::settings::Settings;

/// What came of one look: good, or what is wrong and what to do.
type Finding = Result<String, String>;

pub(super) async fn run(global: &Global) -> Result<(), CommandError> {
    let settings = Settings::load(global, None).map_err(|error| one_line(&error));
    let mut findings: Vec<(&str, Finding)> = vec![("kernel", kernel()), ("user", user())];
    match settings {
        Ok((settings, _)) => {
            findings.push(("configuration", Ok(settings.file.display().to_string())));
            findings.push(("trusted keys", trust(&settings)));
            findings.push(("disk", disk(&settings.state)));
            findings.push(("hub", hub(&settings).await));
        }
        Err(error) => findings.push(("configuration", Err(error))),
    }
    let agent = ask::connect(global).await.map(|_| "it answers".to_owned());
    findings.push(("agent", agent.map_err(|error| one_line(&error))));

    let mut out = std::io::stdout().lock();
    for (name, finding) in &findings {
        match finding {
            Ok(text) => writeln!(out, "ok    {name}: {text}")?,
            Err(text) => writeln!(out, "FAIL  {name}: {text}")?,
        }
    }
    if findings.iter().all(|(_, finding)| finding.is_ok()) {
        Ok(())
    } else {
        Err(CommandError::Unfit)
    }
}

fn kernel() -> Finding {
    host::kernel::check().map_err(|error| error.to_string())
}

fn user() -> Finding {
    if rustix::process::geteuid().is_root() {
        return Ok("root".to_owned());
    }
    Err("only root may mount: run the agent as root".to_owned())
}

fn trust(settings: &Settings) -> Finding {
    match settings.trusted.iter().count() {
        0 => Err(format!(
            "none: no environment will start; add owners and keys to [trust] in {}",
            settings.file.display()
        )),
        count => Ok(count.to_string()),
    }
}

fn disk(state: &Path) -> Finding {
    let there = state
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("/"));
    let disk =
        rustix::fs::statvfs(there).map_err(|error| format!("{}: {error}", there.display()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let text = format!("{} has {} MB free", there.display(), free / 1_000_000);
    if disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return Err(format!("{} is read-only", there.display()));
    }
    if disk.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC) {
        return Err(format!(
            "{} is mounted noexec, so that no program of an environment could run: set `state` to a folder elsewhere",
            there.display()
        ));
    }
    Ok(text)
}

async fn hub(settings: &Settings) -> Finding {
    let http = store::http_client("nival-agent-doctor").map_err(|error| one_line(&error))?;
    let client = HubClient::new(&settings.hub, None, http).map_err(|error| one_line(&error))?;
    let info = client.info().await.map_err(|error| one_line(&error))?;
    Ok(format!(
        "{} answers (version {})",
        settings.hub, info.version
    ))
}
