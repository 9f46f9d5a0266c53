//! Builds the images that a cluster runs: agent, operator and hub, from the static programs and nothing else.

mod talos;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fs_err as fs;
use serde_json::json;

use crate::oci::{File, Image, Layer};
use crate::{build, say};

/// Where the names of images begin. Whoever keeps them in another registry says so when the chart is installed.
const REGISTRY: &str = "nival.dev";

/// All crates have one version, and so have the images.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The file beside the archives that names each image with its digest.
const DIGESTS: &str = "images.json";

/// Who the programs run as that need not be root: the number that other images without a distribution use.
const USER: u32 = 65532;

/// Where programs look for certificate authorities: the public ones of the image, and a folder that is empty until
/// an administrator mounts private ones there.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";
const OWN_AUTHORITIES: &str = "etc/ssl/nival";

/// The folders of every image.
const FOLDERS: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("etc", 0o755),
    ("etc/nival", 0o755),
    ("etc/ssl", 0o755),
    ("etc/ssl/certs", 0o755),
    (OWN_AUTHORITIES, 0o755),
    ("proc", 0o755),
    ("run", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("var", 0o755),
    ("var/lib", 0o755),
];

/// One of the images.
struct Product {
    name: &'static str,
    description: &'static str,
    /// Its programs, the one that the image starts first.
    programs: &'static [&'static str],
    arguments: &'static [&'static str],
    user: u32,
    variables: &'static [&'static str],
}

const PRODUCTS: &[Product] = &[
    Product {
        name: "nival-agent",
        description: "Fetches, verifies and mounts Nix environments for the pods of a node",
        programs: &["nival-agent"],
        arguments: &["serve"],
        // It mounts.
        user: 0,
        variables: &[],
    },
    Product {
        name: "nival-operator",
        description: "Pins and rolls out Nix environments in a cluster, and sets up its nodes",
        programs: &["nival-operator", "containerd-shim-nival-v2"],
        arguments: &[],
        user: USER,
        variables: &[],
    },
    Product {
        name: "nival-hub",
        description: "Environments, signed generations and a Nix binary cache per owner",
        programs: &["nival-hub"],
        arguments: &["serve"],
        user: USER,
        variables: &[
            "NIVAL_HUB_DATA=/var/lib/nival-hub",
            "NIVAL_HUB_LISTEN=0.0.0.0:7878",
        ],
    },
];

/// Builds the programs, then their images.
pub(crate) fn build(root: &Path, out: &Path) -> Result<()> {
    let programs = build::programs(root)?;
    for (name, digest) in write(&programs, out, VERSION)? {
        say(&format!("{name} {digest}"));
    }
    say(&format!("the images are in {}", out.display()));
    Ok(())
}

/// Writes what a cluster is installed from, and in a folder beside it what its installation is upgraded to: the same
/// programs, which differ in bytes that no program looks at.
pub(crate) fn write_for_cluster(programs: &Path, out: &Path) -> Result<()> {
    write(programs, out, VERSION)?;
    let next = tempfile::tempdir()?;
    for program in PRODUCTS.iter().flat_map(|product| product.programs) {
        let mut bytes = fs::read(programs.join(program))?;
        bytes.extend_from_slice(testkit::programs::NEXT.as_bytes());
        fs::write(next.path().join(program), bytes)?;
    }
    let tag = testkit::programs::NEXT;
    write(next.path(), &out.join(tag), tag).map(drop)
}

/// Writes an archive for each image and returns the images' names with their digests.
fn write(programs: &Path, out: &Path, tag: &str) -> Result<BTreeMap<String, String>> {
    fs::create_dir_all(out)?;
    let authorities = authorities();
    let mut digests = BTreeMap::new();
    for product in PRODUCTS {
        let (name, digest) = product
            .write(programs, out, tag, &authorities)
            .with_context(|| format!("writing the image {}", product.name))?;
        digests.insert(name, digest);
    }
    let (name, digest) = talos::write(programs, out, tag)?;
    digests.insert(name, digest);
    let text = serde_json::to_vec_pretty(&digests).context("writing the images' digests")?;
    host::fs::write_atomic(&out.join(DIGESTS), &text)?;
    Ok(digests)
}

impl Product {
    fn write(
        &self,
        programs: &Path,
        out: &Path,
        tag: &str,
        authorities: &str,
    ) -> Result<(String, String)> {
        let name = self.reference(tag);
        let contents = self
            .programs
            .iter()
            .map(|program| {
                Ok((
                    format!("usr/bin/{program}"),
                    fs::read(programs.join(program))?,
                ))
            })
            .collect::<Result<Vec<(String, Vec<u8>)>>>()?;
        // One layer for each program: an upgrade fetches those that changed.
        let files: Vec<[File<'_>; 1]> = contents
            .iter()
            .map(|(path, content)| [file(path, 0o755, content)])
            .collect();
        let (passwd, group) = users();
        let base = [
            file("etc/passwd", 0o644, passwd.as_bytes()),
            file("etc/group", 0o644, group.as_bytes()),
            file("etc/nsswitch.conf", 0o644, b"hosts: files dns\n"),
            file(AUTHORITIES, 0o644, authorities.as_bytes()),
        ];
        let mut layers = vec![Layer {
            folders: FOLDERS,
            files: &base,
            compressed: true,
            ..Layer::default()
        }];
        layers.extend(files.iter().map(|files| Layer {
            files,
            compressed: true,
            ..Layer::default()
        }));
        let mut variables = vec![
            "PATH=/usr/bin".to_owned(),
            format!("SSL_CERT_FILE=/{AUTHORITIES}"),
            format!("SSL_CERT_DIR=/{OWN_AUTHORITIES}"),
        ];
        variables.extend(self.variables.iter().map(|&one| one.to_owned()));
        let digest = Image {
            names: &[&name],
            layers: &layers,
            config: json!({
                "User": format!("{0}:{0}", self.user),
                "Env": variables,
                "Entrypoint": [format!("/usr/bin/{}", self.programs[0])],
                "Cmd": self.arguments,
                "WorkingDir": "/",
            }),
            labels: self.labels(tag),
        }
        .write(&out.join(format!("{}.tar", self.name)))?;
        Ok((name, digest))
    }

    /// Returns what nodes know the image by.
    fn reference(&self, tag: &str) -> String {
        format!("{REGISTRY}/{}:{tag}", self.name)
    }

    fn labels(&self, tag: &str) -> BTreeMap<&'static str, String> {
        let labels = [
            ("org.opencontainers.image.title", self.name),
            ("org.opencontainers.image.description", self.description),
            ("org.opencontainers.image.version", tag),
            ("org.opencontainers.image.licenses", "Apache-2.0"),
            ("org.opencontainers.image.vendor", "Nival"),
        ];
        labels.map(|(name, value)| (name, value.to_owned())).into()
    }
}

fn file<'a>(path: &'a str, mode: u32, content: &'a [u8]) -> File<'a> {
    File {
        path,
        mode,
        content,
    }
}

/// Returns the files with everybody who can be asked for by name.
fn users() -> (String, String) {
    let passwd = format!(
        "root:x:0:0:root:/:/sbin/nologin\nnival:x:{USER}:{USER}:nival:/:/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/:/sbin/nologin\n"
    );
    let group = format!("root:x:0:\nnival:x:{USER}:\nnobody:x:65534:\n");
    (passwd, group)
}

/// Returns Mozilla's certificate authorities, as the lock file pins them, in the form that every program reads.
fn authorities() -> String {
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(certificate);
        for (at, letter) in encoded.chars().enumerate() {
            if at > 0 && at % 64 == 0 {
                text.push('\n');
            }
            text.push(letter);
        }
        text.push_str("\n-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests;
