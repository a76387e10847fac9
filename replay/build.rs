//! Tells the program which commit it was built from, for the manifests of its runs (without git it does not know), and what source
//! it is made of, so that results of other source are not taken up as its own.

#[path = "../sim/lab/build/source.rs"]
mod source;

use std::path::Path;
use std::process::Command;

fn main() {
    // The log of HEAD changes with every commit; a path that does not exist would mean a rebuild every time.
    let log = Path::new("../.git/logs/HEAD");
    println!(
        "cargo::rerun-if-changed={}",
        if log.exists() {
            "../.git/logs/HEAD"
        } else {
            "build.rs"
        }
    );
    let commit = Command::new("git")
        .args(["rev-parse", "HEAD"])
        .output()
        .ok();
    let commit = commit.filter(|output| output.status.success());
    if let Some(commit) = commit.and_then(|output| String::from_utf8(output.stdout).ok()) {
        println!("cargo::rustc-env=DJINN_COMMIT={}", commit.trim());
    }
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
