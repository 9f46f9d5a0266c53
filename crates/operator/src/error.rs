//! Why a command did not do what it should.

use std::error::Error;

/// A command's failure: the layers below say it, and what caused it.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;
