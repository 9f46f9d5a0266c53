//! Why a command did not do what it should.

use std::error::Error;

/// A command's failure: the layers below say it, and what caused it.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Returns the error and its causes in one line.
pub(crate) fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        // Some libraries repeat their cause in their own words.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = inner.source();
    }
    text.replace('\n', " ")
}
