//! The commit that a program is built from, for the manifests of its runs. For build scripts.

use std::path::Path;
use std::process::Command;

/// What programs are made of, from the root of the repository.
const SOURCES: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    "sim",
    "kernels/src",
    "kernels/ptx",
    "replay/src",
    "traces/src",
    "figures/src",
    "configs",
];

/// Sets `DJINN_COMMIT` for the program, `COMMIT-dirty` if sources differ from it; without git it has none.
pub fn declare() {
    // The log of HEAD changes with every commit. Git says where it is, for a worktree has it elsewhere. A path that does not exist would mean a
    // rebuild every time. A program whose sources change is built again anyway.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]).into_iter();
    let root = git(&["rev-parse", "--show-toplevel"]).into_iter();
    let sources = root.flat_map(|root| SOURCES.map(|source| format!("{root}/{source}")));
    let watched: Vec<String> = log
        .chain(sources)
        .filter(|path| Path::new(path).exists())
        .collect();
    for path in &watched {
        println!("cargo::rerun-if-changed={path}");
    }
    if watched.is_empty() {
        println!("cargo::rerun-if-changed=build.rs");
    }
    if let Some(commit) = git(&["rev-parse", "HEAD"]) {
        let sources = SOURCES.map(|source| format!(":/{source}"));
        let mut status = vec!["status", "--porcelain", "--untracked-files=no", "--"];
        status.extend(sources.iter().map(String::as_str));
        let clean = git(&status).is_some_and(|changes| changes.is_empty());
        let mark = if clean { "" } else { "-dirty" };
        println!("cargo::rustc-env=DJINN_COMMIT={commit}{mark}");
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
