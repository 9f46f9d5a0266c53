//! Names and versions from the names of store paths, and package URLs from both.

/// The usual outputs of packages: `openssl-3.0.15-dev` is version 3.0.15.
const OUTPUTS: [&str; 14] = [
    "bin", "data", "debug", "dev", "devdoc", "devman", "dist", "doc", "info", "lib", "man", "out",
    "py", "static",
];

/// A store path's name in its parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NameParts<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: Option<&'a str>,
    pub(crate) output: Option<&'a str>,
}

/// Splits as Nix does: the version begins after the first dash that no letter follows.
pub(crate) fn split(text: &str) -> NameParts<'_> {
    let is_split = |(at, _): &(usize, &str)| {
        text.as_bytes()
            .get(at + 1)
            .is_some_and(|next| !next.is_ascii_alphabetic())
            && *at > 0
    };
    let split = text.match_indices('-').find(is_split);
    let (name, version) = match split {
        Some((at, _)) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let tail = version.unwrap_or(name);
    let output = tail
        .rsplit_once('-')
        .filter(|(front, last)| !front.is_empty() && OUTPUTS.contains(last));
    match (version, output) {
        (Some(_), Some((front, last))) => NameParts {
            name,
            version: Some(front),
            output: Some(last),
        },
        _ => NameParts {
            name,
            version,
            output: None,
        },
    }
}

/// Makes a package URL of the generic type.
pub(crate) fn generic_purl(name: &str, version: Option<&str>) -> String {
    let version = version
        .map(|version| format!("@{}", encoded(version)))
        .unwrap_or_default();
    format!("pkg:generic/{}{version}", encoded(name))
}

/// Adds the output to a package URL: programs that take URLs for identifiers would make one of two outputs.
pub(crate) fn with_output(purl: &str, output: &str) -> String {
    let (rest, fragment) = match purl.split_once('#') {
        Some((rest, fragment)) => (rest, format!("#{fragment}")),
        None => (purl, String::new()),
    };
    let (base, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
    let mut all: Vec<String> = qualifiers
        .split('&')
        .filter(|one| !one.is_empty())
        .map(str::to_owned)
        .collect();
    all.push(format!("output={}", encoded(output)));
    all.sort();
    format!("{base}?{}{fragment}", all.join("&"))
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b".-_~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

/// Returns the package URL if it looks like one.
pub(crate) fn valid_purl(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("pkg:")?;
    let printable = text.chars().all(|one| one.is_ascii_graphic());
    (printable && rest.contains('/') && !rest.starts_with('/')).then_some(text)
}

/// Returns the Common Platform Enumeration name if it is a whole one of version 2.3.
pub(crate) fn valid_cpe(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("cpe:2.3:")?;
    let printable = rest.chars().all(|one| one.is_ascii_graphic());
    let is_part = rest.starts_with(['a', 'o', 'h', '*', '-']);
    // A backslash in front makes a colon part of a value.
    let colons = rest
        .replace("\\\\", "")
        .replace("\\:", "")
        .matches(':')
        .count();
    let filled = !rest.contains("::") && !rest.ends_with(':');
    (printable && is_part && colons == 10 && filled).then_some(text)
}

/// Returns the address if programs can follow it.
pub(crate) fn valid_url(text: &str) -> Option<&str> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))?;
    let is_fit = |one: char| one.is_ascii_graphic() && !"<>\"{}|\\^`".contains(one);
    (!rest.is_empty() && rest.chars().all(is_fit)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_as_nix_splits_them() {
        for (text, name, version, output) in [
            ("openssl-3.0.15", "openssl", Some("3.0.15"), None),
            ("openssl-3.0.15-dev", "openssl", Some("3.0.15"), Some("dev")),
            (
                "python3.11-numpy-1.24.2",
                "python3.11-numpy",
                Some("1.24.2"),
                None,
            ),
            (
                "libc6-2.36-9+deb12u13",
                "libc6",
                Some("2.36-9+deb12u13"),
                None,
            ),
            ("bash", "bash", None, None),
            ("setup-hook", "setup-hook", None, None),
            ("nival-environment", "nival-environment", None, None),
            ("source-2024-01-01", "source", Some("2024-01-01"), None),
            ("-1", "-1", None, None),
            ("a-", "a-", None, None),
        ] {
            assert_eq!(
                split(text),
                NameParts {
                    name,
                    version,
                    output
                },
                "{text}"
            );
        }
    }

    #[test]
    fn package_urls_are_encoded() {
        assert_eq!(
            generic_purl("libstdc++6", Some("12.2.0-14+deb12u1")),
            "pkg:generic/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1"
        );
        assert_eq!(generic_purl("bash", None), "pkg:generic/bash");
        assert_eq!(
            with_output("pkg:generic/a@1", "dev"),
            "pkg:generic/a@1?output=dev"
        );
        assert_eq!(
            with_output("pkg:deb/b/a@1?x=1&arch=y#s", "dev"),
            "pkg:deb/b/a@1?arch=y&output=dev&x=1#s"
        );
    }

    #[test]
    fn foreign_identifiers_are_only_passed_on_when_they_are_whole() {
        assert!(valid_purl("pkg:deb/debian/curl@7.88.1-10?arch=amd64").is_some());
        assert!(valid_purl("pkg: x").is_none() && valid_purl("curl").is_none());
        assert!(valid_cpe("cpe:2.3:a:haxx:curl:7.88.1:*:*:*:*:*:*:*").is_some());
        assert!(valid_cpe("cpe:2.3:a:haxx:curl").is_none());
        assert!(valid_cpe("cpe:2.3:a:x:y:1:*:*:*:*:*:*:* ").is_none());
        assert!(valid_url("https://curl.se").is_some());
        assert!(valid_url("javascript:x").is_none() && valid_url("https://a b").is_none());
    }
}
