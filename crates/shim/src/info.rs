//! `-info`: tells containerd what the runtime can do.

use std::io::{self, Read as _, Write as _};

use containerd_shim::protos::types::introspection::{RuntimeInfo, RuntimeVersion};
use protobuf::Message as _;
use protobuf::well_known_types::any::Any;

use crate::options::RuntimeOptions;
use crate::runtime;

const LARGEST_INPUT: u64 = 10 << 20;
/// How containerd names the OCI runtime's list of features in a message.
const FEATURES: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";
/// containerd asks this type, and no other, for its features.
const NAME: &str = "io.containerd.runc.v2";

/// Answers `-info`: the kubelet refuses user namespaces and recursive read-only mounts to a runtime that does not
/// tell that it has them.
pub(crate) fn info() -> io::Result<()> {
    let mut input = Vec::new();
    io::stdin()
        .lock()
        .take(LARGEST_INPUT)
        .read_to_end(&mut input)?;
    let asked = Any::parse_from_bytes(&input)
        .ok()
        .filter(|any| !any.type_url.is_empty());
    let options = asked
        .as_ref()
        .and_then(|any| RuntimeOptions::decode(any).ok());
    let options = options.unwrap_or_default();
    let run = runtime::run_once(&options, "info", &["features"]);
    let features = run.ok().filter(|run| run.status.success()).map(|run| Any {
        type_url: FEATURES.to_owned(),
        value: run.stdout,
        ..Any::default()
    });
    let info = RuntimeInfo {
        name: NAME.to_owned(),
        version: Some(RuntimeVersion {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..RuntimeVersion::default()
        })
        .into(),
        options: asked.into(),
        features: features.into(),
        ..RuntimeInfo::default()
    };
    io::stdout().write_all(&info.write_to_bytes()?)
}
