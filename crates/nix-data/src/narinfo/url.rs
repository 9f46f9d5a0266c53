//! The `URL` of a narinfo: a path below the cache that can lead nowhere else.

use crate::hash::shortened;

/// The longest URL: a hash, an extension and a query come nowhere near.
const LONGEST: usize = 1024;

/// Why a narinfo's URL is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is empty or too long.
    #[error("URL has {length} bytes; 1 to 1024 are allowed")]
    Length {
        /// Its length.
        length: usize,
    },
    /// It leads away from the cache by scheme, host or an absolute path.
    #[error(
        "URL {url:?} leads away from the cache; it must be relative to it (such as `nar/….nar.zst`)"
    )]
    NotRelative {
        /// The URL, shortened.
        url: String,
    },
    /// It has characters that no cache writes.
    #[error("URL {url:?} contains {character:?}, which is not allowed there")]
    Character {
        /// The URL, shortened.
        url: String,
        /// The first such character.
        character: char,
    },
    /// It has a `.`, `..` or empty component, plain or percent-encoded.
    #[error("URL {url:?} has a component that is empty, `.` or `..`, or an encoded one")]
    Component {
        /// The URL, shortened.
        url: String,
    },
}

/// Checks that a URL stays below the cache, for an HTTP client and for a folder alike.
///
/// A query is allowed: some servers put the hash part there.
pub(super) fn check(url: &str) -> Result<(), UrlError> {
    if url.is_empty() || url.len() > LONGEST {
        return Err(UrlError::Length { length: url.len() });
    }
    let allowed = |one: char| one.is_ascii_graphic() && !"\\#<>\"^`{|}".contains(one);
    if let Some(character) = url.chars().find(|one| !allowed(*one)) {
        return Err(UrlError::Character {
            url: shortened(url),
            character,
        });
    }
    let path = url.split_once('?').map_or(url, |(path, _)| path);
    let mut components = path.split('/');
    let first = components.next().unwrap_or_default();
    if path.starts_with('/') || first.contains(':') {
        return Err(UrlError::NotRelative {
            url: shortened(url),
        });
    }
    let wrong = |one: &str| one.is_empty() || one == "." || one == ".." || hides_syntax(one);
    if path.split('/').any(wrong) {
        return Err(UrlError::Component {
            url: shortened(url),
        });
    }
    Ok(())
}

/// Returns whether percent-encoding is broken or hides a character that has a meaning in paths.
fn hides_syntax(component: &str) -> bool {
    component.split('%').skip(1).any(|after| {
        let byte = after
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        !byte.is_some_and(|byte| byte.is_ascii_graphic() && !b"./\\%?#:".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_caches_write_is_taken() {
        for url in [
            "nar/0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73.nar.xz",
            "nar/0mdqa9.nar?hash=1y5i3zn2",
            "0mdqa9.nar.zst",
            "a/b/c..d/e:f/..g",
            "a%2Bb.nar",
        ] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for url in ["/nar/a", "//host/a", "https://host/a", "file:nar", "C:/a"] {
            assert!(
                matches!(check(url), Err(UrlError::NotRelative { .. })),
                "{url}"
            );
        }
        for url in [
            "..",
            "../a",
            "nar/../../a",
            "nar/./a",
            "nar//a",
            "nar/",
            "?a",
            "%2e%2e/a",
            "a/%2E./b",
        ] {
            assert!(
                matches!(check(url), Err(UrlError::Component { .. })),
                "{url}"
            );
        }
        for url in ["a%2fb", "a%5cb", "a%00", "a%", "a%2", "a%zz", "a%+1"] {
            assert!(
                matches!(check(url), Err(UrlError::Component { .. })),
                "{url}"
            );
        }
        for url in ["a\\b", "a b", "a\0", "a\tb", "nar/ä", "a#b", "a\u{202e}"] {
            assert!(
                matches!(check(url), Err(UrlError::Character { .. })),
                "{url:?}"
            );
        }
        assert!(matches!(check(""), Err(UrlError::Length { .. })));
        assert!(matches!(
            check(&"a".repeat(LONGEST + 1)),
            Err(UrlError::Length { .. })
        ));
    }
}
