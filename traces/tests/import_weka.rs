//! The Weka importer: gaps, sub-agents, blocks, and what the source does not say.
#![allow(clippy::float_cmp)] // The numbers are small binary fractions: exact.

mod common;

use common::import::{RAW, import_path, import_text};
use common::{shared, text_of};
use serde_json::{Value, json};
use trace::format::{GapKind, ParentLink, Reader, Session};
use trace::import::{self, ImportOptions, Warning};

fn weka(raw: &Value, options: &ImportOptions) -> (Vec<Session>, Vec<Warning>) {
    let (collected, report) = import_text("weka", &raw.to_string(), options).unwrap();
    (collected.sessions, report.warnings)
}

/// A session with these requests.
fn weka_session(requests: &Value) -> Value {
    json!({"id": "w", "models": ["m"], "block_size": 64, "hash_id_scope": "local", "tool_tokens": 64,
           "system_tokens": 0, "requests": requests, "totals": {}})
}

fn weka_call(t: f64, kind: &str, think: f64, api: f64) -> Value {
    json!({"t": t, "type": kind, "model": "m", "in": 300, "out": 40, "hash_ids": [1, 2, 3, 4],
           "input_types": ["tool_result"], "output_types": ["tool_use"], "stop": "tool_use",
           "api_time": api, "think_time": think})
}

#[test]
fn the_weka_fixture_with_raw_gaps_is_its_part_of_the_canonical_one() {
    let Some(source) = shared("format-fixtures/weka.json") else {
        return;
    };
    let canonical = shared("format-fixtures/canonical.session-trace.v1.jsonl").unwrap();
    let expected: Vec<Value> = std::fs::read_to_string(canonical)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| {
            line["sid"]
                .as_str()
                .is_some_and(|sid| sid.starts_with("fixture_0001"))
        })
        .collect();
    let (collected, report) = import_path("weka", &source, &RAW).unwrap();
    let found: Vec<Value> = collected
        .sessions
        .iter()
        .map(|session| serde_json::to_value(session).unwrap())
        .collect();
    assert_eq!(found, expected);
    assert_eq!((report.sessions, report.calls), (2, 6));
    // `t` of its sub-agent is its start: 9.5 - 9 s would lie before the end of the spawning call, 9 s.
    assert!(
        !report
            .warnings
            .iter()
            .any(|w| matches!(w, Warning::SubagentStampedAtEnd { .. }))
    );
}

#[test]
fn a_session_spread_over_lines_is_read_as_one_per_line_is() {
    let raw = weka_session(&json!([weka_call(0.0, "n", 0.0, 2.0)]));
    let pretty = serde_json::to_string_pretty(&raw).unwrap();
    let one = import_text("weka", &pretty, &RAW).unwrap().0;
    assert_eq!(one.sessions, weka(&raw, &RAW).0);
}

#[test]
fn corrected_gaps_lose_the_service_time_of_the_dropped_twin() {
    let raw = weka_session(&json!([
        weka_call(0.0, "n", 0.0, 2.5),
        weka_call(9.0, "n", 4.0, 3.25), // own: 4 - 3.25
        weka_call(20.0, "s", 7.0, 9.0), // previous: 7 - 3.25
        weka_call(30.0, "n", 1.0, 2.0), // own: 1 - 2, at least 0
    ]));
    let gaps = |options: &ImportOptions| -> Vec<u64> {
        weka(&raw, options).0[0]
            .calls
            .iter()
            .map(|call| call.gap_ms.nanos().0 / 1_000_000)
            .collect()
    };
    assert_eq!(gaps(&ImportOptions::default()), [0, 750, 3_750, 0]);
    assert_eq!(gaps(&RAW), [0, 4_000, 7_000, 1_000]);
    let (sessions, warnings) = weka(&raw, &ImportOptions::default());
    assert!(
        warnings.contains(&Warning::CorrectedGaps { calls: 3 }),
        "{warnings:?}"
    );
    assert!(warnings.contains(&Warning::WholeSecondGaps));
    assert_eq!(
        sessions[0].calls[1]
            .gap_raw_ms
            .unwrap()
            .nanos()
            .as_secs_f64(),
        4.0
    );
}

#[test]
fn gaps_without_the_needed_times_are_filled_by_rule_and_counted() {
    let mut requests = json!([
        weka_call(0.0, "n", 0.0, 2.5),
        weka_call(9.0, "n", 4.0, 3.0),
        weka_call(20.0, "n", 4.5, 3.0),
    ]);
    requests[1].as_object_mut().unwrap().remove("think_time");
    requests[2].as_object_mut().unwrap().remove("api_time");
    requests[2]["out"] = 0.into();
    let (sessions, warnings) = weka(&weka_session(&requests), &ImportOptions::default());
    let calls = &sessions[0].calls;
    // 9 - (0 + 2.5) from the time stamps; 4.5 as recorded.
    assert_eq!(calls[1].gap_ms.nanos().as_secs_f64(), 6.5);
    assert_eq!(calls[2].gap_ms.nanos().as_secs_f64(), 4.5);
    assert_eq!(
        (calls[2].output, calls[2].output_estimated),
        (1, Some(true))
    );
    assert_eq!(calls[2].x.as_ref().unwrap()["out"], 0);
    for warning in [
        Warning::GapsFromTimestamps { calls: 1 },
        Warning::UncorrectedGaps { calls: 1 },
        Warning::NoOutput { calls: 1 },
    ] {
        assert!(warnings.contains(&warning), "{warning:?} in {warnings:?}");
    }
    assert!(!warnings.contains(&Warning::WholeSecondGaps));
}

#[test]
fn sub_agents_stamped_at_their_end_start_a_duration_earlier_and_are_joined() {
    let subagent = |id: &str, t: f64, duration: Value| {
        json!({"t": t, "type": "subagent", "agent_id": id, "subagent_type": "Explore", "status": "?",
               "duration_ms": duration, "requests": [weka_call(0.0, "n", 0.0, 1.0)]})
    };
    let raw = weka_session(&json!([
        weka_call(0.0, "n", 0.0, 7.0),
        subagent("a1", 134.0, json!(126_000)),
        subagent("a2", 7.5, Value::Null),
        weka_call(153.0, "n", 145.0, 2.0),
    ]));
    let (sessions, warnings) = weka(&raw, &RAW);
    let names: Vec<&str> = sessions
        .iter()
        .map(|session| session.sid.as_str())
        .collect();
    assert_eq!(names, ["w", "w/a1", "w/a2"]);
    // a1: 134 - 126 = 8 s, one second after the call's end at 7 s. a2 was launched in the background.
    let parent = |index: usize| {
        let Some(ParentLink::Call(parent)) = &sessions[index].parent else {
            panic!("a spawning call")
        };
        (
            parent.sid.as_str(),
            parent.call,
            parent.offset_ms.nanos().as_secs_f64(),
            parent.join,
        )
    };
    assert_eq!(parent(1), ("w", 0, 1.0, Some(1)));
    assert_eq!(parent(2), ("w", 0, 0.5, None));
    let after = serde_json::to_value(&sessions[0].calls[1].after).unwrap();
    assert_eq!(after, json!([0, "w/a1#0"]));
    assert!(warnings.contains(&Warning::SubagentStampedAtEnd { subagents: 1 }));
    assert!(warnings.contains(&Warning::DetachedSubagents { subagents: 1 }));
    assert_eq!(sessions[2].x.as_ref().unwrap()["subagent_type"], "Explore");
}

#[test]
fn who_is_waited_for_follows_from_what_was_appended_and_the_unusual_is_kept() {
    let mut requests = json!([
        weka_call(0.0, "n", 0.0, 1.0),
        weka_call(9.0, "n", 4.0, 1.0),
        weka_call(20.0, "n", 4.0, 1.0),
        weka_call(30.0, "n", 4.0, 1.0),
    ]);
    requests[1]["input_types"] = json!(["text"]);
    requests[2]["input_types"] = json!(["text", "tool_result"]);
    requests[2]["mood"] = json!({"deep": [1, null]});
    requests[3]["output_types"] = json!(["thinking", "text"]);
    let (sessions, _) = weka(&weka_session(&requests), &RAW);
    let calls = &sessions[0].calls;
    let kinds: Vec<GapKind> = calls.iter().map(|call| call.gap_kind).collect();
    assert_eq!(
        kinds,
        [GapKind::None, GapKind::Human, GapKind::Mixed, GapKind::Tool]
    );
    let x = serde_json::to_value(&calls[2].x).unwrap();
    assert_eq!(
        x,
        json!({"input_types": ["text", "tool_result"], "mood": {"deep": [1, null]}})
    );
    assert_eq!(
        calls[3].x.as_ref().unwrap()["output_types"],
        json!(["thinking", "text"])
    );
    assert_eq!(calls[1].x, None);
}

#[test]
fn a_weka_session_that_cannot_be_is_named_by_file_and_line() {
    let error = |raw: Value| {
        let good = weka_session(&json!([weka_call(0.0, "n", 0.0, 1.0)]));
        import_text("weka", &text_of(&[good, raw]), &RAW)
            .err()
            .unwrap()
            .to_string()
    };
    let text = error(weka_session(&json!([weka_call(0.0, "z", 0.0, 1.0)])));
    assert!(
        text.contains("source:2: a request of type \"z\"; known: n, s, subagent"),
        "{text}"
    );
    let text = error(weka_session(&json!([weka_call(-1.0, "n", 0.0, 1.0)])));
    assert!(text.contains("source:2: call 0: t = -1"), "{text}");
    let text = error(json!({"id": "w", "block_size": 32, "requests": []}));
    assert!(
        text.contains("block_size 32 after sessions with another"),
        "{text}"
    );
    let text = error(json!({"id": "w", "block_size": "64"}));
    assert!(
        text.contains("source:2:") && text.contains("invalid type: string \"64\""),
        "{text}"
    );
    let empty = import_text("weka", "\n\n", &RAW).err().unwrap().to_string();
    assert!(empty.contains("no session with an LLM call"), "{empty}");
}

#[test]
fn an_import_that_fails_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (
        folder.path().join("source"),
        folder.path().join("target.zst"),
    );
    let good = weka_session(&json!([weka_call(0.0, "n", 0.0, 1.0)]));
    std::fs::write(&source, text_of(&[good.clone(), good.clone()])).unwrap();
    let format = import::find("weka").unwrap();
    let sources = [(format, source.clone())];
    let error = import::import_files(&sources, &target, &RAW)
        .unwrap_err()
        .to_string();
    assert!(error.contains("session id `w` was used before"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    std::fs::write(&source, text_of(&[good])).unwrap();
    import::import_files(&sources, &target, &RAW).unwrap();
    assert_eq!(Reader::open(&target).unwrap().count(), 1);
}
