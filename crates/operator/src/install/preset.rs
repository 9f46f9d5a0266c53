//! Where the configuration of a machine's containerd is, and what restarts it: each distribution has its own places.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::machine::Host;

/// How a machine's containerd is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// Found by looking at the machine
    Auto,
    /// containerd as a service with `/etc/containerd`: kubeadm, EKS, GKE, AKS, kind
    Containerd,
    /// k3s, which writes containerd's configuration itself
    K3s,
    /// RKE2, which does, too
    Rke2,
}

/// What of it a person said otherwise.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) config: Option<PathBuf>,
    pub(crate) socket: Option<PathBuf>,
    pub(crate) unit: Option<String>,
}

/// Where things are on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// What containerd reads first.
    pub(crate) config: PathBuf,
    /// Whether that is made anew at each start, from templates beside it.
    pub(crate) generated: bool,
    /// Where containerd answers.
    pub(crate) socket: PathBuf,
    /// The services that may run it.
    pub(crate) units: Vec<String>,
}

/// Why Nival cannot be installed on a machine.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PresetError {
    #[error(
        "this is Talos Linux, whose root cannot be written to: install Nival's system extension (deploy/talos), which \
         brings the shim and containerd's configuration"
    )]
    Talos,
    #[error(
        "this is {found}: {reason}. Keep Nival's agents off such nodes (agent.affinity of the chart)"
    )]
    Closed {
        found: &'static str,
        reason: &'static str,
    },
    #[error(
        "{found} is there, whose containerd Nival does not know: say where it is with --containerd-config, \
         --containerd-socket and --containerd-unit"
    )]
    Unknown { found: &'static str },
    #[error("this machine runs CRI-O: Nival needs containerd 1.7 or later")]
    CriO,
    #[error(
        "no containerd is found on this machine, neither its socket nor /etc/containerd: say where it is with \
         --containerd-config, --containerd-socket and --containerd-unit"
    )]
    Nothing,
}

/// Distributions where no shim can be put, by their `ID`, with the reason.
const CLOSED: [(&str, &str, &str); 2] = [
    (
        "ID=bottlerocket",
        "Bottlerocket",
        "its root cannot be written to, and its containerd takes no other runtimes",
    ),
    (
        "ID=cos",
        "Container-Optimized OS",
        "/opt cannot be written to, and nothing on /var can be executed",
    ),
];

const ETC: &str = "/etc/containerd/config.toml";
const SOCKET: &str = "/run/containerd/containerd.sock";
/// k3s and RKE2 have one and the same.
const RANCHER_SOCKET: &str = "/run/k3s/containerd/containerd.sock";
/// Distributions with a containerd of their own that are not known, by something that only they have.
const UNKNOWN: [(&str, &str); 2] = [
    ("k0s", "/etc/k0s/containerd.toml"),
    (
        "MicroK8s",
        "/var/snap/microk8s/current/args/containerd.toml",
    ),
];

impl Preset {
    /// Returns where things are on this machine.
    pub(crate) fn places(self, host: &Host, said: Overrides) -> Result<Places, PresetError> {
        let preset = match self {
            Self::Auto if said.config.is_some() && said.socket.is_some() => Self::Containerd,
            Self::Auto => Self::detect(host)?,
            chosen => chosen,
        };
        let mut places = match preset {
            Self::K3s => rancher("k3s", &["k3s", "k3s-agent"]),
            Self::Rke2 => rancher("rke2", &["rke2-server", "rke2-agent"]),
            Self::Containerd | Self::Auto => Places {
                config: ETC.into(),
                generated: false,
                socket: SOCKET.into(),
                units: vec!["containerd".to_owned()],
            },
        };
        if let Some(config) = said.config {
            places.config = config;
        }
        if let Some(socket) = said.socket {
            places.socket = socket;
        }
        if let Some(unit) = said.unit {
            places.units = vec![unit];
        }
        Ok(places)
    }

    fn detect(host: &Host) -> Result<Self, PresetError> {
        let release = host.text(Path::new("/etc/os-release")).ok().flatten();
        let release = release.unwrap_or_default();
        let is = |id: &str| release.lines().any(|line| line == id);
        if is("ID=talos") {
            return Err(PresetError::Talos);
        }
        if let Some((_, found, reason)) = CLOSED.into_iter().find(|(id, ..)| is(id)) {
            return Err(PresetError::Closed { found, reason });
        }
        // A server of RKE2 may have been one of k3s before; a machine with either may have Docker's containerd, too.
        for (preset, name) in [(Self::Rke2, "rke2"), (Self::K3s, "k3s")] {
            if host.has(rancher(name, &[]).config) {
                return Ok(preset);
            }
        }
        if let Some((found, _)) = UNKNOWN.iter().find(|(_, file)| host.has(file)) {
            return Err(PresetError::Unknown { found });
        }
        if host.has(SOCKET) || host.has(ETC) {
            return Ok(Self::Containerd);
        }
        if host.has("/run/crio/crio.sock") {
            return Err(PresetError::CriO);
        }
        Err(PresetError::Nothing)
    }
}

fn rancher(name: &str, units: &[&str]) -> Places {
    Places {
        config: format!("/var/lib/rancher/{name}/agent/etc/containerd/config.toml").into(),
        generated: true,
        socket: RANCHER_SOCKET.into(),
        units: units.iter().map(|unit| (*unit).to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    fn detect(files: &[(&str, &str)]) -> Result<Preset, PresetError> {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Preset::detect(&Host::new(root.path()))
    }

    #[test]
    fn each_distribution_is_known_by_what_only_it_has() {
        let k3s = "var/lib/rancher/k3s/agent/etc/containerd/config.toml";
        assert_eq!(detect(&[(k3s, "")]).unwrap(), Preset::K3s);
        let docker = ("etc/containerd/config.toml", "disabled_plugins = [\"cri\"]");
        assert_eq!(detect(&[(k3s, ""), docker]).unwrap(), Preset::K3s);
        assert_eq!(detect(&[docker]).unwrap(), Preset::Containerd);
        let talos = detect(&[("etc/os-release", "NAME=Talos\nID=talos\n"), docker]).unwrap_err();
        assert!(talos.to_string().contains("system extension"), "{talos}");
        let cos = detect(&[("etc/os-release", "ID=cos\n"), docker]).unwrap_err();
        assert!(cos.to_string().contains("Container-Optimized OS"), "{cos}");
        let k0s = detect(&[("etc/k0s/containerd.toml", "")]).unwrap_err();
        assert!(k0s.to_string().starts_with("k0s is there"), "{k0s}");
        let crio = detect(&[("run/crio/crio.sock", "")]).unwrap_err();
        assert!(matches!(crio, PresetError::CriO));
        assert!(matches!(detect(&[]).unwrap_err(), PresetError::Nothing));
    }
}
