//! Patterns of the policy: text in which `*` stands for anything, slashes included.

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<String>);

impl Pattern {
    /// Returns the pattern of a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.split('*').map(str::to_owned).collect())
    }

    /// Tells whether the whole text fits.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        let [first, middle @ .., last] = &self.0[..] else {
            return self.0.first().is_some_and(|only| only == text);
        };
        let Some(rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        let Some(mut rest) = rest.strip_suffix(last.as_str()) else {
            return false;
        };
        // The earliest place for each piece leaves the most for the next.
        for piece in middle {
            let Some(place) = rest.find(piece.as_str()) else {
                return false;
            };
            rest = &rest[place + piece.len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything_and_all_else_for_itself() {
        for (pattern, text, fits) in [
            ("web", "web", true),
            ("web", "web2", false),
            ("team-*", "team-a", true),
            ("team-*", "team-", true),
            ("team-*", "teams", false),
            ("*", "", true),
            ("acme/*", "acme/api", true),
            ("acme/*", "acme2/api", false),
            ("*/api", "acme/api", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Pattern::new(pattern).fits(text), fits, "{pattern} {text}");
        }
    }
}
