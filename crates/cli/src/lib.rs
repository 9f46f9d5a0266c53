//! `nival`: the developer's command.
