//! Runtime options, in each of the forms that containerd hands them over.

use std::path::{Path, PathBuf};

use containerd_shim::api::Options;
use fs_err as fs;
use protobuf::well_known_types::any::Any;
use protobuf::{CodedInputStream, Message as _};
use serde::{Deserialize, Serialize};

use crate::any;

/// Beside the container's other files, so that `delete` finds them when the shim is gone.
const FILE: &str = "nival-options.json";
/// What holds for the whole node.
const NODE_FILE: &str = "/etc/nival/shim.toml";
const LARGEST_BODY: usize = 1 << 20;

/// Why options cannot be understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    #[error("runtime options of type {type_url:?} cannot be decoded")]
    Decode {
        type_url: String,
        #[source]
        source: protobuf::Error,
    },
    #[error("the runtime's options in containerd's configuration are not valid")]
    Body {
        #[source]
        source: toml::de::Error,
    },
    #[error("the runtime's options are larger than {LARGEST_BODY} bytes")]
    TooLarge,
    #[error("{path} is not valid")]
    File {
        path: PathBuf,
        #[source]
        source: toml::de::Error,
    },
}

/// What containerd's configuration says about how containers run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RuntimeOptions {
    pub(crate) binary_name: String,
    pub(crate) root: String,
    pub(crate) systemd_cgroup: bool,
    pub(crate) no_pivot_root: bool,
    pub(crate) no_new_keyring: bool,
    pub(crate) shim_cgroup: String,
    pub(crate) io_uid: u32,
    pub(crate) io_gid: u32,
    /// The agent's socket; empty means the node's setting.
    pub(crate) agent_socket: String,
}

impl RuntimeOptions {
    /// Decodes options of either type; a type that the shim does not know counts as none.
    pub(crate) fn decode(any: &Any) -> Result<Self, OptionsError> {
        let failed = |source| OptionsError::Decode {
            type_url: any.type_url.chars().take(100).collect(),
            source,
        };
        if any::is(any, "containerd.runc.v1.Options") {
            let options = Options::parse_from_bytes(&any.value).map_err(failed)?;
            return Ok(options.into());
        }
        // The CRI sends this to runtime types that it does not know.
        if any::is(any, "runtimeoptions.v1.Options") {
            if any.value.len() > LARGEST_BODY {
                return Err(OptionsError::TooLarge);
            }
            let body = config_body(&any.value).map_err(failed)?;
            return toml::from_slice(&body).map_err(|source| OptionsError::Body { source });
        }
        Ok(Self::default())
    }

    /// The OCI runtime's program.
    pub(crate) fn binary(&self) -> &str {
        if self.binary_name.is_empty() {
            "runc"
        } else {
            &self.binary_name
        }
    }

    /// Keeps the options in a bundle.
    pub(crate) fn save(&self, bundle: &Path) -> std::io::Result<()> {
        let bytes = serde_json::to_vec(self).map_err(std::io::Error::other)?;
        fs::write(bundle.join(FILE), bytes)
    }

    /// Returns a bundle's options, or the defaults where none were kept.
    pub(crate) fn load(bundle: &Path) -> Self {
        fs::read(bundle.join(FILE))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }
}

impl From<Options> for RuntimeOptions {
    fn from(options: Options) -> Self {
        Self {
            binary_name: options.binary_name,
            root: options.root,
            systemd_cgroup: options.systemd_cgroup,
            no_pivot_root: options.no_pivot_root,
            no_new_keyring: options.no_new_keyring,
            shim_cgroup: options.shim_cgroup,
            io_uid: options.io_uid,
            io_gid: options.io_gid,
            agent_socket: String::new(),
        }
    }
}

/// Returns field 3 of `runtimeoptions.v1.Options { type_url, config_path, config_body }`.
fn config_body(bytes: &[u8]) -> Result<Vec<u8>, protobuf::Error> {
    const CONFIG_BODY: u32 = 3 << 3 | 2;
    let mut input = CodedInputStream::from_bytes(bytes);
    let mut body = Vec::new();
    while let Some(tag) = input.read_raw_tag_or_eof()? {
        if tag == CONFIG_BODY {
            body = input.read_bytes()?;
        } else {
            let (_field, wire_type) = protobuf::rt::WireType::new(tag & 7)
                .map(|wire_type| (tag >> 3, wire_type))
                .ok_or_else(|| std::io::Error::other("unknown wire type"))?;
            input.skip_field(wire_type)?;
        }
    }
    Ok(body)
}

/// Settings of the node, which hold whatever containerd's configuration leaves open.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
struct NodeSettings {
    agent_socket: String,
}

/// Returns the agent's socket: the runtime's option, else the node's setting, else the default.
pub(crate) fn agent_socket(options: &RuntimeOptions) -> Result<PathBuf, OptionsError> {
    agent_socket_from(options, Path::new(NODE_FILE))
}

fn agent_socket_from(options: &RuntimeOptions, file: &Path) -> Result<PathBuf, OptionsError> {
    if !options.agent_socket.is_empty() {
        return Ok(PathBuf::from(&options.agent_socket));
    }
    // A file that cannot be read is as good as none: most nodes have none.
    if let Ok(text) = fs::read_to_string(file) {
        let settings: NodeSettings =
            toml::from_str(&text).map_err(|source| OptionsError::File {
                path: file.to_owned(),
                source,
            })?;
        if !settings.agent_socket.is_empty() {
            return Ok(settings.agent_socket.into());
        }
    }
    Ok(api::agent::DEFAULT_SOCKET.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(type_url: &str, value: Vec<u8>) -> Any {
        Any {
            type_url: type_url.into(),
            value,
            ..Any::default()
        }
    }

    #[test]
    fn runcs_own_options_are_taken_over() {
        let options = Options {
            binary_name: "crun".into(),
            systemd_cgroup: true,
            io_uid: 7,
            ..Options::default()
        };
        let any = any(
            "containerd.runc.v1.Options",
            options.write_to_bytes().unwrap(),
        );
        let decoded = RuntimeOptions::decode(&any).unwrap();
        assert_eq!(
            (decoded.binary(), decoded.systemd_cgroup, decoded.io_uid),
            ("crun", true, 7)
        );
    }

    #[test]
    fn a_table_of_containerds_configuration_arrives_as_toml() {
        let body = b"AgentSocket = \"/run/x.sock\"\nBinaryName = \"crun\"\nUnknown = 1\n";
        // Field 1 with a text, then field 3 with the body.
        let mut value = vec![0x0a, 1, b'x', 0x1a, u8::try_from(body.len()).unwrap()];
        value.extend_from_slice(body);
        let any = any("type.example/runtimeoptions.v1.Options", value);
        let decoded = RuntimeOptions::decode(&any).unwrap();
        assert_eq!(
            (decoded.binary(), decoded.agent_socket.as_str()),
            ("crun", "/run/x.sock")
        );
    }

    #[test]
    fn broken_options_are_refused_and_unknown_types_ignored() {
        let broken = any("runtimeoptions.v1.Options", vec![0x1a, 200, 1]);
        assert!(RuntimeOptions::decode(&broken).is_err());
        let unknown = any("some.other.Options", vec![1, 2, 3]);
        assert_eq!(
            RuntimeOptions::decode(&unknown).unwrap(),
            RuntimeOptions::default()
        );
    }

    #[test]
    fn the_agents_socket_comes_from_option_file_or_default() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shim.toml");
        let mut options = RuntimeOptions::default();
        let socket = |options: &RuntimeOptions| agent_socket_from(options, &file);
        assert_eq!(
            socket(&options).unwrap(),
            Path::new(api::agent::DEFAULT_SOCKET)
        );
        fs::write(&file, "AgentSocket = \"/run/node.sock\"").unwrap();
        assert_eq!(socket(&options).unwrap(), Path::new("/run/node.sock"));
        options.agent_socket = "/run/option.sock".into();
        assert_eq!(socket(&options).unwrap(), Path::new("/run/option.sock"));
        options.agent_socket.clear();
        fs::write(&file, "AgentSoket = 1").unwrap();
        assert!(socket(&options).is_err());
    }

    #[test]
    fn options_survive_in_the_bundle() {
        let folder = tempfile::tempdir().unwrap();
        let options = RuntimeOptions {
            root: "/r".into(),
            ..RuntimeOptions::default()
        };
        options.save(folder.path()).unwrap();
        assert_eq!(RuntimeOptions::load(folder.path()), options);
    }
}
