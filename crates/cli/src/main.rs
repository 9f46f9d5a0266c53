//! `nival`: the developer's command.

fn main() {}
