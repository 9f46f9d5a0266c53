//! Kubernetes' own end-to-end suite, and makeshift images with the programs that its specs for nodes need.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::Result;
use fs_err as fs;
use serde_json::{Value, json};

use super::apt::Apt;
use super::go::{self, Programs};
use super::images::{FOLDERS, applets};
use super::kubernetes::{LINKER, MODULE, SUMS};
use super::step::{Inputs, Steps};
use super::tools::Tools;
use crate::oci::{File, Image, Layer};

/// The suite's parallel runner; the suite itself is a test program.
const RUNNER: Programs = Programs {
    module: MODULE,
    sums: SUMS,
    packages: &["github.com/onsi/ginkgo/v2/ginkgo"],
    tags: "",
    linker: LINKER,
};

/// The suite compares a message of busybox word by word, and only Debian's newest says it so.
const BUSYBOX_SUITE: &str = "sid";

/// Stands in for curl, of which the specs want no more than a page.
const CURL: &str = "#!/bin/sh
for argument; do
  case $argument in http*) exec busybox wget -q -O - \"$argument\" ;; esac
done
exit 2
";

const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n";
const GROUP: &str = "root:x:0:\n";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Brings the suite (`e2e/bin`), the images (`conformance/images`), and the same programs as folders that become store
/// paths (`conformance/programs`).
pub(super) fn bring(steps: &Steps, tools: &Tools) -> Result<()> {
    steps.run("e2e", RUNNER.inputs(Inputs::of_recipe(1)), |folder| {
        let bin = folder.join("bin");
        fs::create_dir(&bin)?;
        let go = go::toolchain(steps, tools)?;
        RUNNER.build(&go, steps, tools, &bin)?;
        let suite = bin.join("e2e.test");
        RUNNER.build_test("k8s.io/kubernetes/test/e2e", &go, steps, &suite)
    })?;
    let inputs = Inputs::of_recipe(2).with(BUSYBOX_SUITE);
    steps.run("busybox-newest", inputs, |folder| {
        let apt = Apt::open(&steps.scratch(), BUSYBOX_SUITE, &tools.keyring())?;
        let packages = apt.describe(&["busybox-static"])?;
        let unpacked = apt.unpack(&steps.scratch(), packages.values())?;
        fs::copy(
            unpacked.path().join("usr/bin/busybox"),
            folder.join("busybox"),
        )?;
        Ok(())
    })?;
    let busybox = steps.setup().join("busybox-newest/busybox");
    let programs = [
        fs::read(&busybox)?,
        fs::read(steps.setup().join("workloads/agnhost"))?,
        fs::read(steps.setup().join("workloads/nonewprivs"))?,
    ];
    let inputs = programs
        .iter()
        .fold(Inputs::of_recipe(2), |inputs, program| inputs.with(program));
    steps.run("conformance", inputs, |folder| {
        let [shell, agnhost, no_new_privileges] = &programs;
        let links = applets(&busybox)?;
        let images = folder.join("images");
        fs::create_dir(&images)?;
        write_images(&images, shell, agnhost, no_new_privileges, &links)?;
        write_programs(&folder.join("programs"), shell, agnhost, &links)
    })
}

fn write_images(
    folder: &Path,
    shell: &[u8],
    agnhost: &[u8],
    no_new_privileges: &[u8],
    links: &[(String, &str)],
) -> Result<()> {
    let write = |name: &str, names: &[&str], more: &[File<'_>], config: &[(&str, Value)]| {
        let mut files = vec![
            file("bin/busybox", 0o755, shell),
            file("etc/passwd", 0o644, PASSWD.as_bytes()),
            file("etc/group", 0o644, GROUP.as_bytes()),
        ];
        files.extend_from_slice(more);
        let mut own = json!({"Env": [PATH]});
        config
            .iter()
            .for_each(|(key, value)| own[*key] = value.clone());
        // Another name that some specs start it by.
        let second = ("agnhost-2".to_owned(), "agnhost");
        let links = [links, std::slice::from_ref(&second)].concat();
        Image {
            names,
            layers: &[Layer {
                folders: FOLDERS,
                files: &files,
                links: &links,
                ..Layer::default()
            }],
            config: own,
            ..Image::default()
        }
        .write(&folder.join(format!("{name}.tar")))
        .map(drop)
    };
    let server = [
        file("agnhost", 0o755, agnhost),
        file("usr/bin/curl", 0o755, CURL.as_bytes()),
    ];
    let nnp = [file("usr/local/bin/nnp", 0o6755, no_new_privileges)];
    let e2e = "registry.k8s.io/e2e-test-images";
    write(
        "busybox",
        &[&format!("{e2e}/busybox:1.37.0-1")],
        &[],
        &[("Cmd", json!(["sh"]))],
    )?;
    write(
        "agnhost",
        &[
            &format!("{e2e}/agnhost:2.63.0"),
            &format!("{e2e}/agnhost:2.55"),
        ],
        &server,
        &[
            ("Entrypoint", json!(["/agnhost"])),
            ("Cmd", json!(["pause"])),
        ],
    )?;
    write(
        "nginx",
        &[
            &format!("{e2e}/nginx:1.15-4"),
            &format!("{e2e}/nginx:1.27-0"),
        ],
        &server,
        &[
            ("Entrypoint", json!(["/agnhost"])),
            ("Cmd", json!(["netexec", "--http-port=80"])),
        ],
    )?;
    write(
        "nonroot",
        &[&format!("{e2e}/nonroot:1.5")],
        &[],
        &[
            ("User", json!("1234")),
            ("Cmd", json!(["/bin/sleep", "1000"])),
        ],
    )?;
    write(
        "nonewprivs",
        &[&format!("{e2e}/nonewprivs:1.4")],
        &nnp,
        &[("Cmd", json!(["nnp"]))],
    )?;
    write(
        "pause",
        &["registry.k8s.io/pause:3.10.2"],
        &[],
        &[("Cmd", json!(["/bin/sleep", "1000000000"]))],
    )
}

fn file<'a>(path: &'a str, mode: u32, content: &'a [u8]) -> File<'a> {
    File {
        path,
        mode,
        content,
    }
}

/// Folders that can be added to a Nix store as they are.
fn write_programs(
    folder: &Path,
    shell: &[u8],
    agnhost: &[u8],
    links: &[(String, &str)],
) -> Result<()> {
    let (shell_bin, server_bin) = (folder.join("shell/bin"), folder.join("server/bin"));
    fs::create_dir_all(&shell_bin)?;
    fs::create_dir_all(&server_bin)?;
    executable(&shell_bin.join("busybox"), shell)?;
    for (link, target) in links {
        symlink(target, folder.join("shell").join(link))?;
    }
    executable(&server_bin.join("agnhost"), agnhost)?;
    executable(&server_bin.join("curl"), CURL.as_bytes())
}

fn executable(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content)?;
    Ok(fs::set_permissions(
        path,
        std::fs::Permissions::from_mode(0o755),
    )?)
}
