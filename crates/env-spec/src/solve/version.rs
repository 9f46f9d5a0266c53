//! Which versions will do: ranges as in semver, lenient about how package sets spell versions.

use std::cmp::Ordering;
use std::fmt;

/// A requirement such as `^3.11`, `>=1.2 <2`, `1.x`, `18 || 20` or `=3.11.2-6+deb12u1`.
///
/// Bare numbers are a prefix: `1.2` takes every `1.2.x`. A text that is no range is an exact version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRequirement {
    text: String,
    /// One of these must hold, with all comparators in it.
    alternatives: Vec<Vec<Comparator>>,
}

/// Why a text is no requirement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a version requirement: expected such as 3.11, ^1.2, >=1.2 <2 or =1.2.3")]
pub struct VersionRequirementError {
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Comparator {
    Any,
    /// The whole text, or all of it before what a distribution appends.
    Exact(String),
    /// These numbers come first.
    Prefix(Vec<u64>),
    Greater(Version),
    GreaterOrEqual(Version),
    Less(Version),
    LessOrEqual(Version),
}

/// What can be compared in a version: its numbers, and whether it came before the release.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    numbers: Vec<u64>,
    pre_release: Option<String>,
}

impl VersionRequirement {
    /// Reads a requirement.
    ///
    /// # Errors
    /// Fails for an empty text and for operators that nothing follows.
    pub fn parse(text: &str) -> Result<Self, VersionRequirementError> {
        let wrong = || VersionRequirementError {
            text: text.chars().take(80).collect(),
        };
        if text.len() > 200 || text.chars().any(char::is_control) {
            return Err(wrong());
        }
        let alternatives = text
            .split("||")
            .map(|one| alternative(one.trim()))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(wrong)?;
        Ok(Self {
            text: text.trim().to_owned(),
            alternatives,
        })
    }

    /// Returns whether a version will do.
    ///
    /// Versions before a release (`2.0.0-rc1`) only do where they are allowed or asked for by name.
    #[must_use]
    pub fn matches(&self, version: &str, allow_pre_releases: bool) -> bool {
        let parsed = Version::parse(version);
        self.alternatives.iter().any(|all| {
            let named = all.iter().any(Comparator::names_a_pre_release);
            let early = parsed.as_ref().is_some_and(|one| one.pre_release.is_some());
            (allow_pre_releases || named || !early || all.iter().any(|one| one.is_exactly(version)))
                && all.iter().all(|one| one.matches(version, parsed.as_ref()))
        })
    }
}

impl fmt::Display for VersionRequirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Orders versions as well as their spelling allows, for showing the newest first.
#[must_use]
pub fn compare_versions(left: &str, right: &str) -> Ordering {
    match (Version::parse(left), Version::parse(right)) {
        (Some(one), Some(other)) => one.compare(&other).then_with(|| left.cmp(right)),
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (None, None) => left.cmp(right),
    }
}

/// Reads comparators that must all hold.
fn alternative(text: &str) -> Option<Vec<Comparator>> {
    if text.is_empty() {
        return None;
    }
    if let Some((from, to)) = text.split_once(" - ") {
        let from = Comparator::GreaterOrEqual(Version::parse(from.trim())?);
        return Some(vec![
            from,
            Comparator::LessOrEqual(Version::parse(to.trim())?),
        ]);
    }
    let mut all = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (operator, after) = operator(rest);
        let after = after.trim_start();
        let end = after.find([' ', ',']).unwrap_or(after.len());
        comparators(operator, &after[..end], &mut all)?;
        rest = after[end..].trim_start_matches([' ', ',']);
    }
    Some(all)
}

fn operator(text: &str) -> (&str, &str) {
    let known = [">=", "<=", "==", ">", "<", "=", "^", "~"];
    match known.iter().find(|one| text.starts_with(**one)) {
        Some(one) => text.split_at(one.len()),
        None => ("", text),
    }
}

fn comparators(operator: &str, version: &str, all: &mut Vec<Comparator>) -> Option<()> {
    if version.is_empty() || version.starts_with(['<', '>', '=', '^', '~']) {
        return None;
    }
    if matches!(operator, "=" | "==") {
        all.push(Comparator::Exact(version.to_owned()));
        return Some(());
    }
    if operator.is_empty() {
        all.push(bare(version));
        return Some(());
    }
    let parsed = Version::parse(version)?;
    match operator {
        ">" => all.push(Comparator::Greater(parsed)),
        ">=" => all.push(Comparator::GreaterOrEqual(parsed)),
        "<" => all.push(Comparator::Less(parsed)),
        "<=" => all.push(Comparator::LessOrEqual(parsed)),
        _ => {
            // ^ keeps the first number that is not zero, ~ the first two; the rest may grow.
            let kept = match operator {
                "^" => {
                    let first = parsed.numbers.iter().position(|number| *number > 0);
                    first.unwrap_or(parsed.numbers.len() - 1) + 1
                }
                _ => parsed.numbers.len().min(2),
            };
            all.push(Comparator::Prefix(parsed.numbers[..kept].to_vec()));
            all.push(Comparator::GreaterOrEqual(parsed));
        }
    }
    Some(())
}

/// Reads `1.2`, `1.x`, `*` or an exact version.
fn bare(version: &str) -> Comparator {
    let is_wild = |part: &str| matches!(part, "*" | "x" | "X");
    let parts: Vec<&str> = version.split('.').collect();
    let fixed = parts
        .iter()
        .position(|part| is_wild(part))
        .unwrap_or(parts.len());
    let numbers: Option<Vec<u64>> = parts[..fixed]
        .iter()
        .map(|part| part.parse().ok())
        .collect();
    match numbers {
        Some(numbers) if numbers.is_empty() => Comparator::Any,
        Some(numbers) if parts[fixed..].iter().all(|part| is_wild(part)) => {
            Comparator::Prefix(numbers)
        }
        _ => Comparator::Exact(version.to_owned()),
    }
}

impl Comparator {
    fn matches(&self, text: &str, version: Option<&Version>) -> bool {
        match (self, version) {
            (Self::Any, _) => true,
            (Self::Exact(wanted), _) => {
                // `=3.11.2` means 3.11.2-6+deb12u1 too: the distribution's part is no other version.
                let appended = text.strip_prefix(wanted.as_str());
                wanted == text
                    || appended.is_some_and(|rest| {
                        rest.starts_with(['-', '+'])
                            && version.is_some_and(|one| one.pre_release.is_none())
                    })
            }
            (_, None) => false,
            (Self::Prefix(numbers), Some(version)) => numbers
                .iter()
                .enumerate()
                .all(|(index, number)| version.number(index) == *number),
            (Self::Greater(bound), Some(version)) => version.compare_to_bound(bound).is_gt(),
            (Self::LessOrEqual(bound), Some(version)) => version.compare_to_bound(bound).is_le(),
            (Self::GreaterOrEqual(bound), Some(version)) => version.compare(bound).is_ge(),
            (Self::Less(bound), Some(version)) => version.compare(bound).is_lt(),
        }
    }

    fn is_exactly(&self, text: &str) -> bool {
        matches!(self, Self::Exact(wanted) if wanted == text)
    }

    fn names_a_pre_release(&self) -> bool {
        match self {
            Self::Greater(one)
            | Self::GreaterOrEqual(one)
            | Self::Less(one)
            | Self::LessOrEqual(one) => one.pre_release.is_some(),
            Self::Any | Self::Exact(_) | Self::Prefix(_) => false,
        }
    }
}

impl Version {
    /// Reads the numbers at the front; what follows is either a mark of a pre-release or a distribution's addition.
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut numbers = Vec::new();
        let mut rest = text;
        loop {
            let end = rest
                .find(|one: char| !one.is_ascii_digit())
                .unwrap_or(rest.len());
            numbers.push(rest[..end].parse().ok()?);
            rest = &rest[end..];
            match rest.strip_prefix('.') {
                Some(after) if after.starts_with(|one: char| one.is_ascii_digit()) => rest = after,
                _ => break,
            }
        }
        Some(Self {
            numbers,
            pre_release: pre_release(rest),
        })
    }

    fn number(&self, index: usize) -> u64 {
        self.numbers.get(index).copied().unwrap_or(0)
    }

    fn compare(&self, other: &Self) -> Ordering {
        let length = self.numbers.len().max(other.numbers.len());
        let numbers = (0..length).map(|index| self.number(index).cmp(&other.number(index)));
        let by_numbers = numbers
            .into_iter()
            .find(|one| one.is_ne())
            .unwrap_or(Ordering::Equal);
        by_numbers.then_with(|| match (&self.pre_release, &other.pre_release) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(one), Some(other)) => one.cmp(other),
        })
    }

    /// `>1.2` and `<=1.2` mean all of 1.2: only so many numbers count.
    fn compare_to_bound(&self, bound: &Self) -> Ordering {
        if bound.numbers.len() >= 3 {
            return self.compare(bound);
        }
        let mut short = self.clone();
        short.numbers.truncate(bound.numbers.len());
        short.compare(bound)
    }
}

/// Returns the mark of a version before its release, if what follows the numbers begins with one.
fn pre_release(rest: &str) -> Option<String> {
    let word = rest
        .trim_start_matches(['-', '.', '_', '~'])
        .to_ascii_lowercase();
    let marks = [
        "alpha", "beta", "rc", "pre", "dev", "preview", "snapshot", "nightly",
    ];
    let short =
        word.starts_with(['a', 'b']) && word[1..].starts_with(|one: char| one.is_ascii_digit());
    (short || marks.iter().any(|mark| word.starts_with(mark))).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(requirement: &str, yes: &[&str], no: &[&str]) {
        let parsed = VersionRequirement::parse(requirement).unwrap();
        for version in yes {
            assert!(
                parsed.matches(version, false),
                "{requirement} should take {version}"
            );
        }
        for version in no {
            assert!(
                !parsed.matches(version, false),
                "{requirement} should not take {version}"
            );
        }
    }

    #[test]
    fn ranges_mean_what_semver_means() {
        check(
            "^1.2.3",
            &["1.2.3", "1.9", "1.2.3.1"],
            &["1.2.2", "2.0.0", "0.9"],
        );
        check("^0.2.3", &["0.2.3", "0.2.9"], &["0.3.0", "0.2.2", "1.0"]);
        check("^0.0.3", &["0.0.3"], &["0.0.4"]);
        check("~1.2.3", &["1.2.3", "1.2.9"], &["1.3.0", "1.2.2"]);
        check("~1", &["1.0", "1.9"], &["2.0"]);
        check(">=1.2 <2", &["1.2", "1.9.9"], &["1.1", "2.0"]);
        check(">=1.2, <2", &["1.2", "1.9.9"], &["1.1", "2.0"]);
        check(">1.2", &["1.3", "2"], &["1.2", "1.2.9"]);
        check("<=1.2", &["1.2.9", "1"], &["1.3"]);
        check("1.2 - 1.4", &["1.2", "1.4.9"], &["1.5", "1.1.9"]);
        check("18 || 20", &["18.1", "20.0.1"], &["19.0"]);
    }

    #[test]
    fn bare_numbers_are_a_prefix() {
        check(
            "3.11",
            &["3.11.2", "3.11", "3.11.2-6+deb12u1"],
            &["3.12", "3.1"],
        );
        check("1.x", &["1.0", "1.9"], &["2"]);
        check("1.2.*", &["1.2.3"], &["1.3"]);
        check("*", &["1", "unstable-2024-01-01"], &[]);
    }

    #[test]
    fn versions_of_distributions_are_understood() {
        check(
            "=3.11.2",
            &["3.11.2", "3.11.2-6+deb12u1"],
            &["3.11.20", "3.11.2.1", "3.11"],
        );
        check(
            "3.11.2-6+deb12u1",
            &["3.11.2-6+deb12u1"],
            &["3.11.2-6+deb12u2"],
        );
        check(">=7.0.15", &["7.0.15-1~deb12u7"], &["7.0.14-1"]);
        check("unstable-2024-01-01", &["unstable-2024-01-01"], &["1"]);
    }

    #[test]
    fn pre_releases_need_leave_or_their_name() {
        check("^2", &["2.0.0"], &["2.0.0-rc1", "2.1b3", "2.0.0-alpha.1"]);
        check(
            ">=2.0.0-rc1",
            &["2.0.0-rc1", "2.0.0-rc2", "2.0.0"],
            &["2.0.0-beta1"],
        );
        check("=2.0.0-rc1", &["2.0.0-rc1"], &["2.0.0"]);
        assert!(
            VersionRequirement::parse("^2")
                .unwrap()
                .matches("2.1-beta", true)
        );
    }

    #[test]
    fn what_is_no_requirement_is_refused() {
        for text in [
            "",
            " ",
            "||",
            "1 ||",
            ">=",
            ">",
            "^",
            "> =1",
            ">=x",
            "^abc",
            "a\nb",
            &"1".repeat(300),
        ] {
            assert!(VersionRequirement::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number() {
        let mut versions = ["1.10", "1.9", "weird", "2.0-rc1", "2.0"];
        versions.sort_by(|one, other| compare_versions(one, other));
        assert_eq!(versions, ["weird", "1.9", "1.10", "2.0-rc1", "2.0"]);
    }
}
