//! Judges the documents by the standards' own schemas and by a program that is not ours.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod fixture;

use std::collections::{BTreeMap, BTreeSet};

use fixture::Fixture;
use sbom_tools::quality::{ComplianceChecker, ComplianceLevel};
use serde_json::Value;

/// Checks a document against a schema and returns what is wrong.
fn judged(document: &str, schema: &str, others: &[(&str, &str)]) -> Vec<String> {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let mut registry = jsonschema::Registry::new();
    for (address, text) in others {
        registry = registry.add(*address, parse(text)).unwrap();
    }
    let registry = registry.prepare().unwrap();
    let options = jsonschema::options()
        .should_validate_formats(true)
        .with_registry(&registry);
    let validator = options.build(&parse(schema)).unwrap();
    validator
        .iter_errors(&parse(document))
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

fn judged_as_cyclonedx(document: &str) -> Vec<String> {
    let licences = include_str!("../schemas/spdx.schema.json");
    let signatures = include_str!("../schemas/jsf-0.82.schema.json");
    let others = [
        ("http://cyclonedx.org/schema/spdx.schema.json", licences),
        (
            "http://cyclonedx.org/schema/jsf-0.82.schema.json",
            signatures,
        ),
    ];
    judged(
        document,
        include_str!("../schemas/bom-1.6.schema.json"),
        &others,
    )
}

fn judged_as_spdx(document: &str) -> Vec<String> {
    judged(
        document,
        include_str!("../schemas/spdx-2.3.schema.json"),
        &[],
    )
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is a text"))
        .to_owned()
}

#[test]
fn documents_are_valid_by_the_standards_own_schemas() {
    let fixture = Fixture::new();
    assert_eq!(
        judged_as_cyclonedx(&sbom::cyclonedx(&fixture.input())),
        [""; 0]
    );
    assert_eq!(judged_as_spdx(&sbom::spdx(&fixture.input())), [""; 0]);
}

#[test]
fn the_judges_do_find_faults() {
    let fixture = Fixture::new();
    let document = sbom::cyclonedx(&fixture.input());
    assert!(!judged_as_cyclonedx(&document.replace("\"library\"", "\"thing\"")).is_empty());
    assert!(!judged_as_cyclonedx(&document.replace("\"MIT\"", "\"MIT-ish\"")).is_empty());
    let document = sbom::spdx(&fixture.input());
    assert!(!judged_as_spdx(&document.replace("\"DEPENDS_ON\"", "\"NEEDS\"")).is_empty());
}

#[test]
fn hostile_metadata_does_not_make_a_document_invalid() {
    let mut fixture = Fixture::new();
    let package = &mut fixture.packages[0];
    package.description = Some("\u{0}\"}]\u{1b}[31m\u{202e}".into());
    package.homepage = Some("javascript:alert(1)//\n".into());
    package.cpe = Some("cpe:2.3:a:x".into());
    package.purl = Some("pkg:evil /\n".into());
    package.licenses = vec![
        "".into(),
        "((((".into(),
        "A\u{0}B".into(),
        "x".repeat(10_000),
    ];
    package.pname = "".into();
    package.version = "".into();
    assert_eq!(
        judged_as_cyclonedx(&sbom::cyclonedx(&fixture.input())),
        [""; 0]
    );
    assert_eq!(judged_as_spdx(&sbom::spdx(&fixture.input())), [""; 0]);
}

#[test]
fn a_program_that_is_not_ours_finds_the_minimum_elements_in_both() {
    let fixture = Fixture::new();
    let check = |document: &str, level: ComplianceLevel| {
        let read = sbom_tools::parse_sbom_str(document).unwrap();
        assert!(read.components.len() >= fixture.closure.len());
        let result = ComplianceChecker::new(level).check(&read);
        let found: Vec<&String> = result.violations.iter().map(|one| &one.message).collect();
        assert!(result.is_compliant && result.error_count == 0, "{found:#?}");
    };
    check(
        &sbom::cyclonedx(&fixture.input()),
        ComplianceLevel::NtiaMinimum,
    );
    check(&sbom::spdx(&fixture.input()), ComplianceLevel::NtiaMinimum);
    // SPDX 2.3 has no field for some of these.
    check(
        &sbom::cyclonedx(&fixture.input()),
        ComplianceLevel::Cisa2026,
    );
}

#[test]
fn cyclonedx_components_and_dependencies_equal_the_closure() {
    let fixture = Fixture::new();
    let document: Value = serde_json::from_str(&sbom::cyclonedx(&fixture.input())).unwrap();
    let components = document["components"].as_array().unwrap();
    let refs: Vec<String> = components.iter().map(|one| text(&one["bom-ref"])).collect();
    let paths: Vec<String> = fixture
        .closure
        .iter()
        .map(|one| one.path.to_string())
        .collect();
    assert_eq!(refs, paths);
    let root = text(&document["metadata"]["component"]["bom-ref"]);
    assert_eq!(root, "acme/api:12");
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for one in document["dependencies"].as_array().unwrap() {
        let needs = one["dependsOn"]
            .as_array()
            .unwrap()
            .iter()
            .map(text)
            .collect();
        assert!(edges.insert(text(&one["ref"]), needs).is_none());
    }
    assert_eq!(
        edges.remove(&root).unwrap(),
        [fixture.environment.to_string()].into()
    );
    assert_eq!(edges, fixture.edges());
}

#[test]
fn spdx_packages_and_relationships_equal_the_closure() {
    let fixture = Fixture::new();
    let document: Value = serde_json::from_str(&sbom::spdx(&fixture.input())).unwrap();
    let mut names = BTreeMap::new();
    for package in document["packages"].as_array().unwrap() {
        names.insert(text(&package["SPDXID"]), text(&package["packageFileName"]));
    }
    assert_eq!(names.len(), fixture.closure.len());
    let mut edges: BTreeMap<String, BTreeSet<String>> = names
        .values()
        .map(|path| (path.clone(), BTreeSet::new()))
        .collect();
    for one in document["relationships"].as_array().unwrap() {
        let (from, to) = (
            text(&one["spdxElementId"]),
            names[&text(&one["relatedSpdxElement"])].clone(),
        );
        match text(&one["relationshipType"]).as_str() {
            "DESCRIBES" => assert_eq!(to, fixture.environment.to_string()),
            _ => assert!(edges.get_mut(&names[&from]).unwrap().insert(to)),
        }
    }
    assert_eq!(edges, fixture.edges());
}

#[test]
fn packages_carry_what_the_lock_knows_of_them() {
    let fixture = Fixture::new();
    let document: Value = serde_json::from_str(&sbom::cyclonedx(&fixture.input())).unwrap();
    let components = document["components"].as_array().unwrap();
    let find = |name: &str| {
        components
            .iter()
            .find(|one| text(&one["bom-ref"]).ends_with(name))
            .unwrap()
    };
    let curl = find("-curl-8.5.0");
    assert_eq!(curl["version"], "8.5.0");
    assert_eq!(curl["type"], "application");
    assert_eq!(curl["licenses"][0]["license"]["id"], "curl");
    assert_eq!(curl["cpe"], "cpe:2.3:a:haxx:curl:8.5.0:*:*:*:*:*:*:*");
    assert_eq!(curl["purl"], "pkg:deb/debian/curl@8.5.0");
    assert_eq!(curl["externalReferences"][0]["url"], "https://curl.se");
    let properties = curl["properties"].as_array().unwrap();
    let value = |name: &str| {
        properties
            .iter()
            .find(|one| one["name"] == name)
            .map(|one| text(&one["value"]))
    };
    assert_eq!(value("nival:install-id").unwrap(), "curl");
    let closure = fixture
        .closure
        .iter()
        .find(|one| one.path.name() == "curl-8.5.0")
        .unwrap();
    assert_eq!(value("nival:nar-hash").unwrap(), closure.nar_hash.to_sri());
    assert_eq!(curl["hashes"][0]["content"], closure.nar_hash.to_hex());
    let openssl = find("-openssl-3.0.15");
    assert_eq!(
        (text(&openssl["version"]), text(&openssl["type"])),
        ("3.0.15".into(), "library".into())
    );
    assert_eq!(openssl["purl"], "pkg:generic/openssl@3.0.15");
    let hook = find("-hook");
    assert_eq!(text(&hook["version"]).len(), 32);
}

#[test]
fn the_same_input_gives_the_same_bytes_and_another_one_another_number() {
    let fixture = Fixture::new();
    let mut other = fixture.input();
    other.number = 13;
    for make in [sbom::cyclonedx, sbom::spdx] {
        assert_eq!(make(&fixture.input()), make(&Fixture::new().input()));
        assert!(make(&fixture.input()).ends_with("}\n"));
    }
    let serial =
        |document: String| text(&serde_json::from_str::<Value>(&document).unwrap()["serialNumber"]);
    assert_ne!(
        serial(sbom::cyclonedx(&fixture.input())),
        serial(sbom::cyclonedx(&other))
    );
}
