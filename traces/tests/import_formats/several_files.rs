//! Several sources in one trace.

use std::path::{Path, PathBuf};

use crate::common::import::RAW;
use serde_json::json;
use trace::format::{Reader, Session};
use trace::import::{ImportReport, Warning, find, import_files};

fn join(format: &str, files: &[(&str, String)]) -> Result<(Vec<Session>, ImportReport), String> {
    let folder = tempfile::tempdir().unwrap();
    let write = |(name, text): &(&str, String)| {
        let path: PathBuf = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        (find(format).unwrap(), path)
    };
    let sources: Vec<_> = files.iter().map(write).collect();
    let target = folder.path().join("all.jsonl.zst");
    let report = import_files(&sources, &target, &RAW).map_err(|error| error.to_string())?;
    let sessions = Reader::open(&target)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    Ok((sessions, report))
}

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_session_named_as_an_earlier_one_gets_a_number_in_every_reference() {
    let text = fixture("claude-code.jsonl");
    let (sessions, report) = join("claude-code", &[("a", text.clone()), ("b", text)]).unwrap();
    let names: Vec<&str> = sessions
        .iter()
        .map(|session| session.sid.as_str())
        .collect();
    assert_eq!(names, ["s1", "s1/side-1", "s1@2", "s1/side-1@2"]);
    let second = serde_json::to_value(&sessions[2]).unwrap();
    assert_eq!(second["calls"][1]["after"], json!([0, "s1/side-1@2#1"]));
    let side = serde_json::to_value(&sessions[3]).unwrap();
    assert_eq!(side["parent"]["sid"], "s1@2");
    assert!(
        report
            .warnings
            .contains(&Warning::RenamedSessions { sessions: 2 })
    );
    // Counts of both files in one.
    assert!(
        report
            .warnings
            .contains(&Warning::SubagentsByTime { subagents: 2 })
    );
    assert_eq!((report.sessions, report.calls), (4, 10));
}

#[test]
fn global_blocks_of_several_files_are_warned_of() {
    let text = fixture("mooncake.jsonl");
    let (sessions, report) = join("mooncake", &[("a", text.clone()), ("b", text)]).unwrap();
    assert_eq!(sessions.len(), 6);
    assert!(
        report
            .warnings
            .contains(&Warning::BlockIdsAcrossFiles { files: 2 })
    );
    assert!(report.warnings.contains(&Warning::NoOutput { calls: 2 }));
}

#[test]
fn files_that_mean_different_things_cannot_share_a_trace() {
    let row = |delay: &str| {
        let first =
            r#"{"session_id":"s","timestamp":1,"input_length":9,"output_length":1,"hash_ids":[1]}"#;
        format!(
            "{first}\n{{\"session_id\":\"s\",{delay},\"input_length\":12,\"output_length\":1,\"hash_ids\":[1]}}"
        )
    };
    let files = [("a", row("\"delay\":5")), ("b", row("\"timestamp\":9"))];
    let error = join("mooncake", &files).unwrap_err();
    assert!(
        error.contains("cannot share a trace; import them one by one"),
        "{error}"
    );
}
