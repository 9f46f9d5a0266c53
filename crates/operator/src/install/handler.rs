//! The runtime handler as it is registered: Nival's shim, with what the machine's own handler for runc is set to.

use toml::{Table, Value};
use workload::names::RUNTIME_CLASS;

/// Where containerd finds the shim, whatever version is installed.
pub(crate) const SHIM: &str = "/opt/nival/bin/containerd-shim-nival-v2";
/// Asked for by this type, containerd tells the kubelet what runc can do.
const TYPE: &str = "io.containerd.runc.v2";
/// Which annotations of pods the shim gets to see.
const ANNOTATIONS: [&str; 2] = ["nival.dev/*", "*.nival.dev/*"];
/// Settings that hold for the containers and not for the shim that runs them.
const SHARED: [&str; 7] = [
    "base_runtime_spec",
    "cgroup_writable",
    "cni_conf_dir",
    "cni_max_conf_num",
    "privileged_without_host_devices",
    "privileged_without_host_devices_all_devices_allowed",
    "snapshotter",
];
/// Options of runc's shim that Nival's shim has, too.
const OPTIONS: [&str; 8] = [
    "BinaryName",
    "IoGid",
    "IoUid",
    "NoNewKeyring",
    "NoPivotRoot",
    "Root",
    "ShimCgroup",
    "SystemdCgroup",
];

/// Returns the handler's table, made from the CRI's table of handlers.
pub(crate) fn wanted(containerd: &Table) -> Table {
    let runtime = |name: &str| containerd.get("runtimes")?.get(name)?.as_table();
    let default = containerd
        .get("default_runtime_name")
        .and_then(Value::as_str);
    let runc = runtime("runc");
    // Images for machines with devices of their own name the handler after them, and have none called runc.
    let model = runc.or_else(|| runtime(default?));
    let mut table = Table::new();
    table.insert("runtime_type".to_owned(), TYPE.into());
    table.insert("runtime_path".to_owned(), SHIM.into());
    for key in ["pod_annotations", "container_annotations"] {
        let own = model.and_then(|model| model.get(key)?.as_array());
        let own = own.into_iter().flatten().filter_map(Value::as_str);
        let mut patterns: Vec<&str> = own.collect();
        patterns.retain(|pattern| !ANNOTATIONS.contains(pattern));
        patterns.extend(ANNOTATIONS);
        table.insert(key.to_owned(), patterns.into());
    }
    let Some(model) = model else {
        return table;
    };
    for key in SHARED {
        if let Some(value) = model.get(key).filter(|value| !is_empty(value)) {
            table.insert(key.to_owned(), value.clone());
        }
    }
    let options = options(model, runc.is_some());
    if !options.is_empty() {
        table.insert("options".to_owned(), options.into());
    }
    table
}

fn options(model: &Table, is_runc: bool) -> Table {
    let mut options = Table::new();
    let Some(given) = model.get("options").and_then(Value::as_table) else {
        return options;
    };
    let same_type = model.get("runtime_type").and_then(Value::as_str) == Some(TYPE);
    for key in OPTIONS {
        let fits = match key {
            // Both sides must agree on who makes control groups, whatever runs the other pods.
            "SystemdCgroup" => true,
            // The program of another handler adds devices, which pods in environments get by CDI.
            "BinaryName" => same_type && is_runc,
            _ => same_type,
        };
        if let Some(value) = given.get(key).filter(|value| fits && !is_empty(value)) {
            options.insert(key.to_owned(), value.clone());
        }
    }
    options
}

/// Tells whether a value is the one that holds where nothing is written.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Integer(number) => *number == 0,
        Value::Boolean(yes) => !yes,
        _ => false,
    }
}

/// Tells whether a handler that is registered is as wanted. Settings that were added to it are nobody's mistake.
pub(crate) fn is_as_wanted(containerd: &Table, wanted: &Table) -> bool {
    let found = containerd
        .get("runtimes")
        .and_then(|runtimes| runtimes.get(RUNTIME_CLASS)?.as_table());
    found.is_some_and(|found| covers(found, wanted))
}

fn covers(found: &Table, wanted: &Table) -> bool {
    wanted
        .iter()
        .all(|(key, value)| match (found.get(key), value) {
            (Some(Value::Table(found)), Value::Table(wanted)) => covers(found, wanted),
            (Some(found), wanted) => found == wanted,
            (None, _) => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Table {
        wanted(&text.parse().unwrap())
    }

    #[test]
    fn what_runc_is_set_to_holds_for_nival() {
        let table = of(
            "[runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\nruntime_path = \"/x\"\nsandboxer = \"podsandbox\"\n\
             base_runtime_spec = \"/etc/spec.json\"\nsnapshotter = \"\"\n\
             [runtimes.runc.options]\nBinaryName = \"/usr/bin/runc\"\nSystemdCgroup = true\nRoot = \"\"\nCriuPath = \"/c\"\n",
        );
        assert_eq!(table["runtime_path"].as_str(), Some(SHIM));
        assert_eq!(table["base_runtime_spec"].as_str(), Some("/etc/spec.json"));
        assert!(!table.contains_key("sandboxer") && !table.contains_key("snapshotter"));
        let options = "BinaryName = \"/usr/bin/runc\"\nSystemdCgroup = true\n".parse();
        assert_eq!(table["options"].as_table(), options.ok().as_ref());
    }

    #[test]
    fn where_there_is_no_runc_the_default_says_who_makes_control_groups() {
        let table = of(
            "default_runtime_name = \"nvidia\"\n[runtimes.nvidia]\nruntime_type = \"io.containerd.runc.v2\"\n\
             container_annotations = [\"cdi.k8s.io/*\"]\n\
             [runtimes.nvidia.options]\nBinaryName = \"/usr/bin/nvidia-container-runtime\"\nSystemdCgroup = true\n",
        );
        let options = "SystemdCgroup = true\n".parse();
        assert_eq!(table["options"].as_table(), options.ok().as_ref());
        let patterns = ["cdi.k8s.io/*", "nival.dev/*", "*.nival.dev/*"];
        assert_eq!(
            table["container_annotations"],
            Value::from(patterns.to_vec())
        );
    }

    #[test]
    fn containerds_defaults_need_nothing_more() {
        let table = of("");
        assert!(!table.contains_key("options"));
        assert!(!is_as_wanted(&Table::new(), &table));
        let registered = toml::toml! {
            [runtimes.nival]
            runtime_type = "io.containerd.runc.v2"
            runtime_path = "/opt/nival/bin/containerd-shim-nival-v2"
            pod_annotations = ["nival.dev/*", "*.nival.dev/*"]
            container_annotations = ["nival.dev/*", "*.nival.dev/*"]
            cgroup_writable = true
        };
        assert!(is_as_wanted(&registered, &table));
    }
}
