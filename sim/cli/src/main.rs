//! The `djinn` command line.
fn main() {}
