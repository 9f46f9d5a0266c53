//! Which containerd a node runs, and how Nival's shim is registered with it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::{Failure, setup};

/// A line of containerd's releases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Line {
    /// 1.7, which speaks task service 2 and configuration version 2.
    V1_7,
    /// 2.1.
    V2_1,
    /// 2.2.
    V2_2,
    /// 2.3, the first that starts a shim with a message on its standard input.
    V2_3,
    /// 2.4, which nodes run unless they are told otherwise.
    #[default]
    V2_4,
}

/// How a runtime handler names Nival's shim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Registration {
    /// As runc's type with a path of its own: options are containerd's message for runc.
    #[default]
    RuncType,
    /// As a type of its own, found on `PATH`: options are the CRI's generic message with a text in TOML.
    OwnType,
}

/// A runtime handler.
#[derive(Debug, Clone)]
pub struct Handler {
    /// Its name, which a pod's `runtimeClassName` leads to.
    pub name: &'static str,
    /// How the shim is named.
    pub registration: Registration,
    /// Lines of the handler's table of options.
    pub options: String,
}

impl Handler {
    /// Returns a handler with no options.
    #[must_use]
    pub fn new(name: &'static str, registration: Registration) -> Self {
        Self {
            name,
            registration,
            options: String::new(),
        }
    }

    /// Returns it with one more line of options.
    #[must_use]
    pub fn option(mut self, line: &str) -> Self {
        self.options.push_str(line);
        self.options.push('\n');
        self
    }
}

/// What of containerd a node has.
#[derive(Debug, Clone)]
pub struct Containerd {
    /// The daemon's line.
    pub line: Line,
    /// Its handlers beside `runc`.
    pub handlers: Vec<Handler>,
    /// Further files that it reads, as patterns.
    pub imports: Vec<&'static str>,
}

impl Containerd {
    /// Returns a containerd as a provider sets it up, without anything of Nival, and with a folder for drop-ins.
    #[must_use]
    pub fn plain(line: Line) -> Self {
        Self {
            line,
            handlers: Vec::new(),
            imports: vec!["/etc/containerd/conf.d/*.toml"],
        }
    }
}

impl Default for Containerd {
    fn default() -> Self {
        Self {
            line: Line::default(),
            handlers: vec![Handler::new("nival", Registration::default())],
            imports: Vec::new(),
        }
    }
}

/// Where containerd's two configuration versions keep the parts of the CRI.
struct Places {
    version: u8,
    images: &'static str,
    runtime: &'static str,
    /// The line with the sandbox's image, and its table below `images`.
    sandbox: &'static str,
    cni: &'static str,
}

const VERSION_2: Places = Places {
    version: 2,
    images: "plugins.'io.containerd.grpc.v1.cri'",
    runtime: "plugins.'io.containerd.grpc.v1.cri'",
    sandbox: "sandbox_image",
    cni: r#"bin_dir = "/opt/cni/bin""#,
};

const VERSION_3: Places = Places {
    version: 3,
    images: "plugins.'io.containerd.cri.v1.images'",
    runtime: "plugins.'io.containerd.cri.v1.runtime'",
    sandbox: "pinned_images.sandbox",
    cni: r#"bin_dirs = ["/opt/cni/bin"]"#,
};

impl Line {
    /// Returns the set-up's folder with the programs of this line; `None` means that every node has them.
    fn source(self) -> Option<PathBuf> {
        let name = match self {
            Self::V1_7 => "1.7",
            Self::V2_1 => "2.1",
            Self::V2_2 => "2.2",
            Self::V2_3 => "2.3",
            Self::V2_4 => return None,
        };
        Some(setup::dir().join("containerd").join(name))
    }

    /// Puts the programs where the node sees them, and returns that folder.
    pub(crate) fn place(self, shared: &Path) -> Result<PathBuf, Failure> {
        let Some(source) = self.source() else {
            return Ok(PathBuf::from("/opt/node/bin"));
        };
        lend(&source, &shared.join("containerd"))?;
        Ok(shared.join("containerd/bin"))
    }

    fn places(self) -> &'static Places {
        match self {
            Self::V1_7 => &VERSION_2,
            _ => &VERSION_3,
        }
    }
}

impl Containerd {
    /// Returns the text of the daemon's configuration. `programs` is the folder of its own programs.
    pub(crate) fn configuration(&self, programs: &Path, default_runtime: &str) -> String {
        let Places {
            version,
            images,
            runtime,
            sandbox,
            cni,
        } = self.line.places();
        let imports = if self.imports.is_empty() {
            String::new()
        } else {
            format!("imports = {:?}\n", self.imports)
        };
        let shim = programs.join("containerd-shim-runc-v2");
        let snapshotter = match self.line {
            Line::V1_7 => String::new(),
            _ => "snapshotter = \"overlayfs\"\n".to_owned(),
        };
        // Test machines often lack CAP_SYS_RESOURCE, and cannot lower the score of a process; real nodes can.
        let mut common = format!("{sandbox} = \"nival.local/pause:1\"\n{snapshotter}");
        let score = "restrict_oom_score_adj = true\n";
        if images == runtime {
            common.push_str(score);
        } else {
            common = format!("{common}[{runtime}]\n{score}");
        }
        let mut text = format!(
            r#"version = {version}
{imports}[{images}]
{common}[{images}.registry]
config_path = "/etc/containerd/certs.d"
[{runtime}.cni]
{cni}
conf_dir = "/etc/cni/net.d"
[{runtime}.containerd]
default_runtime_name = "{default_runtime}"
[{runtime}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
runtime_path = "{}"
"#,
            shim.display()
        );
        for handler in &self.handlers {
            let table = format!("{runtime}.containerd.runtimes.{}", handler.name);
            text.push_str(&handler_table(&table, handler));
        }
        text
    }
}

fn handler_table(table: &str, handler: &Handler) -> String {
    let kind = match handler.registration {
        Registration::RuncType => {
            "runtime_type = \"io.containerd.runc.v2\"\nruntime_path = \"/opt/nival/containerd-shim-nival-v2\""
        }
        Registration::OwnType => "runtime_type = \"io.containerd.nival.v2\"",
    };
    let patterns = r#"["nival.dev/*", "*.nival.dev/*"]"#;
    let mut text = format!(
        "[{table}]\n{kind}\npod_annotations = {patterns}\ncontainer_annotations = {patterns}\n"
    );
    if !handler.options.is_empty() {
        // Writing to a text does not fail.
        write!(text, "[{table}.options]\n{}", handler.options).ok();
    }
    text
}

/// Gives a node a copy of a folder of the set-up, which it does not see otherwise. Files are linked where they can be.
pub(crate) fn lend(source: &Path, target: &Path) -> Result<(), Failure> {
    fs::create_dir_all(target)?;
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let to = target.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            lend(&entry.path(), &to)?;
        } else if !to.exists() && fs::hard_link(entry.path(), &to).is_err() {
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_own_form_of_configuration() {
        let containerd = |line| Containerd {
            line,
            handlers: vec![
                Handler::new("nival", Registration::OwnType).option("BinaryName = \"crun\""),
            ],
            imports: vec!["/etc/more/*.toml"],
        };
        let old = containerd(Line::V1_7).configuration(Path::new("/p"), "runc");
        assert!(old.starts_with("version = 2\n"), "{old}");
        assert!(!old.contains("cri.v1.images"), "{old}");
        let new = containerd(Line::V2_1).configuration(Path::new("/p"), "runc");
        assert!(new.starts_with("version = 3\n"), "{new}");
        for text in [old, new] {
            assert!(text.contains("runtime_path = \"/p/containerd-shim-runc-v2\""));
            assert!(text.ends_with("runtimes.nival.options]\nBinaryName = \"crun\"\n"));
            assert!(text.contains("\nimports = [\"/etc/more/*.toml\"]\n["));
        }
    }
}
