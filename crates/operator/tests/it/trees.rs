//! The installer on the configuration of each distribution, judged by what real containerds make of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use testkit::{Failure, Kind, Machine, World, require, setup};
use toml::{Table, Value};

const SHIM: &str = "/opt/nival/bin/containerd-shim-nival-v2";
/// What a template of k3s says to get what it would be without it.
const BASE: &str = "{{ template \"base\" . }}";

/// A real containerd.
struct Line {
    name: &'static str,
    version: &'static str,
}

const V1_7: Line = Line {
    name: "1.7",
    version: "1.7.24",
};
const V2_1: Line = Line {
    name: "2.1",
    version: "2.1.9",
};
const V2_4: Line = Line {
    name: "2.4",
    version: "2.4.2",
};

/// A machine on which one tree after the other is put.
struct Ground {
    machine: Machine,
    operator: PathBuf,
}

impl Ground {
    fn new(world: &World) -> Result<Self, Failure> {
        let machine = world.machine(Kind::Node, "ground")?;
        // Programs of tests are there, and nothing can be installed over them.
        machine.shell("umount /opt/nival 2>/dev/null || true")?;
        let shared = machine.shared();
        for (line, source) in [
            (&V1_7, setup::dir().join("containerd/1.7/bin/containerd")),
            (&V2_1, setup::dir().join("containerd/2.1/bin/containerd")),
            (&V2_4, setup::node_bin().join("containerd")),
        ] {
            fs::copy(source, shared.join(format!("containerd-{}", line.name)))?;
        }
        let operator = shared.join("nival-operator");
        fs::copy(env!("CARGO_BIN_EXE_nival-operator"), &operator)?;
        Ok(Self { machine, operator })
    }

    fn containerd(&self, line: &Line) -> String {
        let program = format!("containerd-{}", line.name);
        self.machine.shared().join(program).display().to_string()
    }

    /// Puts a tree on the machine in place of all that was there.
    fn plant(&self, tree: &Path) -> Result<(), Failure> {
        let staged = self.machine.shared().join("tree");
        if staged.exists() {
            fs::remove_dir_all(&staged)?;
        }
        host::process::run(Command::new("cp").arg("-a").arg(tree).arg(&staged))?;
        self.clear()?;
        self.machine
            .shell(&format!("cp -a {}/. /", staged.display()))
            .map(drop)
    }

    fn clear(&self) -> Result<(), Failure> {
        let script = "rm -rf /etc/containerd /var/lib/rancher /opt/nival; \
                      mkdir -p /run/containerd; touch /run/containerd/containerd.sock";
        self.machine.shell(script).map(drop)
    }

    fn files(&self) -> Result<String, Failure> {
        self.machine.shell(
            "for folder in /etc/containerd /var/lib/rancher /opt/nival; do \
               if [ -e $folder ]; then find $folder -type f -exec sha256sum {} + ; find $folder -printf '%p %y %m %l\\n'; fi; \
             done | sort",
        )
    }

    fn install(&self, line: &Line, more: &[&str]) -> Result<String, Failure> {
        let shim = "--shim=/bin/sleep";
        let version = format!("--containerd-version={}", line.version);
        let operator = self.operator.display().to_string();
        let mut command = self.machine.command(&operator)?;
        command.args(["install", "--restart=none", shim, &version]);
        let output = host::process::run(command.args(more))?;
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Does what k3s does when it starts: fills in a template.
    fn render(&self, config: &str, base: &str) -> Result<(), Failure> {
        let folder = Path::new(config).parent().expect("it is a file");
        for template in ["config-v3.toml.tmpl", "config.toml.tmpl"] {
            let template = folder.join(template).display().to_string();
            if let Ok(text) = self.machine.shell(&format!("cat {template}")) {
                return self.machine.write(config, &text.replace(BASE, base));
            }
        }
        self.machine.write(config, base)
    }

    /// Returns what a containerd makes of the configuration.
    fn dump(&self, line: &Line, config: &str) -> Result<Table, Failure> {
        let program = self.containerd(line);
        // Where there is none, containerd's defaults hold; 1.7 dumps those for no file that is missing.
        let script = format!(
            "file={config}; if [ ! -e $file ]; then file=/tmp/none; echo 'version = 2' >$file; fi; \
             {program} --config $file config dump"
        );
        let text = self.machine.shell(&script)?;
        let mut table: Table = text
            .parse()
            .map_err(|error| Failure::Text(format!("{error}: {text}")))?;
        // Where things come from is no setting, and an option that is empty is the same as one that is not there.
        table.remove("imports");
        drop_empty(&mut table);
        Ok(table)
    }

    /// Installs on what is planted, and judges it.
    fn judge(&self, line: &Line, config: &str) -> Result<Table, Failure> {
        let generated = config.contains("rancher");
        let read = |path: &str| self.machine.shell(&format!("cat {path}"));
        let template = read(&config.replace("config.toml", "config-v3.toml.tmpl"));
        let template =
            template.or_else(|_| read(&config.replace("config.toml", "config.toml.tmpl")));
        let rendered = if generated {
            read(config)?
        } else {
            String::new()
        };
        // What the distribution says by itself, without what a template that is there adds.
        let added = template
            .map(|text| text.replace(BASE, ""))
            .unwrap_or_default();
        let base = rendered.strip_suffix(&added).unwrap_or(&rendered);
        let planted = self.files()?;
        let before = self.dump(line, config)?;

        self.install(line, &[])?;
        if generated {
            self.render(config, base)?;
        }
        let installed = self.files()?;
        let mut after = self.dump(line, config)?;
        let handler = take_handler(&mut after);
        assert_eq!(after, before, "every other key is as it was");

        let talk = self.install(line, &[])?;
        assert_eq!(self.files()?, installed, "{talk}");
        assert!(!talk.contains("has to be restarted"), "{talk}");

        self.install(line, &["--remove"])?;
        if generated {
            self.render(config, base)?;
        }
        assert_eq!(self.files()?, planted, "all is as it was, to the byte");
        handler.ok_or_else(|| Failure::Text("containerd has no handler nival".to_owned()))
    }
}

fn drop_empty(table: &mut Table) {
    table.retain(|_, value| {
        if let Value::Table(inner) = value {
            drop_empty(inner);
        }
        match value {
            Value::Table(inner) => !inner.is_empty(),
            Value::Array(inner) => !inner.is_empty(),
            Value::String(text) => !text.is_empty(),
            Value::Integer(number) => *number != 0,
            Value::Boolean(yes) => *yes,
            _ => true,
        }
    });
}

/// Takes Nival's handler out of what containerd said.
fn take_handler(table: &mut Table) -> Option<Table> {
    let plugins = table.get_mut("plugins")?.as_table_mut()?;
    for plugin in ["io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"] {
        let runtimes = plugins
            .get_mut(plugin)
            .and_then(|plugin| plugin.get_mut("containerd"))
            .and_then(|containerd| containerd.get_mut("runtimes"))
            .and_then(Value::as_table_mut);
        if let Some(Value::Table(handler)) = runtimes.and_then(|all| all.remove("nival")) {
            return Some(handler);
        }
    }
    None
}

fn option<'a>(handler: &'a Table, name: &str) -> Option<&'a Value> {
    handler.get("options")?.get(name)
}

fn check_handler(handler: &Table) {
    let text = |key: &str| handler.get(key).and_then(Value::as_str);
    assert_eq!(text("runtime_type"), Some("io.containerd.runc.v2"));
    assert_eq!(text("runtime_path"), Some(SHIM));
    for key in ["pod_annotations", "container_annotations"] {
        let patterns = Value::from(vec!["nival.dev/*", "*.nival.dev/*"]);
        assert_eq!(handler.get(key), Some(&patterns));
    }
}

#[test]
fn each_distributions_configuration_gets_the_handler_and_is_given_back() {
    require!(root, setup);
    all().unwrap();
}

fn all() -> Result<(), Failure> {
    let world = World::new()?;
    let ground = Ground::new(&world)?;
    let trees = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees");
    let mut judged = 0;
    for distribution in fs::read_dir(&trees)? {
        let distribution = distribution?.path();
        assert!(distribution.join("README.md").is_file(), "{distribution:?}");
        for tree in fs::read_dir(&distribution)? {
            let tree = tree?.path();
            if !tree.is_dir() {
                continue;
            }
            let name = distribution.file_name().and_then(|name| name.to_str());
            let config = match name.unwrap_or_default() {
                rancher @ ("k3s" | "rke2") => {
                    format!("/var/lib/rancher/{rancher}/agent/etc/containerd/config.toml")
                }
                _ => "/etc/containerd/config.toml".to_owned(),
            };
            let old = tree.ends_with("1.7");
            let lines: &[&Line] = if old { &[&V1_7] } else { &[&V2_1, &V2_4] };
            for line in lines {
                ground.plant(&tree)?;
                let handler = ground.judge(line, &config)?;
                check_handler(&handler);
                if name != Some("kind") {
                    assert_eq!(option(&handler, "SystemdCgroup"), Some(&true.into()));
                }
                judged += 1;
            }
        }
    }
    assert!(judged >= 20, "{judged}");
    Ok(())
}

#[test]
fn a_toolkit_that_copies_everything_keeps_the_handler_and_loses_it_with_nival() {
    require!(root, setup);
    copied().unwrap();
}

/// NVIDIA's toolkit writes its file anew from all that containerd has.
fn copied() -> Result<(), Failure> {
    let world = World::new()?;
    let ground = Ground::new(&world)?;
    let config = "/etc/containerd/config.toml";
    let trees = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees/nvidia");
    for (line, tree, plugin) in [
        (&V1_7, "1.7", "io.containerd.grpc.v1.cri"),
        (&V2_1, "2", "io.containerd.cri.v1.runtime"),
    ] {
        ground.plant(&trees.join(tree))?;
        let before = ground.dump(line, config)?;
        ground.install(line, &[])?;
        let installed = ground.dump(line, config)?;
        let section = installed["plugins"][plugin].clone();
        let plugins = Table::from_iter([(plugin.to_owned(), section)]);
        let mut copy = Table::new();
        copy.insert("version".to_owned(), installed["version"].clone());
        copy.insert("plugins".to_owned(), plugins.into());
        let text = copy.to_string();
        ground
            .machine
            .write("/etc/containerd/conf.d/99-nvidia.toml", &text)?;
        let mut after = ground.dump(line, config)?;
        check_handler(&take_handler(&mut after).expect("it is copied"));

        let files = ground.files()?;
        ground.install(line, &[])?;
        assert_eq!(ground.files()?, files, "everything is in place");

        ground.install(line, &["--remove"])?;
        let mut left = ground.dump(line, config)?;
        assert_eq!(take_handler(&mut left), None);
        assert_eq!(left, before);
    }
    Ok(())
}

#[test]
fn what_containerd_itself_writes_gets_the_handler_and_is_given_back() {
    require!(root, setup);
    stock().unwrap();
}

fn stock() -> Result<(), Failure> {
    let world = World::new()?;
    let ground = Ground::new(&world)?;
    let config = "/etc/containerd/config.toml";
    for line in [&V1_7, &V2_1, &V2_4] {
        // As kubeadm's documentation has it.
        ground.clear()?;
        let program = ground.containerd(line);
        ground.machine.shell(&format!(
            "mkdir -p /etc/containerd; {program} config default | \
             sed 's/SystemdCgroup = false/SystemdCgroup = true/' >{config}"
        ))?;
        let handler = ground.judge(line, config)?;
        check_handler(&handler);
        assert_eq!(option(&handler, "SystemdCgroup"), Some(&true.into()));

        // Passwords for registries may stand in it.
        ground.machine.shell(&format!("chmod 600 {config}"))?;
        check_handler(&ground.judge(line, config)?);

        // With nothing at all: containerd's defaults hold, with the handler beside them.
        ground.clear()?;
        ground.machine.shell("mkdir -p /etc/containerd")?;
        check_handler(&ground.judge(line, config)?);
    }
    Ok(())
}
