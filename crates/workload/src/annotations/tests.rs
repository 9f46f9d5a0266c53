//! Tests of what annotations ask for.

use super::*;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn annotations(pairs: &[(&str, &str)]) -> Annotations {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

fn container(name: &str, image: &str) -> Identity {
    Identity {
        container: name.into(),
        image: image.into(),
        ..Identity::default()
    }
}

const EMPTY: &str = "nival.dev/placeholder:v1";

#[test]
fn the_pods_environment_is_for_containers_with_the_placeholder_image() {
    let annotations = annotations(&[("nival.dev/environment", "acme/api")]);
    let wish = |image| wish_of_container(&annotations, &container("main", image)).unwrap();
    let digests = [
        format!("nival.dev/placeholder@{DIGEST}"),
        format!("nival.dev/placeholder:v2@{DIGEST}"),
    ];
    for image in [
        EMPTY,
        "docker.io/nival.dev/placeholder:v1",
        "nival.dev/placeholder",
        &digests[0],
        &digests[1],
    ] {
        let wish = wish(image).unwrap();
        assert!(wish.placeholder && wish.reference == "acme/api", "{image}");
    }
    for image in [
        "docker.io/library/nginx:1",
        "evil/nival.dev/placeholder:v1",
        "nival.dev/placeholder-not:v1",
        "nival.dev/placeholder:5000/nginx",
    ] {
        assert_eq!(wish(image), None, "{image}");
    }
}

#[test]
fn a_container_can_be_named_and_excluded() {
    let annotations = annotations(&[
        ("nival.dev/environment", "acme/api"),
        ("environment.nival.dev/web", "acme/web:3"),
        ("environment.nival.dev/plain", "none"),
        ("exec-outside.nival.dev/web", "true"),
    ]);
    let wish = |name, image| wish_of_container(&annotations, &container(name, image)).unwrap();
    let web = wish("web", "nginx").unwrap();
    assert_eq!(web.reference, "acme/web:3");
    assert!(web.exec_outside && !web.placeholder);
    assert_eq!(wish("plain", EMPTY), None);
    assert_eq!(wish("main", EMPTY).unwrap().reference, "acme/api");
    assert!(!wish("main", EMPTY).unwrap().exec_outside);
}

#[test]
fn the_sandbox_asks_for_each_environment_once() {
    let pin = format!("acme/web:3@{DIGEST}");
    let annotations = annotations(&[
        ("nival.dev/environment", "acme/api"),
        ("environment.nival.dev/a", "acme/api"),
        ("environment.nival.dev/b", "acme/web"),
        ("generation.nival.dev/b", &pin),
        ("environment.nival.dev/c", "none"),
    ]);
    let wishes = wishes_of_pod(&annotations).unwrap();
    let asked: Vec<_> = wishes
        .iter()
        .map(|wish| (wish.reference.as_str(), wish.pin.as_str()))
        .collect();
    assert_eq!(asked, [("acme/api", ""), ("acme/web", pin.as_str())]);
    assert!(wishes_of_pod(&Annotations::new()).unwrap().is_empty());
}

#[test]
fn a_pin_must_agree_with_the_reference_and_alone_is_one() {
    let pin = format!("acme/api:12@{DIGEST}");
    let with = |reference: &str| {
        let annotations = annotations(&[
            ("nival.dev/environment", reference),
            ("nival.dev/generation", &pin),
        ]);
        wish_of_container(&annotations, &container("main", EMPTY))
    };
    assert_eq!(with("acme/api").unwrap().unwrap().pin, pin);
    assert_eq!(with("acme/api:12").unwrap().unwrap().pin, pin);
    for other in ["acme/web", "acme/api:11"] {
        let error = with(other).unwrap_err();
        assert!(matches!(error, AnnotationError::OtherPin { .. }), "{error}");
    }
    let alone = annotations(&[("nival.dev/generation", &pin)]);
    let wish = wish_of_container(&alone, &container("main", EMPTY)).unwrap();
    assert_eq!(wish.unwrap().reference, pin);
}

#[test]
fn a_stale_pin_is_refused_by_name() {
    let pin = format!("acme/api:12@{DIGEST}");
    let with = |from: &str| {
        let annotations = annotations(&[
            ("nival.dev/environment", "acme/api"),
            ("nival.dev/generation", &pin),
            ("nival.dev/pinned-from", from),
        ]);
        wishes_of_pod(&annotations)
    };
    assert!(with("acme/api 2026-11-23T22:00:00Z").is_ok());
    let error = with("acme/api:11").unwrap_err().to_string();
    assert_eq!(
        error,
        "annotation nival.dev/generation was pinned from acme/api:11 but the pod asks for acme/api: remove nival.dev/generation, so that it is pinned anew"
    );
}

#[test]
fn hostile_values_are_refused_with_the_annotations_name() {
    let refused = |name: &str, value: &str| {
        let error = wishes_of_pod(&annotations(&[(name, value)]))
            .unwrap_err()
            .to_string();
        assert!(error.contains(name), "{error}");
        assert!(error.len() < 1000 && !error.contains('\n'), "{error}");
        error
    };
    refused("nival.dev/environment", "acme/api\nacme/web");
    refused("nival.dev/environment", "acme/api\0");
    refused("nival.dev/environment", &"a/".repeat(200_000));
    refused("nival.dev/environment", "../../etc");
    refused("nival.dev/environment", "acme");
    refused("nival.dev/generation", "acme/api");
    refused("nival.dev/pinned-from", "\u{1b}[2J");
    let mode = [
        ("nival.dev/environment", "acme/api"),
        ("nival.dev/activate-mode", "root"),
    ];
    assert!(wishes_of_pod(&annotations(&mode)).is_err());
    let named = [("environment.nival.dev/", "acme/api")];
    assert!(wishes_of_pod(&annotations(&named)).is_err());
}

#[test]
fn the_placeholder_without_an_environment_says_what_to_do() {
    let error = wish_of_container(&Annotations::new(), &container("main", EMPTY)).unwrap_err();
    assert!(
        error.to_string().contains("environment.nival.dev/main"),
        "{error}"
    );
}

#[test]
fn a_container_that_no_annotation_names_hears_which_ones_they_do_name() {
    let error = |names: &[&str]| {
        let pairs: Vec<String> = names
            .iter()
            .map(|name| format!("environment.nival.dev/{name}"))
            .collect();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|name| (name.as_str(), "a/b")).collect();
        let refused = wish_of_container(&annotations(&pairs), &container("app", EMPTY));
        refused.unwrap_err().to_string()
    };
    assert_eq!(
        error(&["web", "ap"]),
        "container app has the placeholder image but no environment (annotations name: ap, web): annotate the pod with nival.dev/environment, or the container with environment.nival.dev/app"
    );
    let many: Vec<String> = (0..200).map(|number| format!("c{number:060}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let text = error(&many);
    assert!(
        text.contains(" and 192 more)") && text.len() < 1000,
        "{text}"
    );
}

#[test]
fn who_runs_is_what_containerd_says() {
    let annotations = annotations(&[
        ("io.kubernetes.cri.container-type", "container"),
        ("io.kubernetes.cri.sandbox-id", "s1"),
        ("io.kubernetes.cri.sandbox-namespace", "team-a"),
        ("io.kubernetes.cri.sandbox-name", "pod-1"),
        ("io.kubernetes.cri.container-name", "main"),
        ("nival.dev/namespace", "team-b"),
    ]);
    assert_eq!(role(&annotations), Role::Container);
    assert_eq!(role(&Annotations::new()), Role::Alone);
    let identity = identity(&annotations);
    assert_eq!(
        (identity.namespace.as_str(), identity.pod.as_str()),
        ("team-a", "pod-1")
    );
}
