//! The images are the same bytes every time, and real containerd runs what is in them.

use serde_json::Value;
use testkit::{Node, NodeOptions, PodSpec, World, programs};

use super::*;

#[test]
fn the_same_programs_make_the_same_bytes() {
    testkit::require!(programs);
    let [first, second] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let digests = write(&programs::dir(), first.path(), VERSION).unwrap();
    assert_eq!(
        digests,
        write(&programs::dir(), second.path(), VERSION).unwrap()
    );
    // The extension for Talos is one more.
    assert_eq!(digests.len(), PRODUCTS.len() + 1);
    let mut compared = 0;
    for entry in fs::read_dir(first.path()).unwrap() {
        let entry = entry.unwrap();
        let other = second.path().join(entry.file_name());
        // Not `assert_eq`, which would print megabytes.
        assert!(
            fs::read(entry.path()).unwrap() == fs::read(other).unwrap(),
            "{} differs",
            entry.path().display()
        );
        compared += 1;
    }
    assert_eq!(compared, PRODUCTS.len() + 2);
}

#[test]
fn a_node_runs_each_image_as_its_user_on_a_root_that_is_read_only() {
    testkit::require!(root, setup, programs);
    let out = tempfile::tempdir().unwrap();
    let digests = write(&programs::dir(), out.path(), VERSION).unwrap();
    fs::remove_file(out.path().join(DIGESTS)).unwrap();
    let world = World::new().unwrap();
    let options = NodeOptions {
        // It is not asked anything.
        agent_configuration: "hub = \"http://127.0.0.1:9\"\n".to_owned(),
        ..NodeOptions::default()
    };
    let node = Node::start(&world, "node", &options).unwrap();
    node.import_images(out.path()).unwrap();
    let pod = node.run_pod(&PodSpec::plain("images", "runc")).unwrap();
    for product in PRODUCTS {
        let name = product.reference(VERSION);
        let imported = format!("{} images ls name=={name}", node.ctr());
        let imported = node.machine().shell(&imported).unwrap();
        assert!(imported.contains(&digests[&name]), "{imported}");
        let more = json!({
            "args": ["--version"],
            "linux": {"security_context": {"readonly_rootfs": true}},
        });
        let container = pod.container_with(product.name, &name, &[], &more).unwrap();
        assert_eq!(pod.wait(&container).unwrap(), 0, "{name}");
        let said = node.crictl(&["logs", &container]).unwrap();
        assert!(said.contains(env!("CARGO_PKG_VERSION")), "{name}: {said}");
        let inspected: Value =
            serde_json::from_str(&node.crictl(&["inspect", &container]).unwrap()).unwrap();
        let spec = &inspected["info"]["runtimeSpec"];
        assert_eq!(spec["process"]["user"]["uid"], product.user, "{name}");
        assert_eq!(spec["root"]["readonly"], true, "{name}");
    }
    pod.remove().unwrap();
}

#[test]
fn no_program_tells_where_it_was_built() {
    testkit::require!(programs);
    let clone = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for program in build::PROGRAMS {
        let bytes = fs::read(programs::dir().join(program)).unwrap();
        for folder in [clone.to_str().unwrap(), "/.cargo/registry/"] {
            let found = bytes
                .windows(folder.len())
                .position(|window| window == folder.as_bytes());
            assert_eq!(found, None, "{program} names {folder}");
        }
    }
}

#[test]
fn every_authority_is_a_certificate_of_its_own() {
    let text = authorities();
    let begins = text.matches("-----BEGIN CERTIFICATE-----\n").count();
    assert!(begins > 100, "{begins}");
    for one in text.split_inclusive("-----END CERTIFICATE-----\n") {
        let inner: String = one
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .inspect(|line| assert!(line.len() <= 64))
            .collect();
        let certificate = STANDARD.decode(inner).unwrap();
        // A sequence with a length of two bytes, as all certificates of this size begin.
        assert_eq!(certificate[..2], [0x30, 0x82]);
    }
}
