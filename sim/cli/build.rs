//! Tells the program which commit it was built from.

#[path = "build/commit.rs"]
mod commit;

fn main() {
    commit::declare();
}
