//! The placeholder image: on the node from the start, and for good.

use serde_json::Value;
use testkit::{BUSYBOX, setup};

use super::{PLACEHOLDER, Scene};

/// The kubelet collects what no container uses and what is not pinned; `crictl rmi --prune` goes by the same list.
pub(super) fn the_placeholder_is_pinned_and_never_collected(scene: &Scene<'_>) {
    let node = scene.node;
    let images = || {
        let text = node.crictl(&["images", "--output", "json"]).unwrap();
        let listed: Value = serde_json::from_str(&text).unwrap();
        listed["images"].as_array().unwrap().clone()
    };
    let pinned = |name: &str| {
        let has_name = |image: &Value| image["repoTags"].as_array().unwrap().contains(&name.into());
        let found = images().into_iter().find(has_name);
        found.map(|image| image["pinned"].as_bool().unwrap_or(false))
    };
    assert_eq!(pinned(PLACEHOLDER), Some(true));

    // An image that is pinned no more shows that what is unused goes. Each of its names has a label of its own.
    let unpin = format!(
        "digest=$({ctr} images ls name=={BUSYBOX} | awk 'NR == 2 {{ print $3 }}'); \
         for name in $({ctr} images ls | awk -v digest=$digest '$3 == digest {{ print $1 }}'); do \
         {ctr} images label $name io.cri-containerd.pinned= >/dev/null; done",
        ctr = node.ctr()
    );
    node.machine().shell(&unpin).unwrap();
    testkit::poll("the image to count as unpinned", || {
        Ok((pinned(BUSYBOX) == Some(false)).then_some(()))
    })
    .unwrap();
    node.crictl(&["rmi", "--prune"]).unwrap();
    assert_eq!(pinned(BUSYBOX), None);
    assert_eq!(pinned(PLACEHOLDER), Some(true));
    let pod = scene.run(&scene.spec("after"));
    let (code, _) = pod.run_to_end("main", PLACEHOLDER, &["true"]).unwrap();
    assert_eq!(code, 0);
    pod.remove().unwrap();
    node.import_images(&setup::images()).unwrap();
}
