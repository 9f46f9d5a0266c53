//! The images that nodes start with: the sandbox's, the placeholder, and an ordinary one with a shell.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use fs_err as fs;
use serde_json::json;

use super::step::{Inputs, Steps};
use super::tools::Tools;
use crate::oci::{File, Image, Layer};

const PAUSE: &str = include_str!("pause.c");

/// Where a container's runtime mounts something, or where programs expect a folder.
pub(super) const FOLDERS: &[(&str, u32)] = &[
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("nix", 0o755),
    ("nix/store", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("var", 0o755),
    ("var/tmp", 0o1777),
];

/// Writes all images to `images`.
pub(super) fn bring(steps: &Steps, tools: &Tools) -> Result<()> {
    let inputs = Inputs::of_recipe(1)
        .with(PAUSE)
        .with(fs::read(tools.busybox())?);
    steps.run("images", inputs, |folder| {
        pause(steps, folder)?;
        placeholder(folder)?;
        busybox(tools, folder)
    })
}

fn pause(steps: &Steps, folder: &Path) -> Result<()> {
    let source = steps.scratch().join("pause.c");
    let program = steps.scratch().join("pause");
    fs::write(&source, PAUSE)?;
    let mut command = Command::new("cc");
    command
        .args(["-Os", "-static", "-s", "-o"])
        .args([&program, &source]);
    host::process::run(&mut command).context("a C compiler is needed, as Rust needs its linker")?;
    Image {
        names: &["nival.local/pause:1"],
        layers: &[Layer {
            files: &[File {
                path: "pause",
                mode: 0o755,
                content: &fs::read(program)?,
            }],
            ..Layer::default()
        }],
        config: json!({"Entrypoint": ["/pause"]}),
        ..Image::default()
    }
    .write(&folder.join("pause.tar"))
    .map(drop)
}

/// No programs and no command: both come from the environment.
fn placeholder(folder: &Path) -> Result<()> {
    let image = Image {
        names: &["nival.dev/placeholder:v1"],
        layers: &[Layer {
            folders: FOLDERS,
            ..Layer::default()
        }],
        config: json!({}),
        ..Image::default()
    };
    image.write(&folder.join("placeholder.tar")).map(drop)
}

/// Returns a link in `bin` for every program that busybox stands for.
pub(super) fn applets(busybox: &Path) -> Result<Vec<(String, &'static str)>> {
    let output = host::process::run(Command::new(busybox).arg("--list"))?;
    let applets = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(applets
        .lines()
        .filter(|applet| *applet != "busybox")
        .map(|applet| (format!("bin/{applet}"), "busybox"))
        .collect())
}

fn busybox(tools: &Tools, folder: &Path) -> Result<()> {
    Image {
        names: &["nival.local/busybox:1"],
        layers: &[Layer {
            folders: FOLDERS,
            files: &[
                File {
                    path: "bin/busybox",
                    mode: 0o755,
                    content: &fs::read(tools.busybox())?,
                },
                File {
                    path: "etc/passwd",
                    mode: 0o644,
                    content: b"root:x:0:0:root:/root:/bin/sh\n",
                },
                File {
                    path: "etc/group",
                    mode: 0o644,
                    content: b"root:x:0:\n",
                },
            ],
            links: &applets(&tools.busybox())?,
            ..Layer::default()
        }],
        config: json!({"Cmd": ["sh"], "Env": ["PATH=/bin"]}),
        ..Image::default()
    }
    .write(&folder.join("busybox.tar"))
    .map(drop)
}
