//! SPDX 2.3 in JSON.

use std::collections::BTreeMap;

use nix_data::StorePath;
use serde_json::{Map, Value, json};

use crate::component::{Component, components};
use crate::cyclonedx::text;
use crate::{SbomInput, license, serial};

/// The name of the format in a generation's record.
pub const SPDX_FORMAT: &str = "spdx-2.3";

/// What SPDX writes where nothing is claimed.
const NOTHING_CLAIMED: &str = "NOASSERTION";

/// Returns the document: one package per store path of the closure, and its references as relationships.
#[must_use]
pub fn spdx(input: &SbomInput<'_>) -> String {
    let components = components(input);
    let mut others = BTreeMap::new();
    let owner = format!("Organization: {}", input.owner());
    let packages: Vec<Value> = components
        .iter()
        .map(|one| package(one, &owner, &mut others))
        .collect();
    let mut relationships = vec![relationship(
        "SPDXRef-DOCUMENT",
        "DESCRIBES",
        &id(input.environment_path),
    )];
    for one in &components {
        let own = id(&one.path.path);
        relationships.extend(
            one.dependencies()
                .map(|needed| relationship(&own, "DEPENDS_ON", &id(needed))),
        );
    }
    let extracted = others.iter().map(
        |(reference, name)| json!({"licenseId": reference, "name": name, "extractedText": name}),
    );
    let extracted: Vec<Value> = extracted.collect();
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("{} ({})", input.label(), input.system),
        "documentNamespace": "",
        "creationInfo": {
            "created": input.created_in_seconds(),
            "creators": [
                format!("Tool: nival-{}", input.tool_version),
                owner,
            ],
        },
        "packages": packages,
        "relationships": relationships,
    });
    if !extracted.is_empty() {
        document["hasExtractedLicensingInfos"] = extracted.into();
    }
    let unique = serial::uuid(document.to_string().as_bytes());
    document["documentNamespace"] = format!(
        "https://nival.dev/spdx/{}/{}/{unique}",
        input.environment, input.number
    )
    .into();
    text(&document)
}

fn package(one: &Component<'_>, owner: &str, others: &mut BTreeMap<String, String>) -> Value {
    let mut fields = Map::new();
    fields.insert("SPDXID".into(), id(&one.path.path).into());
    fields.insert("name".into(), one.name.as_str().into());
    fields.insert("versionInfo".into(), one.version.as_str().into());
    fields.insert("packageFileName".into(), one.path.path.to_string().into());
    fields.insert("supplier".into(), owner.into());
    fields.insert("downloadLocation".into(), NOTHING_CLAIMED.into());
    fields.insert("filesAnalyzed".into(), false.into());
    let checksum = json!([{"algorithm": "SHA256", "checksumValue": one.path.nar_hash.to_hex()}]);
    fields.insert("checksums".into(), checksum);
    if let Some(homepage) = one.homepage() {
        fields.insert("homepage".into(), homepage.into());
    }
    fields.insert("licenseConcluded".into(), NOTHING_CLAIMED.into());
    fields.insert(
        "licenseDeclared".into(),
        license::declared(one.licenses(), others).into(),
    );
    fields.insert("copyrightText".into(), NOTHING_CLAIMED.into());
    if let Some(description) = one.description() {
        fields.insert("summary".into(), description.into());
    }
    let comment = format!("checksum of the NAR ({} bytes)", one.path.nar_size);
    fields.insert("comment".into(), comment.into());
    let mut references = vec![json!({
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": one.purl,
    })];
    references.extend(one.cpe().map(|cpe| {
        json!({
            "referenceCategory": "SECURITY",
            "referenceType": "cpe23Type",
            "referenceLocator": cpe,
        })
    }));
    fields.insert("externalRefs".into(), references.into());
    fields.into()
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to})
}

/// SPDX takes letters, digits, dots and dashes; the hash in front keeps the identifiers apart.
fn id(path: &StorePath) -> String {
    let fits = |one: char| {
        if one.is_ascii_alphanumeric() || one == '.' {
            one
        } else {
            '-'
        }
    };
    format!(
        "SPDXRef-{}",
        path.base_name().chars().map(fits).collect::<String>()
    )
}
