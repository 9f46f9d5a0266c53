//! Licences: SPDX identifiers and expressions where they are such, else the name that the package set gives.

use std::collections::BTreeMap;

use ::spdx::Expression;

/// A licence as a document can carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum License {
    /// An identifier on SPDX's list.
    Id(String),
    /// An expression of several.
    Expression(String),
    /// Anything else.
    Name(String),
}

/// Reads what the package set says.
pub(crate) fn read(text: &str) -> License {
    let text = text.trim();
    if let Some(id) = ::spdx::license_id(text) {
        return License::Id(id.name.to_owned());
    }
    match Expression::parse(text) {
        Ok(expression) => License::Expression(expression.to_string()),
        Err(_) => License::Name(text.to_owned()),
    }
}

/// Returns one SPDX expression for all licences of a package, and adds the names in it that SPDX does not know.
pub(crate) fn declared(texts: &[String], others: &mut BTreeMap<String, String>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for text in texts.iter().filter(|text| !text.trim().is_empty()) {
        let part = match read(text) {
            License::Id(id) => id,
            License::Expression(expression) if texts.len() == 1 => expression,
            License::Expression(expression) => format!("({expression})"),
            License::Name(name) => {
                let reference = reference(&name);
                others.insert(reference.clone(), name);
                reference
            }
        };
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    if parts.is_empty() {
        "NOASSERTION".to_owned()
    } else {
        parts.join(" AND ")
    }
}

/// Returns the reference to a licence that is only in this document.
fn reference(name: &str) -> String {
    let fits = |one: char| {
        if one.is_ascii_alphanumeric() || one == '.' {
            one
        } else {
            '-'
        }
    };
    let short: String = name.chars().take(60).map(fits).collect();
    let digest = env_spec::Digest::of(name.as_bytes()).hex();
    // Two names may look alike once the letters that do not fit are gone.
    format!("LicenseRef-{}-{}", short.trim_matches('-'), &digest[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_expressions_and_names_are_told_apart() {
        assert_eq!(read("MIT"), License::Id("MIT".into()));
        assert_eq!(
            read("MIT OR Apache-2.0"),
            License::Expression("MIT OR Apache-2.0".into())
        );
        assert_eq!(
            read("Some Own Licence"),
            License::Name("Some Own Licence".into())
        );
    }

    #[test]
    fn several_licences_become_one_expression() {
        let mut others = BTreeMap::new();
        let texts = ["MIT", "BSD-3-Clause OR ISC", "Own (c) 1", "MIT", " "].map(str::to_owned);
        let found = declared(&texts, &mut others);
        let own = others.keys().next().unwrap();
        assert_eq!(found, format!("MIT AND (BSD-3-Clause OR ISC) AND {own}"));
        assert!(own.starts_with("LicenseRef-Own--c--1-"), "{own}");
        assert!(Expression::parse(&found).is_ok());
        assert_eq!(declared(&[], &mut others), "NOASSERTION");
    }
}
