//! The fingerprint of a program: SHA-256 over the source that its results depend on. For build scripts.
//!
//! Equal source gives an equal fingerprint, wherever it lies, whatever the commit, and in whatever order folders list their files.
//! A comment counts like code: what the compiler would ignore is the compiler's to say, and a few runs too many are made anew.

use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the results of a simulation depend on: packages of the workspace, by their folders.
pub const SIMULATION: [&str; 7] = [
    "sim/model",
    "sim/policy",
    "sim/engine",
    "sim/devices",
    "traces",
    "sim/results",
    "sim/lab",
];

/// Files and folders below `root` that make up `packages`, and the versions of what they import.
pub fn parts(packages: &[&str]) -> Vec<String> {
    let of_package = |package: &&str| [format!("{package}/Cargo.toml"), format!("{package}/src")];
    let mut parts: Vec<String> = packages.iter().flat_map(of_package).collect();
    parts.extend(["Cargo.toml", "Cargo.lock"].map(str::to_owned));
    parts
}

/// SHA-256 over name and content of every file in `parts`, which lie below `root`, as 64 hex digits.
///
/// Leaves out what editors put beside a file: `.name` and `name~`.
///
/// # Errors
/// If a part is not there or cannot be read.
pub fn fingerprint(root: &Path, parts: &[String]) -> io::Result<String> {
    let mut files = Vec::new();
    for part in parts {
        collect(root, part, &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for name in files {
        let bytes = read(&root.join(&name), |path| fs::read(path))?;
        for field in [name.as_bytes(), &bytes] {
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field);
        }
    }
    let digits = hash
        .finalize()
        .into_iter()
        .map(|byte| format!("{byte:02x}"));
    Ok(digits.collect())
}

/// Names of all files in `name`, a file or a folder, with `/` between their parts on any system.
fn collect(root: &Path, name: &str, files: &mut Vec<String>) -> io::Result<()> {
    let path = root.join(name);
    if !path.is_dir() {
        files.push(name.to_owned());
        return Ok(());
    }
    for entry in read(&path, |path| fs::read_dir(path))? {
        let entry = entry?.file_name();
        let entry = entry.to_string_lossy();
        if !entry.starts_with('.') && !entry.ends_with('~') {
            collect(root, &format!("{name}/{entry}"), files)?;
        }
    }
    Ok(())
}

/// Names the path in what the system says.
fn read<T>(path: &PathBuf, how: impl FnOnce(&PathBuf) -> io::Result<T>) -> io::Result<T> {
    how(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
