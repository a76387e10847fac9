//! Replays what the fuzz targets begin with and what they have found, through the very functions that they call.
//!
//! The targets themselves need a fuzzer (`fuzz/run.sh`); this needs nothing.

#[path = "../../../fuzz/src/lib.rs"]
mod checks;

use std::path::{Path, PathBuf};

use trace::import::FORMATS;

/// Files of a folder of the repository, in order; none where it does not exist.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(folder);
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Every input goes to every target: what is one format's fixture is another's nonsense.
fn check(bytes: &[u8]) {
    for format in FORMATS {
        checks::import(format.name, bytes);
    }
    checks::detect(bytes);
    checks::read_trace(bytes);
    checks::run_spec(bytes);
}

#[test]
fn every_input_of_the_corpus_holds_for_every_target() {
    let mut count = 0;
    let folders = ["traces/tests/fixtures", "fuzz/seeds", "fuzz/regressions"];
    for path in folders.into_iter().flat_map(files) {
        check(&std::fs::read(path).unwrap());
        count += 1;
    }
    assert!(
        count > FORMATS.len(),
        "{count} inputs: is the corpus where it was?"
    );
}

/// Bytes that change what a text means: numbers, structure, and what is no text.
const BYTES: [u8; 8] = *b"09-e\"{]\xff";

#[test]
fn a_byte_changed_anywhere_in_a_fixture_gives_sessions_or_an_error() {
    for path in files("traces/tests/fixtures") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let format = name.split('.').next().unwrap();
        let original = std::fs::read(&path).unwrap();
        for position in 0..original.len() {
            let mut bytes = original.clone();
            bytes[position] = BYTES[position % BYTES.len()];
            checks::import(format, &bytes);
        }
    }
}

#[test]
fn every_format_has_a_fuzz_target_and_every_target_a_check() {
    let targets = files("fuzz/fuzz_targets");
    let name = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<String> = targets.iter().map(name).collect();
    names.sort();
    let formats = FORMATS.iter().map(|format| format.name.replace('-', "_"));
    let mut expected: Vec<String> = formats.map(|format| format!("import_{format}")).collect();
    expected.extend(["detect", "read_trace", "run_spec"].map(str::to_owned));
    expected.sort();
    assert_eq!(names, expected);
    for path in &targets {
        let text = std::fs::read_to_string(path).unwrap();
        let import = name(path)
            .strip_prefix("import_")
            .map(|name| name.replace('_', "-"));
        let call = import.map_or(format!("::{}(bytes)", name(path)), |name| {
            format!("import(\"{name}\", bytes)")
        });
        assert!(
            text.contains(&call),
            "{} does not call {call}",
            path.display()
        );
    }
}
