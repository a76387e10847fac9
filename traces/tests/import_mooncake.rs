//! The Mooncake importer and its dialect of increments.
#![allow(clippy::float_cmp)] // The numbers are small binary fractions: exact.

mod common;

use common::import::{RAW, import_text};
use common::text_of;
use serde_json::{Value, json};
use trace::format::{GapSemantics, Nullable};
use trace::import::{ImportOptions, MooncakeRows, Warning};

#[test]
fn plain_mooncake_rows_become_sessions_of_one_call() {
    let rows = [
        json!({"timestamp": 0, "input_length": 1500, "output_length": 40, "hash_ids": [0, 1, 2]}),
        json!({"timestamp": 3000, "input_length": 1100, "output_length": 0, "hash_ids": [0, 1, 3], "lane": 7}),
    ];
    let (collected, report) = import_text("mooncake", &text_of(&rows), &RAW).unwrap();
    let second = serde_json::to_value(&collected.sessions[1]).unwrap();
    let expected = json!({"v": 1, "type": "session", "sid": "row-1", "start_ms": 3000, "calls": [
        {"id": 0, "at_ms": 0, "gap_ms": 0, "gap_kind": "none", "in": 1100, "out": 1, "out_est": true,
         "blocks": {"keep": 0, "add": [[0, 2], [3, 1]]}, "x": {"lane": 7, "out": 0}}]});
    assert_eq!(second, expected);
    assert_eq!(collected.meta.block_size, Nullable::Value(512));
    assert_eq!(
        report.warnings[..2],
        [Warning::NoTools, Warning::NoSessions]
    );
    assert!(
        !report
            .warnings
            .iter()
            .any(|w| matches!(w, Warning::ArrivalGrid { .. }))
    );
}

#[test]
fn mooncake_rows_with_session_ids_are_grouped_under_all_names() {
    let rows = [
        json!({"session_id": "a", "timestamp": 500, "input_length": 1600, "output_length": 96, "hash_ids": [1, 2, 3, 4]}),
        json!({"session_id": "b", "timestamp": 620, "input_length": 900, "output_length": 70, "hash_ids": [9, 10]}),
        json!({"session_id": "a", "delay_ms": 40, "input_length": 2100, "output_length": 30, "hash_ids": [1, 2, 3, 4, 5]}),
        json!({"session_id": "b", "timestamp": 700, "input_length": 1400, "output_length": 20, "hash_ids": [9, 10, 11]}),
        json!({"session_id": 3, "created_time": 810, "input_tokens": 512, "output_tokens": 8, "hash_ids": [20]}),
        json!({"session_id": 3, "delay": 2450.5, "input_tokens": 700, "output_tokens": 16, "hash_ids": [20, 21]}),
    ];
    let (collected, report) = import_text("mooncake", &text_of(&rows), &RAW).unwrap();
    let gaps: Vec<(String, f64)> = collected
        .sessions
        .iter()
        .map(|s| (s.sid.clone(), s.calls[1].gap_ms.nanos().as_secs_f64() * 1e3))
        .collect();
    // b says no delay: 700 - 620 from start to start.
    assert_eq!(
        gaps,
        [
            ("a".to_owned(), 40.0),
            ("b".to_owned(), 80.0),
            ("3".to_owned(), 2_450.5)
        ]
    );
    assert!(
        report
            .warnings
            .contains(&Warning::StartToStartGaps { calls: 1 })
    );
    assert_eq!(
        collected.meta.gap_semantics,
        GapSemantics::EndOfDependencyToDispatch
    );
    assert_eq!(
        collected.sessions[0].calls[1].blocks.as_ref().unwrap().add,
        [(5, 1)]
    );
    // Where no row says a delay, the whole file runs from start to start.
    let (collected, _) = import_text(
        "mooncake",
        &text_of(&[rows[1].clone(), rows[3].clone()]),
        &RAW,
    )
    .unwrap();
    assert_eq!(collected.meta.gap_semantics, GapSemantics::StartToStart);
}

#[test]
fn mooncake_rows_chain_to_the_longest_prefix_they_extend() {
    let row = |timestamp: u64, ids: &[u64]| {
        // The last block is half full.
        json!({"timestamp": timestamp, "input_length": ids.len() * 512 - 256, "output_length": 9, "hash_ids": ids})
    };
    let rows = [
        row(0, &[0, 1, 2, 3]),            // full: 0 1 2
        row(5_000, &[0, 1, 2, 4, 5]),     // continues row 0; full: 0 1 2 4
        row(9_000, &[0, 1, 2, 6]),        // row 0 is continued already
        row(12_000, &[0, 1, 2, 4, 7, 8]), // continues row 1
        row(13_000, &[0, 9]),             // too short to tell
    ];
    let options = ImportOptions {
        mooncake_rows: MooncakeRows::Chain,
        ..ImportOptions::default()
    };
    let (collected, report) = import_text("mooncake", &text_of(&rows), &options).unwrap();
    let shape: Vec<(String, Vec<f64>)> = collected
        .sessions
        .iter()
        .map(|s| {
            (
                s.sid.clone(),
                s.calls
                    .iter()
                    .map(|c| c.gap_ms.nanos().as_secs_f64())
                    .collect(),
            )
        })
        .collect();
    let expected = [
        ("row-0", vec![0.0, 5.0, 7.0]),
        ("row-2", vec![0.0]),
        ("row-4", vec![0.0]),
    ]
    .map(|(n, g)| (n.to_owned(), g));
    assert_eq!(shape, expected);
    assert!(
        report
            .warnings
            .contains(&Warning::ChainedByPrefix { calls: 2 })
    );
    assert_eq!(collected.meta.gap_semantics, GapSemantics::StartToStart);
}

#[test]
fn arrivals_on_a_grid_are_noticed() {
    let row = |timestamp: u64| json!({"timestamp": timestamp, "input_length": 10, "output_length": 1, "hash_ids": [timestamp]});
    let warnings = |times: &[u64]| {
        let rows: Vec<Value> = times.iter().map(|&t| row(t)).collect();
        import_text("mooncake", &text_of(&rows), &RAW)
            .unwrap()
            .1
            .warnings
    };
    assert!(
        warnings(&[0, 0, 3_000, 3_000, 6_001]).contains(&Warning::ArrivalGrid { step_ms: 3_000 })
    );
    assert_eq!(warnings(&[0, 0, 3_000, 3_400]).len(), 2);
}

#[test]
fn a_mooncake_row_without_its_numbers_is_named_by_line() {
    let error = |rows: &[Value]| {
        import_text("mooncake", &text_of(rows), &RAW)
            .err()
            .unwrap()
            .to_string()
    };
    let first = json!({"session_id": "a", "timestamp": 5, "input_length": 10, "output_length": 1, "hash_ids": []});
    let text = error(&[json!({"timestamp": 0, "output_length": 3})]);
    assert!(
        text.contains("source:1: neither `input_length` nor `input_tokens`"),
        "{text}"
    );
    let mut earlier = first.clone();
    earlier["timestamp"] = 4.into();
    let text = error(&[first.clone(), earlier]);
    assert!(
        text.contains("source:2: the timestamp lies before"),
        "{text}"
    );
    let mut timeless = first.clone();
    timeless.as_object_mut().unwrap().remove("timestamp");
    let text = error(&[first, timeless.clone()]);
    assert!(text.contains("source:2: neither `delay`"), "{text}");
    let rowless = json!({"input_length": 10, "output_length": 1, "hash_ids": []});
    assert!(error(&[rowless]).contains("source:1: row-0 has no `timestamp`"));
    assert!(error(&[]).contains("no session with an LLM call"));
    // A session may begin without one: it has no place on a common clock then.
    let (collected, report) = import_text("mooncake", &timeless.to_string(), &RAW).unwrap();
    assert!(!collected.meta.has_common_clock());
    assert!(report.warnings.contains(&Warning::NoCommonClock));
}

#[test]
fn increments_are_added_to_the_row_before_and_its_answer() {
    let rows = [
        json!({"session_id": "s", "timestamp": 0.0, "group_id": 4, "input_length": 1536, "output_length": 320, "hash_ids": [0, 1, 2]}),
        json!({"session_id": "s", "delay": 2450.3, "input_length": 768, "output_length": 180, "hash_ids": [1000, 1001, 1002, 1003]}),
    ];
    let (collected, report) = import_text("mooncake-delta", &text_of(&rows), &RAW).unwrap();
    let second = serde_json::to_value(&collected.sessions[0].calls[1]).unwrap();
    // 1,536 + 320 + 768 = 2,624 tokens have 6 blocks at most: 3 kept and 3 of the 4 new ones.
    let expected = json!({"id": 1, "gap_ms": 2450.3, "gap_kind": "unknown", "in": 2624, "out": 180,
        "blocks": {"keep": 3, "add": [[1000, 3]]}});
    assert_eq!(second, expected);
    assert!(
        report
            .warnings
            .contains(&Warning::BlocksTrimmed { calls: 1 })
    );
    let first = collected.sessions[0].calls[0].x.as_ref().unwrap();
    assert_eq!(first["group_id"], 4);
    let nameless = json!({"timestamp": 0, "input_length": 9, "output_length": 1, "hash_ids": [1]});
    let error = import_text("mooncake-delta", &nameless.to_string(), &RAW)
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("source:1: no `session_id`"),
        "{error}"
    );
}
