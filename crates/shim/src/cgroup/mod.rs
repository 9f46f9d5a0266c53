//! A container's control groups: where they are, and what they have used.

mod oom;
mod v1;
mod v2;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use protobuf::well_known_types::any::Any;

pub(crate) use oom::watch_out_of_memory;

use crate::any;

/// The control groups of a container, found when it is created: its processes may be gone later.
#[derive(Debug, Clone)]
pub(crate) enum Cgroup {
    /// One folder per controller.
    V1(BTreeMap<String, PathBuf>),
    V2(PathBuf),
}

impl Cgroup {
    /// Finds the control groups of a process.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        Ok(Self::find(&mounts, &groups))
    }

    fn find(mounts: &str, groups: &str) -> Self {
        let mut controllers = BTreeMap::new();
        let mut unified = None;
        for mount in mounts.lines().filter_map(Mount::parse) {
            for group in groups.lines() {
                let mut fields = group.splitn(3, ':').skip(1);
                let (Some(names), Some(path)) = (fields.next(), fields.next()) else {
                    continue;
                };
                if mount.kind == "cgroup2" && names.is_empty() {
                    unified.get_or_insert_with(|| mount.folder(path));
                }
                if mount.kind == "cgroup" {
                    for name in names.split(',').filter(|name| mount.has(name)) {
                        controllers
                            .entry(name.to_owned())
                            .or_insert_with(|| mount.folder(path));
                    }
                }
            }
        }
        // With both, as on machines in transition, the first kind has the controllers that matter.
        match unified {
            Some(path) if !controllers.contains_key("memory") => Self::V2(path),
            _ => Self::V1(controllers),
        }
    }

    /// Returns what the container has used, in the form that containerd reads.
    pub(crate) fn stats(&self) -> Option<Any> {
        let any = match self {
            Self::V1(controllers) => {
                any::pack("io.containerd.cgroups.v1", &v1::metrics(controllers))
            }
            Self::V2(path) => any::pack("io.containerd.cgroups.v2", &v2::metrics(path)),
        };
        any.ok()
    }

    /// Returns the folders that have the limits and processes of the container.
    pub(crate) fn folders(&self) -> Vec<&Path> {
        match self {
            Self::V1(controllers) => controllers.values().map(PathBuf::as_path).collect(),
            Self::V2(path) => vec![path],
        }
    }
}

struct Mount<'a> {
    kind: &'a str,
    root: &'a str,
    point: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// Parses a line of `mountinfo`.
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        let kind = after.next()?;
        Some(Self {
            kind,
            root: before.next()?,
            point: before.next()?,
            options: after.nth(1)?,
        })
    }

    fn has(&self, controller: &str) -> bool {
        self.options.split(',').any(|option| option == controller)
    }

    fn folder(&self, path: &str) -> PathBuf {
        // In a container of its own, the mount shows a part of the hierarchy alone.
        let path = match path.strip_prefix(self.root) {
            Some(rest) if self.root != "/" => rest,
            _ => path,
        };
        Path::new(self.point).join(path.trim_start_matches('/'))
    }
}

/// Puts a process into the control group that containerd's configuration names for shims.
pub(crate) fn join(pid: u32, path: &str) -> io::Result<()> {
    let own = Cgroup::find(
        &fs::read_to_string("/proc/self/mountinfo")?,
        &["cpu", "memory", "pids", ""]
            .map(|name| format!("0:{name}:{path}\n"))
            .concat(),
    );
    for folder in own.folders() {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("cgroup.procs"), pid.to_string())?;
    }
    Ok(())
}

/// Returns a file's number; 0 where the file or the number is missing, and the largest for "max".
fn number(folder: &Path, file: &str) -> u64 {
    let Ok(text) = fs::read_to_string(folder.join(file)) else {
        return 0;
    };
    match text.trim() {
        "max" => u64::MAX,
        text => text.parse().unwrap_or(0),
    }
}

/// Returns a file's lines of a name and a number.
fn table(folder: &Path, file: &str) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    });
    pairs.collect()
}

/// Returns the sizes of huge pages that a group counts, as in `hugetlb.2MB.current`. Those that are only reserved are
/// counted beside, with a dot more in their name.
fn page_sizes(folder: &Path, what: &str) -> Vec<String> {
    let mut sizes: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (size, rest) = name.strip_prefix("hugetlb.")?.split_once('.')?;
            (rest == what).then(|| size.to_owned())
        })
        .collect();
    sizes.sort_unstable();
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEPARATE: &str =
        "30 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
31 24 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 24 0:29 /sub /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
33 24 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn controllers_on_separate_mounts_are_all_found() {
        let groups = "4:memory:/k8s/a\n3:cpu,cpuacct:/k8s/a\n2:pids:/sub/k8s/a\n0::/k8s/b\n";
        let Cgroup::V1(controllers) = Cgroup::find(SEPARATE, groups) else {
            panic!("the memory controller is of the first kind");
        };
        let at = |name: &str| controllers[name].to_str().unwrap();
        assert_eq!(at("cpu"), "/sys/fs/cgroup/cpu,cpuacct/k8s/a");
        assert_eq!(at("cpuacct"), at("cpu"));
        assert_eq!(at("memory"), "/sys/fs/cgroup/memory/k8s/a");
        assert_eq!(at("pids"), "/sys/fs/cgroup/pids/k8s/a");
    }

    #[test]
    fn one_hierarchy_for_all_is_the_second_kind() {
        let mounts = "30 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
        let Cgroup::V2(path) = Cgroup::find(mounts, "0::/kubepods/x\n") else {
            panic!("there is one hierarchy");
        };
        assert_eq!(path, Path::new("/sys/fs/cgroup/kubepods/x"));
    }

    #[test]
    fn files_that_are_missing_or_unlimited_have_a_number() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("limit"), "max\n").unwrap();
        fs::write(folder.path().join("stat"), "a 1\nb 2\nbroken\n").unwrap();
        assert_eq!(number(folder.path(), "limit"), u64::MAX);
        assert_eq!(number(folder.path(), "absent"), 0);
        assert_eq!(table(folder.path(), "stat").len(), 2);
    }
}
