//! The fingerprint of the program's source, which decides whether its earlier results are taken up.

#[path = "../build/source.rs"]
mod source;

use source::{SIMULATION, fingerprint, parts};
use std::fs;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A copy of a small package below `folder`; files are made in the order given.
fn package(folder: &Path, files: [&str; 3]) {
    fs::create_dir_all(folder.join("p/src/deep")).unwrap();
    for (name, text) in [
        ("Cargo.toml", "workspace"),
        ("Cargo.lock", "lock"),
        ("p/Cargo.toml", "p"),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    for name in files {
        fs::write(folder.join("p/src").join(name), name).unwrap();
    }
}

fn of(folder: &Path) -> String {
    fingerprint(folder, &parts(&["p"])).unwrap()
}

#[test]
fn the_fingerprint_is_that_of_the_checkout_it_was_built_from() {
    let now = fingerprint(root(), &parts(&SIMULATION)).unwrap();
    assert_eq!(lab::inputs::PROGRAM_SHA256, now);
}

#[test]
fn equal_source_has_an_equal_fingerprint_wherever_it_lies() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    package(one.path(), ["a.rs", "lib.rs", "deep/b.rs"]);
    package(two.path(), ["deep/b.rs", "lib.rs", "a.rs"]);
    // Neither tests, nor documents, nor what editors leave.
    for other in ["p/tests.rs", "README.md", "p/src/.a.rs.swp", "p/src/a.rs~"] {
        fs::write(two.path().join(other), "x").unwrap();
    }
    assert_eq!(of(one.path()), of(two.path()));
}

#[test]
fn any_change_of_source_or_versions_changes_the_fingerprint() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    package(folder.path(), ["a.rs", "lib.rs", "deep/b.rs"]);
    let mut seen = vec![of(folder.path())];
    for file in [
        "Cargo.lock",
        "p/Cargo.toml",
        "p/src/deep/b.rs",
        "p/src/new.rs",
    ] {
        fs::write(path(file), "changed").unwrap();
        seen.push(of(folder.path()));
    }
    fs::rename(path("p/src/a.rs"), path("p/src/c.rs")).unwrap();
    seen.push(of(folder.path()));
    fs::remove_file(path("p/src/c.rs")).unwrap();
    seen.push(of(folder.path()));
    // What one file lost, the next one has.
    fs::write(path("p/src/lib.rs"), "ab").unwrap();
    fs::write(path("p/src/new.rs"), "c").unwrap();
    seen.push(of(folder.path()));
    fs::write(path("p/src/lib.rs"), "a").unwrap();
    fs::write(path("p/src/new.rs"), "bc").unwrap();
    seen.push(of(folder.path()));
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

#[test]
fn what_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    package(folder.path(), ["a.rs", "lib.rs", "deep/b.rs"]);
    fs::remove_file(folder.path().join("p/Cargo.toml")).unwrap();
    let error = fingerprint(folder.path(), &parts(&["p"])).unwrap_err();
    assert!(error.to_string().contains("p/Cargo.toml: "), "{error}");
}
