//! `hayloft`, the command.

fn main() {}
