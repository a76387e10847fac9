//! Tells the program what source it is made of, so that results of other source are not taken up as its own.

#[path = "build/source.rs"]
mod source;

use std::path::Path;

fn main() {
    let root = Path::new("../..");
    let parts = source::parts(&source::SIMULATION);
    for part in &parts {
        println!("cargo::rerun-if-changed={}", root.join(part).display());
    }
    let fingerprint = source::fingerprint(root, &parts).expect("a whole checkout");
    println!("cargo::rustc-env=DJINN_PROGRAM_SHA256={fingerprint}");
}
