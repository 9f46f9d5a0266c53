//! Whatever a template says, a second look at what admission made of it changes nothing.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn pin_of(reference: &Reference, live: u64) -> Pin {
    let number = reference.number.unwrap_or(live);
    let text = format!("{}:{number}", reference.environment);
    let digest = env_spec::Digest::of(text.as_bytes());
    Pin {
        hub: None,
        environment: reference.environment.clone(),
        number,
        digest: reference.digest.unwrap_or(digest),
    }
}

fn references() -> impl Strategy<Value = String> {
    let pin = pin_of(&"acme/api".parse().unwrap(), 2).to_string();
    prop_oneof![
        Just("acme/api".to_owned()),
        Just("acme/web".to_owned()),
        Just(" acme/api:2".to_owned()),
        Just("hub.example.com/acme/api".to_owned()),
        Just(pin),
        Just("none".to_owned()),
    ]
}

fn pins() -> impl Strategy<Value = String> {
    ("acme/(api|web)", 1_u64..4)
        .prop_map(|(environment, number)| pin_of(&environment.parse().unwrap(), number).to_string())
}

fn origins() -> impl Strategy<Value = String> {
    (
        references(),
        proptest::option::of("20[0-9]{2}-11-2[0-9]T08:00:00Z"),
    )
        .prop_map(|(reference, restart)| match restart {
            Some(restart) => format!("{} {restart}", reference.trim()),
            None => reference,
        })
}

fn templates() -> impl Strategy<Value = Value> {
    let slot = || {
        (
            proptest::option::of(references()),
            proptest::option::of(pins()),
            proptest::option::of(origins()),
        )
    };
    let image = || proptest::option::of("(nginx|nival.dev/placeholder:v1|)");
    let restart = proptest::option::of("(20[0-9]{2}-11-2[0-9]T08:00:00Z|soon| )");
    (slot(), slot(), restart, image(), image()).prop_map(|(pod, web, restart, one, two)| {
        let mut annotations = Map::new();
        for (slot, (reference, pin, from)) in
            [(Slot::Pod, pod), (Slot::Container("web".to_owned()), web)]
        {
            let all = [
                (slot.environment(), reference),
                (slot.generation(), pin),
                (slot.pinned_from(), from),
            ];
            for (name, value) in all {
                value.map(|value| annotations.insert(name, value.into()));
            }
        }
        restart.map(|restart| {
            annotations.insert(crate::names::RESTARTED_AT.to_owned(), restart.into())
        });
        let mut containers = json!([{"name": "web"}, {"name": "log"}]);
        for (index, image) in [one, two].into_iter().enumerate() {
            if let Some(image) = image {
                containers[index]["image"] = image.into();
            }
        }
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"annotations": annotations}, "spec": {"containers": containers},
        })
    })
}

fn admit(object: &Value, old: Option<&Value>, live: u64) -> Result<(Value, Plan), PlanError> {
    let plan = Plan::new(object, old)?;
    let resolved = plan.wanted().into_iter();
    let resolved = resolved.map(|(slot, reference)| (slot, pin_of(&reference, live)));
    let mut admitted = object.clone();
    apply(&mut admitted, &plan.edits(&resolved.collect()));
    Ok((admitted, plan))
}

proptest! {
    #[test]
    fn a_second_pass_changes_nothing_and_asks_nobody(
        object in templates(), old in proptest::option::of(templates()),
    ) {
        let old = old.as_ref();
        let Ok((admitted, _)) = admit(&object, old, 3) else { return Ok(()) };
        // The API server asks again with the same older object, and the next update has this one as its older.
        for old in [old, Some(&admitted)] {
            let (again, plan) = admit(&admitted, old, 4).unwrap();
            prop_assert_eq!(plan.wanted(), vec![]);
            prop_assert_eq!(&again, &admitted);
        }
    }

    #[test]
    fn every_place_that_asks_for_an_environment_has_a_pin_of_it(object in templates()) {
        let Ok((admitted, _)) = admit(&object, None, 3) else { return Ok(()) };
        let annotations = Template::of(Kind::Pod, &admitted).unwrap().annotations();
        for slot in Slot::all_in(&annotations) {
            if slot.state(&annotations) == State::Active {
                let pin: Pin = annotations[&slot.generation()].parse().unwrap();
                if let Some(reference) = annotations.get(&slot.environment()) {
                    let reference: Reference = reference.trim().parse().unwrap();
                    prop_assert_eq!(pin.environment, reference.environment);
                }
            }
        }
    }

    #[test]
    fn no_annotations_make_it_panic(
        annotations in proptest::collection::btree_map(
            "(nival.dev/|[a-z]{1,12}.nival.dev/)(generation|environment|pinned-from|web|é|)", ".{0,40}", 0..6,
        ),
    ) {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "web"}]},
        });
        admit(&object, None, 3).ok();
    }
}
