//! Tests of the specification's edit.

use api::agent::{SearchPath, Variable};

use super::*;

fn plan() -> PrepareResponse {
    let variable = |name: &str, value: &str| Variable {
        name: name.into(),
        value: value.into(),
        ..Variable::default()
    };
    PrepareResponse {
        pin: "acme/api:1@sha256:00".into(),
        environment: "/nix/store/e-env".into(),
        mount_source: "/var/lib/nival/mounts/x".into(),
        variables: vec![
            variable("NIVAL_ENV", "/nix/store/e-env"),
            variable("LEVEL", "info"),
            variable("LEVEL", "debug"),
            variable("DATA", "${HOME}/data"),
            variable("PRICE", "5$$"),
            variable("LANGUAGES", "${LANGUAGES}:de"),
        ],
        search_paths: vec![
            SearchPath {
                name: "PATH".into(),
                entries: vec![
                    "/nix/store/e-env/bin".into(),
                    "/nix/store/e-env/sbin".into(),
                ],
                ..SearchPath::default()
            },
            SearchPath {
                name: "PYTHONPATH".into(),
                entries: vec!["/nix/store/e-env/lib".into()],
                ..SearchPath::default()
            },
        ],
        ..PrepareResponse::default()
    }
}

fn container() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "process": {"args": ["python3", "app.py"], "env": ["PATH=/bin", "A=1"], "user": {"uid": 1000, "gid": 7}},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"futureField": {"deep": [1]}, "namespaces": [{"type": "pid"}]},
    })
}

#[test]
fn the_closure_is_bound_last_and_read_only_to_the_ground() {
    let mut spec = container();
    apply(&mut spec, &plan(), None, "/root").unwrap();
    let mounts = spec["mounts"].as_array().unwrap();
    assert_eq!(
        mounts[1],
        json!({"destination": "/nix/store", "type": "bind", "source": "/var/lib/nival/mounts/x",
            "options": ["rbind", "rro", "rprivate", "nosuid", "nodev"]})
    );
    assert_eq!(mounts.len(), 2);
    assert_eq!(spec["process"]["args"], json!(["python3", "app.py"]));
}

#[test]
fn fields_that_the_shim_does_not_know_survive() {
    let mut spec = container();
    apply(&mut spec, &plan(), None, "/root").unwrap();
    assert_eq!(spec["linux"]["futureField"], json!({"deep": [1]}));
    let names: Vec<_> = spec.as_object().unwrap().keys().collect();
    assert_eq!(names, ["ociVersion", "process", "mounts", "linux"]);
}

#[test]
fn search_paths_come_first_and_the_pods_own_variables_stay() {
    let mut variables: Vec<String> = [
        "PATH=/bin",
        "LEVEL=trace",
        "NIVAL_ENV=/forged",
        "LANGUAGES=en",
    ]
    .map(str::to_owned)
    .into();
    add_variables(&mut variables, &plan(), "/root").unwrap();
    assert_eq!(
        variables,
        [
            "PATH=/nix/store/e-env/bin:/nix/store/e-env/sbin:/bin",
            "LEVEL=trace",
            "NIVAL_ENV=/nix/store/e-env",
            "LANGUAGES=en:de",
            "DATA=/root/data",
            "PRICE=5$",
            "PYTHONPATH=/nix/store/e-env/lib",
        ]
    );
}

#[test]
fn without_variables_the_last_of_the_plan_counts_and_path_has_a_default() {
    let mut variables = Vec::new();
    add_variables(&mut variables, &plan(), "/root").unwrap();
    assert!(
        variables.contains(&"LEVEL=debug".to_owned()),
        "{variables:?}"
    );
    let value = |variable: &String| variable.strip_prefix("PATH=").map(str::to_owned);
    let path = variables.iter().find_map(value).unwrap();
    assert!(
        path.starts_with("/nix/store/e-env/bin:") && path.ends_with(":/sbin:/bin"),
        "{path}"
    );
}

#[test]
fn a_hook_runs_before_the_command() {
    let mut spec = container();
    let hook = HookMounts {
        folder: "/bundle/nival".into(),
        init: "/usr/bin/shim".into(),
    };
    apply(&mut spec, &plan(), Some(&hook), "/root").unwrap();
    assert_eq!(
        spec["process"]["args"],
        json!(["/nix/.nival/init", "python3", "app.py"])
    );
    let destinations: Vec<_> = spec["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["destination"].clone())
        .collect();
    assert_eq!(
        destinations,
        ["/proc", "/nix/store", "/nix/.nival", "/nix/.nival/init"]
    );
}

#[test]
fn a_volume_over_the_closure_is_refused() {
    for destination in [
        "/nix/store",
        "/nix/store/",
        "//nix/./store/x",
        "/nix/.nival",
    ] {
        let mut spec = container();
        spec["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({"destination": destination}));
        let error = apply(&mut spec, &plan(), None, "/root").unwrap_err();
        assert!(error.to_string().contains("mount it elsewhere"), "{error}");
    }
    let mut spec = container();
    spec["mounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({"destination": "/nix"}));
    apply(&mut spec, &plan(), None, "/root").unwrap();
}

#[test]
fn variables_that_no_process_can_have_are_refused() {
    for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0y")] {
        let mut plan = plan();
        plan.variables[0].name = name.into();
        plan.variables[0].value = value.into();
        assert!(
            add_variables(&mut Vec::new(), &plan, "/root").is_err(),
            "{name:?}"
        );
    }
}

#[test]
fn a_specification_without_lists_gets_them_and_one_without_process_is_refused() {
    let mut spec = json!({"process": {"args": ["x"], "env": null}, "mounts": null});
    apply(&mut spec, &plan(), None, "/root").unwrap();
    assert_eq!(spec["mounts"].as_array().unwrap().len(), 1);
    assert!(apply(&mut json!({}), &plan(), None, "/root").is_err());
    assert!(apply(&mut json!([]), &plan(), None, "/root").is_err());
}

#[test]
fn users_are_mapped_where_the_container_has_a_user_namespace() {
    let mut spec = container();
    assert_eq!(on_host(&spec, user(&spec)), User { uid: 1000, gid: 7 });
    let mapping = json!([{"containerID": 0, "hostID": 65536, "size": 65536}]);
    spec["linux"]["uidMappings"] = mapping.clone();
    spec["linux"]["gidMappings"] = mapping;
    assert_eq!(
        on_host(&spec, user(&spec)),
        User {
            uid: 66536,
            gid: 65543
        }
    );
    assert_eq!(user(&spec), User { uid: 1000, gid: 7 });
}

#[test]
fn a_process_namespace_of_its_own_is_told_from_a_shared_one() {
    assert!(!shares_processes(&container()));
    for namespaces in [
        json!([]),
        json!([{"type": "pid", "path": "/proc/1/ns/pid"}]),
    ] {
        let mut spec = container();
        spec["linux"]["namespaces"] = namespaces;
        assert!(shares_processes(&spec));
    }
}

#[test]
fn setting_a_variable_leaves_one_of_its_name() {
    let mut variables: Vec<String> = ["A=1", "B=2", "A=3", "AB=4"].map(str::to_owned).into();
    set(&mut variables, "A", "5");
    assert_eq!(variables, ["A=5", "B=2", "AB=4"]);
}
