//! When a pin is made anew and when it is not, case by case.

use serde_json::json;

use super::*;

/// Restarts in the order in which they were asked for.
const MONDAY: &str = "2026-11-23T08:00:00Z";
const TUESDAY: &str = "2026-11-24T08:00:00Z";
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";

fn pin(environment: &str, number: u64) -> String {
    let digest = env_spec::Digest::of(format!("{environment}:{number}").as_bytes());
    format!("{environment}:{number}@{digest}")
}

/// A Deployment whose template has these annotations and one container.
fn deployment(annotations: &Value) -> Value {
    let container = json!({"name": "web", "image": "nival.dev/placeholder:v1"});
    with_containers(annotations, &json!([container]))
}

fn with_containers(annotations: &Value, containers: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 3, "template": {
            "metadata": {"annotations": annotations},
            "spec": {"containers": containers, "runtimeClassName": "nival"},
        }},
    })
}

/// Admits an object while every environment's live generation has this number. Returns what becomes of it, and what the
/// hub was asked for.
fn admit(object: &Value, old: Option<&Value>, live: u64) -> (Value, Vec<String>) {
    let plan = Plan::new(object, old).unwrap();
    let mut asked = Vec::new();
    let mut resolved = BTreeMap::new();
    for (slot, reference) in plan.wanted() {
        asked.push(reference.to_string());
        let number = reference.number.unwrap_or(live);
        let pin = pin(&reference.environment.to_string(), number);
        resolved.insert(slot, pin.parse().unwrap());
    }
    let mut admitted = object.clone();
    apply(&mut admitted, &plan.edits(&resolved));
    check(&admitted).unwrap();
    (admitted, asked)
}

/// The template's pin, and what it was made from.
fn pinned(object: &Value) -> (String, String) {
    let text = |name: &str| {
        let annotations = &object["spec"]["template"]["metadata"]["annotations"];
        annotations[name].as_str().unwrap_or("-").to_owned()
    };
    (text("nival.dev/generation"), text("nival.dev/pinned-from"))
}

fn annotate(object: &Value, name: &str, value: &str) -> Value {
    let mut object = object.clone();
    object["spec"]["template"]["metadata"]["annotations"][name] = value.into();
    object
}

fn without(object: &Value, names: &[&str]) -> Value {
    let mut object = object.clone();
    let annotations = &mut object["spec"]["template"]["metadata"]["annotations"];
    for name in names {
        annotations.as_object_mut().unwrap().remove(*name);
    }
    object
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

const OURS: [&str; 2] = ["nival.dev/generation", "nival.dev/pinned-from"];

fn first() -> Value {
    admit(
        &deployment(&json!({"nival.dev/environment": "acme/api"})),
        None,
        1,
    )
    .0
}

#[test]
fn a_new_workload_is_pinned_to_what_is_live() {
    let (admitted, asked) = admit(
        &deployment(&json!({"nival.dev/environment": "acme/api"})),
        None,
        7,
    );
    assert_eq!(asked, ["acme/api"]);
    assert_eq!(
        pinned(&admitted),
        (pin("acme/api", 7), "acme/api".to_owned())
    );
}

#[test]
fn a_changed_reference_makes_the_pin_anew_though_the_old_one_stands_there() {
    let changed = annotate(&first(), "nival.dev/environment", "acme/web");
    let (admitted, asked) = admit(&changed, Some(&first()), 2);
    assert_eq!(asked, ["acme/web"]);
    assert_eq!(
        pinned(&admitted),
        (pin("acme/web", 2), "acme/web".to_owned())
    );
}

#[test]
fn a_restart_takes_what_is_live_then_and_only_once() {
    let restarted = annotate(&first(), RESTARTED, MONDAY);
    let (admitted, asked) = admit(&restarted, Some(&first()), 2);
    assert_eq!(asked, ["acme/api"]);
    let from = format!("acme/api {MONDAY}");
    assert_eq!(pinned(&admitted), (pin("acme/api", 2), from));
    let (again, asked) = admit(&admitted, Some(&first()), 3);
    assert_eq!((again, asked), (admitted.clone(), Vec::new()), "seen twice");
    let (second, _) = admit(&annotate(&admitted, RESTARTED, TUESDAY), Some(&admitted), 4);
    assert_eq!(pinned(&second).0, pin("acme/api", 4));
}

#[test]
fn scaling_and_an_autoscaler_change_nothing() {
    let mut scaled = first();
    scaled["spec"]["replicas"] = 10.into();
    let (admitted, asked) = admit(&scaled, Some(&first()), 2);
    assert_eq!((admitted, asked), (scaled, Vec::new()));
}

#[test]
fn undo_returns_to_the_older_generation_exactly() {
    let one = first();
    let (two, _) = admit(&annotate(&one, RESTARTED, MONDAY), Some(&one), 2);
    let (three, _) = admit(&annotate(&two, RESTARTED, TUESDAY), Some(&two), 3);
    for older in [&one, &two] {
        let (admitted, asked) = admit(older, Some(&three), 4);
        assert_eq!((&admitted, asked), (older, Vec::new()));
    }
}

#[test]
fn applying_the_unpinned_file_keeps_the_pin_whatever_became_of_our_annotations() {
    let file = deployment(&json!({"nival.dev/environment": "acme/api"}));
    let (restarted, _) = admit(&annotate(&first(), RESTARTED, MONDAY), Some(&first()), 2);
    // `kubectl replace`, or a manager that owned them: both are gone, the restart perhaps, too.
    for applied in [without(&restarted, &OURS), file.clone()] {
        let (admitted, asked) = admit(&applied, Some(&restarted), 3);
        assert_eq!(asked, Vec::<String>::new());
        assert_eq!(pinned(&admitted).0, pin("acme/api", 2));
    }
    // With another image the pods are replaced, but by the same generation.
    let mut changed = without(&first(), &OURS);
    changed["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["-v"]);
    let (admitted, _) = admit(&changed, Some(&first()), 3);
    assert_eq!(pinned(&admitted).0, pin("acme/api", 1));
}

#[test]
fn a_pin_whose_origin_stays_was_taken_away_to_have_another() {
    let asked_anew = without(&first(), &["nival.dev/generation"]);
    assert_eq!(
        pinned(&admit(&asked_anew, Some(&first()), 2).0).0,
        pin("acme/api", 2)
    );
}

#[test]
fn a_restart_in_the_same_breath_as_the_unpinned_file_is_a_restart() {
    let applied = without(&annotate(&first(), RESTARTED, MONDAY), &OURS);
    assert_eq!(
        pinned(&admit(&applied, Some(&first()), 2).0).0,
        pin("acme/api", 2)
    );
}

#[test]
fn a_pinned_file_in_git_is_left_as_it_is_on_a_workload_that_was_restarted() {
    let in_git = |number| {
        json!({
            "nival.dev/environment": "acme/api", "nival.dev/generation": pin("acme/api", number),
            "nival.dev/pinned-from": "acme/api",
        })
    };
    let (applied, asked) = admit(&deployment(&in_git(1)), None, 5);
    assert_eq!(
        (pinned(&applied).0, asked),
        (pin("acme/api", 1), Vec::new())
    );
    // A restart is a restart, and takes what is live.
    let (restarted, _) = admit(&annotate(&applied, RESTARTED, TUESDAY), Some(&applied), 5);
    assert_eq!(pinned(&restarted).0, pin("acme/api", 5));
    // The next synchronisation puts the file's pin back. It must not be fought, now or later.
    let synchronised = annotate(&deployment(&in_git(1)), RESTARTED, TUESDAY);
    for old in [&restarted, &synchronised] {
        assert_eq!(
            admit(&synchronised, Some(old), 6),
            (synchronised.clone(), Vec::new())
        );
    }
    // Undo to a revision from before the restart, and to one between two of them.
    for (older, newer) in [(None, TUESDAY), (Some(MONDAY), TUESDAY)] {
        let back = match older {
            Some(time) => annotate(&applied, RESTARTED, time),
            None => applied.clone(),
        };
        let old = annotate(&applied, RESTARTED, newer);
        assert_eq!(admit(&back, Some(&old), 6), (back.clone(), Vec::new()));
    }
}

#[test]
fn a_full_pin_as_reference_is_its_own_pin_and_nobody_is_asked() {
    let reference = pin("acme/api", 3);
    let object = deployment(&json!({"nival.dev/environment": reference}));
    let (admitted, asked) = admit(&object, None, 9);
    assert_eq!(asked, Vec::<String>::new());
    assert_eq!(pinned(&admitted), (reference.clone(), reference.clone()));
    let (restarted, asked) = admit(&annotate(&admitted, RESTARTED, MONDAY), Some(&admitted), 9);
    assert_eq!((pinned(&restarted).0, asked), (reference, Vec::new()));
    // From one full pin to another, with what was written for the first still there.
    let changed = annotate(&admitted, "nival.dev/environment", &pin("acme/api", 4));
    assert_eq!(
        pinned(&admit(&changed, Some(&admitted), 9).0).0,
        pin("acme/api", 4)
    );
}

#[test]
fn a_number_is_resolved_once_as_no_restart_changes_what_it_means() {
    let object = deployment(&json!({"nival.dev/environment": "acme/api:3"}));
    let (admitted, asked) = admit(&object, None, 9);
    assert_eq!(
        (pinned(&admitted).0, asked),
        (pin("acme/api", 3), vec!["acme/api:3".to_owned()])
    );
    let (restarted, asked) = admit(&annotate(&admitted, RESTARTED, MONDAY), Some(&admitted), 9);
    assert_eq!(
        (pinned(&restarted).0, asked),
        (pin("acme/api", 3), Vec::new())
    );
}

#[test]
fn a_pin_that_a_person_wrote_stays_to_the_letter() {
    let by_hand = pin("acme/api", 2);
    for annotations in [
        json!({"nival.dev/environment": "acme/api", "nival.dev/generation": by_hand}),
        json!({"nival.dev/generation": by_hand}),
    ] {
        let object = annotate(&deployment(&annotations), RESTARTED, MONDAY);
        let plan = Plan::new(&object, None).unwrap();
        assert_eq!(plan.kept(), [(Slot::Pod, by_hand.parse().unwrap())]);
        let (admitted, asked) = admit(&object, Some(&first()), 9);
        assert_eq!(
            (pinned(&admitted), asked),
            ((by_hand.clone(), "-".to_owned()), Vec::new())
        );
    }
    // And one that was written over ours: a way back that needs no command.
    let over = annotate(
        &admit(&first(), None, 5).0,
        "nival.dev/generation",
        &by_hand,
    );
    assert_eq!(admit(&over, Some(&first()), 9).0, over);
}

#[test]
fn a_pin_of_another_environment_is_refused_unless_the_reference_was_changed_under_it() {
    let other = pin("acme/web", 2);
    for annotations in [
        json!({"nival.dev/environment": "acme/api", "nival.dev/generation": other}),
        json!({"nival.dev/environment": "acme/api", "nival.dev/generation": other, "nival.dev/pinned-from": "acme/api"}),
        json!({"nival.dev/environment": "acme/api:1", "nival.dev/generation": pin("acme/api", 2)}),
    ] {
        let error = Plan::new(&deployment(&annotations), None).unwrap_err();
        assert!(error.to_string().ends_with("make them agree"), "{error}");
    }
    let changed = json!({"nival.dev/environment": "acme/api", "nival.dev/generation": other, "nival.dev/pinned-from": "acme/web"});
    assert_eq!(
        pinned(&admit(&deployment(&changed), None, 4).0).0,
        pin("acme/api", 4)
    );
}

#[test]
fn each_container_has_a_pin_of_its_own_and_none_excludes() {
    let annotations = json!({
        "nival.dev/environment": "acme/api",
        "environment.nival.dev/proxy": "acme/proxy",
        "environment.nival.dev/log": "none",
        "environment.nival.dev/migrate": "acme/tools:2",
    });
    let mut object = with_containers(
        &annotations,
        &json!([{"name": "web"}, {"name": "log", "image": "busybox"}, {"name": "metrics", "image": "exporter"}]),
    );
    object["spec"]["template"]["spec"]["initContainers"] = json!([
        {"name": "migrate"},
        {"name": "proxy", "image": "envoy", "restartPolicy": "Always"},
    ]);
    let (admitted, mut asked) = admit(&object, None, 6);
    asked.sort();
    assert_eq!(asked, ["acme/api", "acme/proxy", "acme/tools:2"]);
    let template = &admitted["spec"]["template"];
    let annotations = &template["metadata"]["annotations"];
    assert_eq!(annotations["nival.dev/generation"], pin("acme/api", 6));
    assert_eq!(
        annotations["generation.nival.dev/proxy"],
        pin("acme/proxy", 6)
    );
    assert_eq!(annotations["pinned-from.nival.dev/proxy"], "acme/proxy");
    assert_eq!(
        annotations["generation.nival.dev/migrate"],
        pin("acme/tools", 2)
    );
    assert_eq!(annotations.get("generation.nival.dev/log"), None);
    let image = |list: &str, index: usize| template["spec"][list][index]["image"].clone();
    assert_eq!(image("containers", 0), "nival.dev/placeholder:v1");
    assert_eq!(image("containers", 1), "busybox");
    assert_eq!(image("containers", 2), "exporter");
    assert_eq!(image("initContainers", 0), "nival.dev/placeholder:v1");
    assert_eq!(image("initContainers", 1), "envoy");
    // One container changes its mind; the others keep theirs.
    let changed = annotate(&admitted, "environment.nival.dev/proxy", "acme/proxy:1");
    let (changed, asked) = admit(&changed, Some(&admitted), 7);
    assert_eq!(asked, ["acme/proxy:1"]);
    assert_eq!(pinned(&changed).0, pin("acme/api", 6));
}

#[test]
fn an_ephemeral_container_may_be_named_and_gets_no_image() {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"annotations": {"environment.nival.dev/debugger": "acme/tools"}},
        "spec": {"containers": [{"name": "web", "image": "x"}]},
    });
    let error = Plan::new(&pod, None).unwrap_err().to_string();
    assert!(error.contains("does not have (it has: web)"), "{error}");
    pod["spec"]["ephemeralContainers"] = json!([{"name": "debugger", "image": "busybox"}]);
    let (admitted, _) = admit(&pod, None, 1);
    let annotations = &admitted["metadata"]["annotations"];
    assert_eq!(
        annotations["generation.nival.dev/debugger"],
        pin("acme/tools", 1)
    );
    assert_eq!(
        admitted["spec"]["ephemeralContainers"][0]["image"],
        "busybox"
    );
    assert_eq!(admitted["spec"]["runtimeClassName"], "nival");
}

#[test]
fn a_pin_goes_with_the_reference_that_it_was_made_from() {
    // What a client-side apply leaves: only what the file once had is taken away.
    for left in [
        without(&first(), &["nival.dev/environment"]),
        annotate(&first(), "nival.dev/environment", "none"),
    ] {
        let plan = Plan::new(&left, Some(&first())).unwrap();
        assert!(!plan.uses_environments());
        let mut admitted = left;
        apply(&mut admitted, &plan.edits(&BTreeMap::new()));
        assert_eq!(pinned(&admitted), ("-".to_owned(), "-".to_owned()));
        // What the file lacks now is said: the container has nothing to run.
        assert!(
            check(&admitted)
                .unwrap_err()
                .to_string()
                .contains("no environment")
        );
    }
    // A container was renamed: the pin under its old name is no mistake of anybody.
    let annotations = json!({
        "environment.nival.dev/new": "acme/api",
        "generation.nival.dev/old": pin("acme/api", 1), "pinned-from.nival.dev/old": "acme/api",
    });
    let renamed = with_containers(&annotations, &json!([{"name": "new"}]));
    let (admitted, _) = admit(&renamed, None, 2);
    let annotations = admitted["spec"]["template"]["metadata"]["annotations"]
        .as_object()
        .unwrap();
    assert!(!annotations.contains_key("generation.nival.dev/old"));
    assert_eq!(annotations["generation.nival.dev/new"], pin("acme/api", 2));
}

#[test]
fn what_is_odd_is_said_and_what_no_node_would_take_is_refused() {
    let unused = with_containers(
        &json!({"nival.dev/environment": "acme/api"}),
        &json!([{"name": "web", "image": "nginx"}]),
    );
    let plan = Plan::new(&unused, None).unwrap();
    assert!(plan.warnings()[0].starts_with("no container runs in the environment"));
    let mut other_class = deployment(&json!({"nival.dev/environment": "acme/api"}));
    other_class["spec"]["template"]["spec"]["runtimeClassName"] = "gvisor".into();
    let plan = Plan::new(&other_class, None).unwrap();
    assert!(plan.warnings()[0].contains("runtimeClassName is gvisor"));
    for (annotations, part) in [
        (
            json!({"nival.dev/environment": "acme"}),
            "is not a reference",
        ),
        (
            json!({"nival.dev/environment": 12}),
            "put its value in quotes",
        ),
        (
            json!({"nival.dev/environment": "acme/api\u{7}"}),
            "control character",
        ),
        (
            json!({"environment.nival.dev/wbe": "acme/api"}),
            "(it has: web)",
        ),
        (
            json!({"exec-outside.nival.dev/wbe": "true"}),
            "(it has: web)",
        ),
        (
            json!({"nival.dev/environment": "acme/api", "nival.dev/generation": "latest"}),
            "is not a",
        ),
        (
            json!({"nival.dev/environment": "a".repeat(2000)}),
            "at most 1024",
        ),
    ] {
        let error = Plan::new(&deployment(&annotations), None).unwrap_err();
        let text = chain(&error);
        assert!(text.contains(part), "{text}");
    }
    let service = json!({"apiVersion": "v1", "kind": "Service"});
    let error = Plan::new(&service, None).unwrap_err().to_string();
    assert!(
        error.starts_with("a Service has no pod template that Nival knows"),
        "{error}"
    );
}

#[test]
fn a_template_without_annotations_and_metadata_gets_neither() {
    let object =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {"spec": {}}}});
    let plan = Plan::new(&object, None).unwrap();
    assert!(!plan.uses_environments());
    assert_eq!(plan.edits(&BTreeMap::new()), []);
}

#[test]
fn a_strange_time_of_restart_is_told_by_its_digest() {
    let strange = annotate(&first(), RESTARTED, "when I said so, twice");
    let (admitted, asked) = admit(&strange, Some(&first()), 2);
    assert_eq!(asked, ["acme/api"]);
    assert_eq!(pinned(&admitted).1.split(' ').count(), 2);
    assert_eq!(
        admit(&admitted, Some(&first()), 3),
        (admitted.clone(), Vec::new())
    );
}
