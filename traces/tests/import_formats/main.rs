//! Every importer: what it recognises, what it makes of its fixture, and what it says of bad input.
//!
//! `traces/tests/fixtures/` holds a file (or two) per format, written for these tests after the format's description; its
//! name begins with the format's. They also seed the fuzz targets.

#[path = "../common/mod.rs"]
mod common;

mod bad_input;
mod coding_agents;
mod public_fixtures;
mod requests;
mod several_files;
mod texts;

use std::path::{Path, PathBuf};

use common::import::{RAW, import_path};
use trace::format::{Call, Millis, Reader, Session};
use trace::import::{
    Collected, FORMATS, Format, Head, ImportReport, Warning, detect, find, import_files,
};
use trace::tools::feed;

/// Files of `fixtures/`, with the format that each is named after.
fn fixtures() -> Vec<(PathBuf, &'static Format)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let format = |path: &PathBuf| find(name(path).split('.').next().unwrap()).unwrap();
    paths
        .into_iter()
        .map(|path| (path.clone(), format(&path)))
        .collect()
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// A fixture, imported.
fn imported(fixture: &str) -> (Collected, ImportReport) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(fixture);
    imported_from(&path)
}

fn imported_from(path: &Path) -> (Collected, ImportReport) {
    let format = detect(path).unwrap().format;
    import_path(format.name, path, &RAW).unwrap()
}

/// One line per session: `sid: in+out, in+out after gap(kind), …`, gaps in milliseconds.
fn shape(collected: &Collected) -> Vec<String> {
    collected.sessions.iter().map(line).collect()
}

fn line(session: &Session) -> String {
    let calls: Vec<String> = session.calls.iter().map(call).collect();
    format!("{}: {}", session.sid, calls.join(", "))
}

fn call(call: &Call) -> String {
    let kind = serde_json::to_value(call.gap_kind).unwrap();
    let size = format!("{}+{}", call.input, call.output);
    match call.id {
        0 => size,
        _ => format!(
            "{size} after {}({})",
            ms(call.gap_ms),
            kind.as_str().unwrap()
        ),
    }
}

fn ms(span: Millis) -> f64 {
    span.nanos().0 as f64 / 1e6
}

/// Kept tokens by call, `-` where the source says nothing.
fn kept(session: &Session) -> Vec<String> {
    let keep = |call: &Call| call.keep.map_or("-".to_owned(), |keep| keep.to_string());
    session.calls.iter().map(keep).collect()
}

fn has(report: &ImportReport, warning: &Warning) {
    assert!(
        report.warnings.contains(warning),
        "{warning:?} in {:?}",
        report.warnings
    );
}

#[test]
fn every_format_has_a_fixture_that_it_alone_recognises() {
    let fixtures = fixtures();
    for format in FORMATS {
        let own = |(_, other): &&(PathBuf, &Format)| other.name == format.name;
        assert!(
            fixtures.iter().any(|f| own(&f)),
            "no fixture for {}",
            format.name
        );
        for text in [format.summary, format.knows, format.lacks] {
            assert!(!text.is_empty(), "{}", format.name);
        }
    }
    for (path, format) in &fixtures {
        let head = Head::new(&std::fs::read(path).unwrap());
        let claims = FORMATS
            .iter()
            .filter(|format| (format.detect)(&head).is_some());
        let claims: Vec<&str> = claims.map(|format| format.name).collect();
        assert_eq!(claims, [format.name], "{}", path.display());
        let reason = detect(path).unwrap().reason;
        assert!(reason.contains('`'), "{reason}");
    }
}

#[test]
fn every_fixture_becomes_a_trace_that_reads_back_equal_and_keeps_its_warnings() {
    let folder = tempfile::tempdir().unwrap();
    for (path, format) in fixtures() {
        let (collected, report) = import_path(format.name, &path, &RAW).unwrap();
        for ending in ["jsonl", "jsonl.zst", "jsonl.gz"] {
            let target = folder.path().join(format!("{}.{ending}", name(&path)));
            let written = import_files(&[(format, path.clone())], &target, &RAW).unwrap();
            assert_eq!(written, report);
            let reader = Reader::open(&target).unwrap();
            let sentences: Vec<String> = report.warnings.iter().map(Warning::to_string).collect();
            assert_eq!(reader.meta().warnings(), sentences, "{}", target.display());
            assert_eq!(reader.meta().block_size, collected.meta.block_size);
            let sessions: Vec<Session> = reader.collect::<Result<_, _>>().unwrap();
            assert_eq!(sessions, collected.sessions, "{}", target.display());
        }
        assert!(
            !report.warnings.is_empty(),
            "{} tells everything?",
            format.name
        );
    }
    let rest = std::fs::read_dir(folder.path()).unwrap();
    let temporary = rest.filter(|entry| name(&entry.as_ref().unwrap().path()).contains(".tmp"));
    assert_eq!(temporary.count(), 0);
}

#[test]
fn compressed_sources_are_read_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    for (path, format) in fixtures() {
        let plain = std::fs::read(&path).unwrap();
        let packed = folder.path().join(name(&path)).with_extension("zst");
        std::fs::write(&packed, zstd::encode_all(&plain[..], 3).unwrap()).unwrap();
        assert_eq!(detect(&packed).unwrap().format.name, format.name);
        let sessions = |path: &Path| {
            import_path(format.name, path, &RAW)
                .unwrap()
                .0
                .sessions
                .len()
        };
        assert_eq!(sessions(&packed), sessions(&path));
    }
}

#[test]
fn every_fixture_can_be_read_where_a_session_trace_can() {
    for (path, format) in fixtures() {
        let mut collected = Collected::default();
        let fed = feed(&path, &mut collected).unwrap();
        assert_eq!(fed.unwrap().detected.format.name, format.name);
        assert!(!collected.sessions.is_empty());
    }
}

#[test]
fn unknown_names_and_unknown_files_are_answered_with_the_list() {
    let error = find("wekka").err().unwrap().to_string();
    assert!(
        error.starts_with("no trace format is called `wekka`; known: weka, agentic-mooncake, ")
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "").unwrap();
    let error = detect(&path).err().unwrap().to_string();
    assert!(error.ends_with("notes.txt` is empty"), "{error}");
    std::fs::write(&path, "Dear diary").unwrap();
    let error = detect(&path).err().unwrap().to_string();
    assert!(
        error.contains("looks like none of the known trace formats (weka, "),
        "{error}"
    );
}
