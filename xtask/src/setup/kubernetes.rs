//! Kubernetes from its published Go modules: the control plane, a node's programs, DNS, and what runs in tests' pods.

use std::path::Path;

use anyhow::Result;
use fs_err as fs;
use serde_json::json;

use super::go::{self, Programs};
use super::images::{FOLDERS, applets};
use super::prefix::Prefix;
use super::step::{Inputs, Steps};
use super::tools::Tools;
use crate::oci::{File, Image, Layer};

pub(super) const MODULE: &str = include_str!("go/kubernetes/go.mod");
pub(super) const SUMS: &str = include_str!("go/kubernetes/go.sum");

/// A release knows its version from the linker alone, and a kubelet of no version is refused by the API server.
pub(super) const LINKER: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
     -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36";

const KUBERNETES: Programs = Programs {
    module: MODULE,
    sums: SUMS,
    packages: &[
        "go.etcd.io/etcd/server/v3",
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-proxy",
        "k8s.io/kubernetes/cmd/kube-scheduler",
        "k8s.io/kubernetes/cmd/kubectl",
        "k8s.io/kubernetes/cmd/kubelet",
    ],
    tags: "",
    linker: LINKER,
};

/// What runs in pods of tests.
const WORKLOADS: Programs = Programs {
    module: MODULE,
    sums: SUMS,
    packages: &[
        "k8s.io/kubernetes/test/images/agnhost",
        "k8s.io/kubernetes/test/images/nonewprivs",
    ],
    tags: "",
    linker: LINKER,
};

const COREDNS: Programs = Programs {
    module: include_str!("go/coredns/go.mod"),
    sums: include_str!("go/coredns/go.sum"),
    packages: &["github.com/coredns/coredns"],
    tags: "",
    linker: "-s -w",
};

/// What installs charts. Its idea of the cluster, where it asks none, is of the linker's making, too.
const HELM: Programs = Programs {
    module: include_str!("go/helm/go.mod"),
    sums: include_str!("go/helm/go.sum"),
    packages: &["helm.sh/helm/v3/cmd/helm"],
    tags: "",
    linker: "-s -w -X helm.sh/helm/v3/internal/version.version=v3.22.0 \
         -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=36 \
         -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=36",
};

/// What wires the cluster's network and its Services.
const NETWORK: Prefix = Prefix {
    folder: "network",
    suite: "trixie",
    packages: &["iproute2", "nftables"],
    programs: &["usr/bin/ip", "usr/sbin/nft"],
};

/// Brings the tools of the cluster's network.
pub(super) fn bring_network(steps: &Steps, tools: &Tools) -> Result<()> {
    NETWORK.bring(steps, tools)
}

/// Builds Kubernetes and what runs in the tests' pods, and makes the images.
pub(super) fn bring(steps: &Steps, tools: &Tools) -> Result<()> {
    let inputs = KUBERNETES.inputs(Inputs::of_recipe(1));
    steps.run("kubernetes", inputs, |folder| {
        let bin = folder.join("bin");
        fs::create_dir(&bin)?;
        KUBERNETES.build(&go::toolchain(steps, tools)?, steps, tools, &bin)?;
        // Named after the last part of its module's path.
        Ok(fs::rename(bin.join("server"), bin.join("etcd"))?)
    })?;
    for (folder, programs) in [("workloads", &WORKLOADS), ("coredns", &COREDNS)] {
        steps.run(folder, programs.inputs(Inputs::of_recipe(1)), |fresh| {
            programs.build(&go::toolchain(steps, tools)?, steps, tools, fresh)
        })?;
    }
    steps.run("helm", HELM.inputs(Inputs::of_recipe(1)), |folder| {
        let bin = folder.join("bin");
        fs::create_dir(&bin)?;
        HELM.build(&go::toolchain(steps, tools)?, steps, tools, &bin)
    })?;
    bring_images(steps, tools)
}

fn bring_images(steps: &Steps, tools: &Tools) -> Result<()> {
    let read = |path: &str| fs::read(steps.setup().join(path));
    let agnhost = read("workloads/agnhost")?;
    let coredns = read("coredns/coredns")?;
    let inputs = Inputs::of_recipe(1)
        .with(&agnhost)
        .with(&coredns)
        .with(fs::read(tools.busybox())?);
    steps.run("images-cluster", inputs, |folder| {
        program(folder, "coredns", &coredns)?;
        workload(folder, tools, &agnhost)
    })
}

/// An image of one static program.
fn program(folder: &Path, name: &str, content: &[u8]) -> Result<()> {
    let path = format!("bin/{name}");
    Image {
        names: &[&format!("nival.local/{name}:1")],
        layers: &[Layer {
            folders: FOLDERS,
            files: &[File {
                path: &path,
                mode: 0o755,
                content,
            }],
            ..Layer::default()
        }],
        config: json!({"Entrypoint": [format!("/{path}")]}),
        ..Image::default()
    }
    .write(&folder.join(format!("{name}.tar")))
    .map(drop)
}

/// Kubernetes' own test server, with a shell beside it.
fn workload(folder: &Path, tools: &Tools, agnhost: &[u8]) -> Result<()> {
    let busybox = fs::read(tools.busybox())?;
    Image {
        names: &["nival.local/agnhost:1"],
        layers: &[Layer {
            folders: FOLDERS,
            files: &[
                File {
                    path: "agnhost",
                    mode: 0o755,
                    content: agnhost,
                },
                File {
                    path: "bin/busybox",
                    mode: 0o755,
                    content: &busybox,
                },
            ],
            links: &applets(&tools.busybox())?,
            ..Layer::default()
        }],
        config: json!({"Entrypoint": ["/agnhost"], "Cmd": ["pause"], "Env": ["PATH=/bin"]}),
        ..Image::default()
    }
    .write(&folder.join("agnhost.tar"))
    .map(drop)
}
