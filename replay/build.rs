//! Tells the program which commit it was built from, and what source it is made of, so that results of other source are not taken up as its own.

#[path = "../sim/cli/build/commit.rs"]
mod commit;
#[path = "../sim/lab/build/source.rs"]
mod source;

use std::path::Path;

fn main() {
    commit::declare();
    let packages: Vec<&str> = source::SIMULATION
        .into_iter()
        .chain(["replay", "kernels"])
        .collect();
    let mut parts = source::parts(&packages);
    parts.push("kernels/ptx".to_owned());
    for part in &parts {
        println!("cargo::rerun-if-changed=../{part}");
    }
    let fingerprint = source::fingerprint(Path::new(".."), &parts).expect("a whole checkout");
    println!("cargo::rustc-env=DJINN_PROGRAM_SHA256={fingerprint}");
}
