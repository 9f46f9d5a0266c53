//! CycloneDX 1.6 in JSON.

use serde_json::{Map, Value, json};

use crate::component::{Component, components};
use crate::license::{self, License};
use crate::{SbomInput, serial};

/// The name of the format in a generation's record.
pub const CYCLONEDX_FORMAT: &str = "cyclonedx-1.6";

/// Returns the document: one component per store path of the closure, and its references as dependencies.
#[must_use]
pub fn cyclonedx(input: &SbomInput<'_>) -> String {
    let components = components(input);
    let root = input.label();
    let mut dependencies = vec![json!({"ref": root, "dependsOn": [input.environment_path]})];
    dependencies.extend(components.iter().map(|one| {
        let needs: Vec<String> = one.dependencies().map(ToString::to_string).collect();
        json!({"ref": one.path.path, "dependsOn": needs})
    }));
    let refs: Vec<String> = components
        .iter()
        .map(|one| one.path.path.to_string())
        .collect();
    let mut document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": "",
        "version": 1,
        "metadata": metadata(input),
        "components": components.iter().map(|one| component(one, input.owner())).collect::<Vec<_>>(),
        "dependencies": dependencies,
        // The closure is closed under references: nothing is missing from these lists.
        "compositions": [{"aggregate": "complete", "dependencies": refs}],
    });
    let content = document.to_string();
    document["serialNumber"] = format!("urn:uuid:{}", serial::uuid(content.as_bytes())).into();
    text(&document)
}

/// Returns the text of a document: indented, with a newline at the end.
pub(crate) fn text(document: &Value) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("a value can be written");
    text.push('\n');
    text
}

fn metadata(input: &SbomInput<'_>) -> Value {
    let environment = input
        .closure
        .iter()
        .find(|one| one.path == *input.environment_path);
    let hashes = environment.map(|one| json!({"alg": "SHA-256", "content": one.nar_hash.to_hex()}));
    json!({
        "timestamp": input.created,
        "lifecycles": [{"phase": "post-build"}],
        "tools": {"components": [{
            "type": "application",
            "name": "nival",
            "version": input.tool_version,
        }]},
        "authors": [{"name": input.owner()}],
        "component": {
            "type": "application",
            "bom-ref": input.label(),
            "name": input.environment,
            "version": input.number.to_string(),
            "supplier": {"name": input.owner()},
            "hashes": hashes.into_iter().collect::<Vec<_>>(),
            "licenses": [unknown_license()],
            "purl": format!("pkg:generic/{}@{}", input.environment, input.number),
            "properties": [
                property("nival:environment-path", &input.environment_path.to_string()),
                property("nival:system", input.system.as_str()),
            ],
        },
        "supplier": {"name": input.owner()},
    })
}

fn component(one: &Component<'_>, owner: &str) -> Value {
    let mut fields = Map::new();
    let kind = if one.install_ids.is_empty() {
        "library"
    } else {
        "application"
    };
    fields.insert("type".into(), kind.into());
    fields.insert("bom-ref".into(), one.path.path.to_string().into());
    fields.insert("name".into(), one.name.as_str().into());
    fields.insert("version".into(), one.version.as_str().into());
    if let Some(description) = one.description() {
        fields.insert("description".into(), description.into());
    }
    // Who signs and publishes an environment is the one who hands its parts on.
    fields.insert("supplier".into(), json!({"name": owner}));
    fields.insert("scope".into(), "required".into());
    fields.insert(
        "hashes".into(),
        json!([{"alg": "SHA-256", "content": one.path.nar_hash.to_hex()}]),
    );
    fields.insert("licenses".into(), licenses(one.licenses()).into());
    if let Some(cpe) = one.cpe() {
        fields.insert("cpe".into(), cpe.into());
    }
    fields.insert("purl".into(), one.purl.as_str().into());
    if let Some(homepage) = one.homepage() {
        fields.insert(
            "externalReferences".into(),
            json!([{"type": "website", "url": homepage}]),
        );
    }
    fields.insert("properties".into(), properties(one).into());
    fields.into()
}

/// CycloneDX takes either licences by id and name, or one expression alone.
fn licenses(texts: &[String]) -> Vec<Value> {
    if let [only] = texts
        && let License::Expression(expression) = license::read(only)
    {
        return vec![json!({"expression": expression})];
    }
    let one = |text: &String| match license::read(text) {
        License::Id(id) => json!({"license": {"id": id}}),
        License::Expression(name) | License::Name(name) => json!({"license": {"name": name}}),
    };
    let mut found: Vec<Value> = Vec::new();
    for license in texts.iter().filter(|text| !text.trim().is_empty()).map(one) {
        if !found.contains(&license) {
            found.push(license);
        }
    }
    if found.is_empty() {
        found.push(unknown_license());
    }
    found
}

/// Says that nothing is known, where nothing at all could also mean that nobody looked.
fn unknown_license() -> Value {
    json!({"license": {"name": "NOASSERTION"}})
}

fn properties(one: &Component<'_>) -> Vec<Value> {
    let mut properties = vec![
        property("nival:store-path", &one.path.path.to_string()),
        property("nival:nar-hash", &one.path.nar_hash.to_sri()),
        property("nival:nar-size", &one.path.nar_size.to_string()),
    ];
    properties.extend(
        one.output
            .iter()
            .map(|output| property("nival:output", output)),
    );
    properties.extend(
        one.install_ids
            .iter()
            .map(|id| property("nival:install-id", id)),
    );
    if let Some(package) = one.package.filter(|package| !package.attr_path.is_empty()) {
        properties.push(property("nival:attribute-path", &package.attr_path));
    }
    properties
}

fn property(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}
