//! The project's own tasks, each in a file of its name.

fn main() {}
