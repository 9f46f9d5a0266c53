//! Containers with a user namespace of their own, in both ways in which containerd makes their root filesystem.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::path::Path;

use containerd_shim::protos::types::mount::Mount;
use fs_err as fs;
use serde_json::{Value, json};
use testkit::require;

use crate::agent::TestAgent;
use crate::bundle::{Bundle, install_busybox};
use crate::containerd::Containerd;
use crate::environments::{hooked, options, plan, pod};

const FIRST: u32 = 200_000;
const SIZE: u32 = 65_536;

fn with_user_namespace(spec: &mut Value) {
    let mapping = json!([{"containerID": 0, "hostID": FIRST, "size": SIZE}]);
    spec["linux"]["uidMappings"] = mapping.clone();
    spec["linux"]["gidMappings"] = mapping;
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "user"}));
}

/// Lets the container's root pass, as containerd does with its bundles.
fn let_pass(bundle: &Bundle) {
    chown(&bundle.path, None, Some(FIRST)).unwrap();
    fs::set_permissions(&bundle.path, PermissionsExt::from_mode(0o710)).unwrap();
}

/// The layers of an overlay, and the mount that containerd 2 passes on for it.
fn layered(mut bundle: Bundle, layers: usize) -> Bundle {
    let folder = bundle.path.with_extension("snapshots");
    let make = |name: &str| {
        let path = folder.join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    let (upper, work) = (make("upper"), make("work"));
    // The snapshotter gives what the container may write to its root.
    chown(&upper, Some(FIRST), Some(FIRST)).unwrap();
    let mut lower = Vec::new();
    for number in 0..layers {
        let layer = make(&format!("lower{number}"));
        fs::write(layer.join(format!("of-layer-{number}")), "").unwrap();
        lower.push(layer.display().to_string());
    }
    let bin = Path::new(&lower[0]).join("bin");
    fs::create_dir(&bin).unwrap();
    install_busybox(&bin);
    let mapping = format!("0:{FIRST}:{SIZE}");
    bundle.mounts = vec![Mount {
        type_: "overlay".into(),
        source: "overlay".into(),
        options: vec![
            format!("uidmap={mapping}"),
            format!("gidmap={mapping}"),
            "index=off".into(),
            format!("workdir={}", work.display()),
            format!("upperdir={}", upper.display()),
            format!("lowerdir={}", lower.join(":")),
        ],
        ..Mount::default()
    }];
    bundle
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_belong_to_the_containers_root_and_so_does_what_it_writes() {
    require!(root, setup);
    let containerd = Containerd::start().await;
    let script = "id -u; stat -c '%n %u:%g' /bin/busybox /of-layer-0 /of-layer-2; touch /mine; stat -c '%n %u:%g' /mine; echo end; sleep 600";
    let bundle = Bundle::empty(&containerd, "mapped", &["/bin/sh", "-c", script])
        .changed(with_user_namespace);
    let bundle = layered(bundle, 3);
    let_pass(&bundle);
    let mut stdout = bundle.reader("stdout");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    let text = stdout.expect("end\n").await;
    assert_eq!(
        text,
        "0\n/bin/busybox 0:0\n/of-layer-0 0:0\n/of-layer-2 0:0\n/mine 0:0\nend\n"
    );
    let upper = bundle.path.with_extension("snapshots").join("upper/mine");
    assert_eq!(fs::metadata(upper).unwrap().uid(), FIRST);
    shim.kill(&bundle.id, "", 9).await.unwrap();
    shim.wait(&bundle.id, "").await;
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
    assert_eq!(containerd.mounts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_layers_than_one_page_of_options_names_are_mapped() {
    require!(root, setup);
    let containerd = Containerd::start().await;
    let script = "stat -c '%n %u' /of-layer-99; echo end";
    let bundle =
        Bundle::empty(&containerd, "many", &["/bin/sh", "-c", script]).changed(with_user_namespace);
    let bundle = layered(bundle, 100);
    let_pass(&bundle);
    let mut stdout = bundle.reader("stdout");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    assert_eq!(stdout.expect("end\n").await, "/of-layer-99 0\nend\n");
    shim.wait(&bundle.id, "").await;
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

/// What a container of the placeholder tells of itself.
const TELL: &str = "id -u; stat -c '%n %u:%g %a' /root /tmp /etc/passwd /bin/sh; touch /nix/store/x; cd /nix/store/*/bin; touch deep; echo own > /root/mine && echo wrote; echo end; sleep 600";

async fn tells(containerd: &Containerd, bundle: Bundle) {
    let agent = TestAgent::start(containerd.folder.path(), Ok(plan(containerd))).await;
    let_pass(&bundle);
    let (mut stdout, mut stderr) = (bundle.reader("stdout"), bundle.reader("stderr"));
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create_with(&bundle, options(&shim, &agent.socket))
        .await
        .unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    let text = stdout.expect("end\n").await;
    assert_eq!(
        text,
        "0\n/root 0:0 700\n/tmp 0:0 1777\n/etc/passwd 0:0 644\n/bin/sh 0:0 777\nwrote\nend\n"
    );
    let refused = stderr.expect("deep").await;
    assert_eq!(
        refused.matches("Read-only file system").count(),
        2,
        "{refused}"
    );
    shim.kill(&bundle.id, "", 9).await.unwrap();
    shim.wait(&bundle.id, "").await;
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_of_the_placeholder_owns_its_skeleton_and_cannot_write_to_its_closure() {
    require!(root, setup);
    let containerd = Containerd::start().await;
    let bundle = Bundle::empty(&containerd, "own", &["sh", "-c", TELL])
        .annotated(&pod("container"))
        .changed(with_user_namespace);
    let mut bundle = layered(bundle, 1);
    // The placeholder's one layer is empty.
    let lower = bundle.path.with_extension("snapshots").join("lower0/bin");
    fs::remove_dir_all(lower).unwrap();
    bundle.save();
    tells(&containerd, bundle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_one_whose_layers_an_older_containerd_has_copied_for_it() {
    require!(root, setup);
    let containerd = Containerd::start().await;
    let bundle = Bundle::empty(&containerd, "copied", &["sh", "-c", TELL])
        .annotated(&pod("container"))
        .changed(with_user_namespace);
    chown(bundle.path.join("rootfs"), Some(FIRST), Some(FIRST)).unwrap();
    tells(&containerd, bundle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_reports_through_the_user_namespace() {
    require!(root, setup);
    let containerd = Containerd::start().await;
    let plan = api::agent::PrepareResponse {
        hook: "export READY=yes".into(),
        shell: "/usr/bin/bash".into(),
        ..plan(&containerd)
    };
    let agent = TestAgent::start(containerd.folder.path(), Ok(plan)).await;
    let bundle = hooked(
        &containerd,
        "mapped-hook",
        &["sh", "-c", "echo ready: $READY"],
    )
    .changed(with_user_namespace);
    chown(bundle.path.join("rootfs"), Some(FIRST), Some(FIRST)).unwrap();
    let_pass(&bundle);
    let mut stdout = bundle.reader("stdout");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create_with(&bundle, options(&shim, &agent.socket))
        .await
        .unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    stdout.expect("ready: yes\n").await;
    assert_eq!(shim.wait(&bundle.id, "").await, 0);
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_mapping_is_refused_and_nothing_stays_mounted() {
    require!(root, setup);
    let containerd = Containerd::start().await;
    let bundle = Bundle::empty(&containerd, "half", &["true"]).changed(with_user_namespace);
    let mut bundle = layered(bundle, 1);
    bundle.mounts[0].options.remove(1);
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let error = shim.create(&bundle).await.unwrap_err();
    assert!(
        error.ends_with("a mount option maps users but none maps groups, or the other way round"),
        "{error}"
    );
    assert_eq!(containerd.mounts(), 0);
    shim.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_cannot_be_mapped_are_named_and_nothing_stays_mounted() {
    require!(root, setup);
    let containerd = Containerd::start().await;
    let bundle = Bundle::empty(&containerd, "unmappable", &["true"]).changed(with_user_namespace);
    let mut bundle = layered(bundle, 1);
    let lower = bundle.mounts[0].options.last_mut().unwrap();
    lower.push_str(":/proc");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let error = shim.create(&bundle).await.unwrap_err();
    assert!(
        error.contains("cannot map the owners of /proc: ") && error.contains("hostUsers"),
        "{error}"
    );
    shim.shut_down().await;
    containerd.expect_nothing_left().await;
}
