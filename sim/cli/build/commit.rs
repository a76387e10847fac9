//! The commit that a program is built from, for the manifests of its runs. For build scripts.

use std::path::Path;
use std::process::Command;

/// Sets `DJINN_COMMIT` for the program; without git it has none.
pub fn declare() {
    // The log of HEAD changes with every commit. Git says where it is, for a worktree has it elsewhere. A path that does not exist would mean a
    // rebuild every time.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]);
    let log = log.filter(|log| Path::new(log).exists());
    println!(
        "cargo::rerun-if-changed={}",
        log.as_deref().unwrap_or("build.rs")
    );
    if let Some(commit) = git(&["rev-parse", "HEAD"]) {
        println!("cargo::rustc-env=DJINN_COMMIT={commit}");
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
