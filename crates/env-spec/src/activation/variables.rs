//! `[vars]`: references between variables, and what is left for the surroundings to fill in.
//!
//! As written: `$NAME` and `${NAME}` refer to a variable, `$$` is one dollar sign, any other `$` is itself.
//! In a plan: `${NAME}` refers to the surroundings, `$$` is one dollar sign; nothing else has a meaning.

use std::collections::{BTreeMap, BTreeSet};

use super::Variable;

/// Longer values are refused: the kernel takes 128 KiB for one variable.
const LONGEST_VALUE: usize = 100_000;

/// The kernel takes some 2 MB for all variables and arguments together.
const LONGEST_TOGETHER: usize = 2_000_000;

/// Why the variables make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// They refer to each other.
    #[error("variables refer to each other in a circle: {}", circle.join(" → "))]
    Circle {
        /// The names, the first again at the end.
        circle: Vec<String>,
    },
    /// A reference is not one.
    #[error(
        "variable {name} has {reference:?}, which is no reference: write ${{NAME}}, or $$ for a dollar sign"
    )]
    Reference {
        /// The variable.
        name: String,
        /// The text from the dollar sign on.
        reference: String,
    },
    /// References blow a value up.
    #[error(
        "variable {name} makes one value longer than {LONGEST_VALUE} or all longer than {LONGEST_TOGETHER} bytes"
    )]
    TooLong {
        /// The variable.
        name: String,
    },
}

impl VariableError {
    /// Returns the variable to point at.
    #[must_use]
    pub fn variable(&self) -> &str {
        match self {
            Self::Circle { circle } => &circle[0],
            Self::Reference { name, .. } | Self::TooLong { name } => name,
        }
    }
}

/// A piece of a value.
enum Piece<'a> {
    Text(&'a str),
    Dollar,
    Reference(&'a str),
}

/// Fills references between variables in and puts the variables in an order in which each comes after those it needs.
///
/// A variable that refers to itself means the surroundings' value, as in a shell (`PATH = "$PATH:/x"`).
///
/// # Errors
/// Fails for circles, for `${` with no name, and for values that grow too long.
pub fn resolve_variables(vars: &BTreeMap<String, String>) -> Result<Vec<Variable>, VariableError> {
    let mut resolver = Resolver {
        vars,
        done: BTreeMap::new(),
        length: 0,
        order: Vec::new(),
        open: Vec::new(),
        is_open: BTreeSet::new(),
    };
    for name in vars.keys() {
        resolver.resolve(name)?;
    }
    let Resolver {
        mut done, order, ..
    } = resolver;
    let take = |name: &str| Variable {
        name: name.to_owned(),
        value: done
            .remove(name)
            .expect("every variable in the order is done, and once"),
    };
    Ok(order.into_iter().map(take).collect())
}

struct Resolver<'a> {
    vars: &'a BTreeMap<String, String>,
    done: BTreeMap<&'a str, String>,
    length: usize,
    order: Vec<&'a str>,
    open: Vec<&'a str>,
    is_open: BTreeSet<&'a str>,
}

impl<'a> Resolver<'a> {
    /// Goes down references with a stack of its own: a manifest of a megabyte may chain many thousands.
    fn resolve(&mut self, first: &'a str) -> Result<(), VariableError> {
        if !self.done.contains_key(first) {
            self.open.push(first);
            self.is_open.insert(first);
        }
        while let Some(name) = self.open.last().copied() {
            let pieces = pieces(name, &self.vars[name])?;
            let own = |piece: &Piece<'a>| match piece {
                Piece::Reference(other) if *other != name => self.vars.get_key_value(*other),
                _ => None,
            };
            let needed = pieces
                .iter()
                .filter_map(own)
                .map(|(other, _)| other.as_str());
            let Some(next) = needed
                .into_iter()
                .find(|other| !self.done.contains_key(other))
            else {
                let value = self.filled(name, &pieces)?;
                self.length += value.len();
                self.done.insert(name, value);
                self.order.push(name);
                self.open.pop();
                self.is_open.remove(name);
                continue;
            };
            if !self.is_open.insert(next) {
                let start = self
                    .open
                    .iter()
                    .position(|open| *open == next)
                    .unwrap_or_default();
                let circle = self.open[start..].iter().copied().chain([next]);
                return Err(VariableError::Circle {
                    circle: circle.map(str::to_owned).collect(),
                });
            }
            self.open.push(next);
        }
        Ok(())
    }

    fn filled(&self, name: &str, pieces: &[Piece<'_>]) -> Result<String, VariableError> {
        let mut value = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => value.push_str(text),
                Piece::Dollar => value.push_str("$$"),
                Piece::Reference(other) => match self.done.get(other) {
                    Some(text) => value.push_str(text),
                    None => {
                        value.push_str("${");
                        value.push_str(other);
                        value.push('}');
                    }
                },
            }
            if value.len() > LONGEST_VALUE || self.length + value.len() > LONGEST_TOGETHER {
                return Err(VariableError::TooLong {
                    name: name.to_owned(),
                });
            }
        }
        Ok(value)
    }
}

/// Splits a value as written.
fn pieces<'a>(name: &str, value: &'a str) -> Result<Vec<Piece<'a>>, VariableError> {
    let mut pieces = Vec::new();
    let mut rest = value;
    while let Some(start) = rest.find('$') {
        pieces.push(Piece::Text(&rest[..start]));
        let after = &rest[start + 1..];
        let word = name_length(after);
        if let Some(inner) = after.strip_prefix('{') {
            let word = name_length(inner);
            if word == 0 || !inner[word..].starts_with('}') {
                let reference = rest[start..].chars().take(40).collect();
                return Err(VariableError::Reference {
                    name: name.to_owned(),
                    reference,
                });
            }
            pieces.push(Piece::Reference(&inner[..word]));
            rest = &inner[word + 1..];
        } else if word > 0 {
            pieces.push(Piece::Reference(&after[..word]));
            rest = &after[word..];
        } else {
            pieces.push(Piece::Dollar);
            rest = after.strip_prefix('$').unwrap_or(after);
        }
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

/// Returns how long the variable's name is that a text begins with.
fn name_length(text: &str) -> usize {
    if text.starts_with(|one: char| one.is_ascii_digit()) {
        return 0;
    }
    text.find(|one: char| !(one.is_ascii_alphanumeric() || one == '_'))
        .unwrap_or(text.len())
}

/// Fills the surroundings' values into a value of a plan; names that are not there become nothing, as in a shell.
pub(super) fn fill(value: &str, surroundings: &BTreeMap<String, String>) -> String {
    let mut filled = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(start) = rest.find('$') {
        filled.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        if let Some(after) = after.strip_prefix('$') {
            filled.push('$');
            rest = after;
        } else if let Some((name, after)) = after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
        {
            filled.push_str(surroundings.get(name).map_or("", String::as_str));
            rest = after;
        } else {
            filled.push('$');
            rest = after;
        }
    }
    filled.push_str(rest);
    filled
}

/// Names in the surroundings that a plan's value refers to.
#[must_use]
pub fn names_in(value: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut rest = value;
    while let Some(start) = rest.find('$') {
        let after = &rest[start + 1..];
        if let Some(after) = after.strip_prefix('$') {
            rest = after;
        } else if let Some((name, after)) = after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
        {
            names.insert(name);
            rest = after;
        } else {
            rest = after;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn reference(name: &str) -> String {
        format!("${{{name}}}")
    }

    fn values(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let resolved = resolve_variables(&vars(pairs)).unwrap();
        resolved
            .into_iter()
            .map(|one| (one.name, one.value))
            .collect()
    }

    #[test]
    fn references_are_filled_in_dependency_order() {
        let found = values(&[("A", "${C}/a"), ("B", "$A:$A"), ("C", "/c")]);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["C", "A", "B"]);
        assert_eq!(found[2].1, "/c/a:/c/a");
    }

    #[test]
    fn unknown_names_and_a_variable_itself_are_left_to_the_surroundings() {
        let found = values(&[("PATH", "/x:$PATH"), ("A", "${HOME}/a"), ("B", "$PATH")]);
        let find = |name: &str| found.iter().find(|one| one.0 == name).unwrap().1.clone();
        assert_eq!(find("PATH"), "/x:${PATH}");
        assert_eq!(find("A"), "${HOME}/a");
        assert_eq!(find("B"), "/x:${PATH}");
        let surroundings = vars(&[("PATH", "/bin"), ("HOME", "/root")]);
        assert_eq!(fill(&find("B"), &surroundings), "/x:/bin");
        assert_eq!(fill(&find("A"), &surroundings), "/root/a");
        assert_eq!(fill("${NOWHERE}x", &surroundings), "x");
    }

    #[test]
    fn dollar_signs_survive_the_way_through_a_plan() {
        for (written, meant) in [
            ("$$", "$"),
            ("a$", "a$"),
            ("$ b", "$ b"),
            ("$1", "$1"),
            ("$(ls)", "$(ls)"),
            ("$${HOME}", "${HOME}"),
            ("$$HOME", "$HOME"),
            ("5$ and $$5", "5$ and $5"),
        ] {
            let found = values(&[("A", written)]);
            assert_eq!(
                fill(&found[0].1, &vars(&[("HOME", "no")])),
                meant,
                "{written}"
            );
            assert!(names_in(&found[0].1).is_empty(), "{written}");
        }
    }

    #[test]
    fn circles_are_named() {
        let error =
            resolve_variables(&vars(&[("A", "$B"), ("B", "${C}"), ("C", "$B")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "variables refer to each other in a circle: B → C → B"
        );
    }

    #[test]
    fn values_that_explode_are_refused() {
        let mut all = vars(&[("V0", &"x".repeat(1000))]);
        for index in 1..30 {
            let before = format!("$V{}", index - 1);
            all.insert(format!("V{index}"), before.repeat(10));
        }
        assert!(matches!(
            resolve_variables(&all),
            Err(VariableError::TooLong { .. })
        ));
    }

    #[test]
    fn long_chains_do_not_overflow_the_stack() {
        let chain = (0..20_000).map(|index| (format!("V{index}"), format!("${{V{}}}", index + 1)));
        assert_eq!(resolve_variables(&chain.collect()).unwrap().len(), 20_000);
    }

    proptest! {
        #[test]
        fn resolving_ends_in_an_order_or_in_a_circle_that_is_one(
            edges in prop::collection::vec((0u8..8, 0u8..8), 0..14),
        ) {
            let mut all: BTreeMap<String, String> = BTreeMap::new();
            for (from, to) in &edges {
                let value = all.entry(format!("V{from}")).or_default();
                value.push_str(&reference(&format!("V{to}")));
            }
            match resolve_variables(&all) {
                Ok(resolved) => {
                    prop_assert_eq!(resolved.len(), all.len());
                    for (index, one) in resolved.iter().enumerate() {
                        let later: Vec<&str> =
                            resolved[index + 1..].iter().map(|other| other.name.as_str()).collect();
                        // A reference to a later one would have been filled in too late.
                        let written = &all[&one.name];
                        let needs_later = later.iter().any(|name| written.contains(&reference(name)));
                        prop_assert!(!needs_later);
                    }
                }
                Err(VariableError::Circle { circle }) => {
                    prop_assert!(circle.len() > 2 && circle.first() == circle.last());
                    for pair in circle.windows(2) {
                        let is_edge = all[&pair[0]].contains(&reference(&pair[1]));
                        prop_assert!(is_edge);
                    }
                }
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }

    #[test]
    fn half_references_are_refused() {
        for written in ["${", "${}", "${A", "${A-b}", "${1}"] {
            let error = resolve_variables(&vars(&[("X", written)])).unwrap_err();
            assert!(
                matches!(error, VariableError::Reference { .. }),
                "{written}"
            );
        }
    }
}
