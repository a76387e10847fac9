//! What is wrong with a trace is said with its place, its value and what to do.

mod common;

use common::{META, read_all, text_of};
use serde_json::{Value, json};
use trace::TraceError;
use trace::format::Reader;

fn error(lines: &[Value]) -> String {
    read_all(&text_of(lines)).unwrap_err().to_string()
}

/// The error for one session with these calls.
fn call_error(calls: &Value) -> String {
    error(&[
        META.clone(),
        json!({"v": 1, "type": "session", "sid": "a", "calls": calls}),
    ])
}

#[test]
fn a_file_that_is_no_trace_is_told_to_be_imported() {
    let text = error(&[json!({"timestamp": 0, "input_length": 3})]);
    assert!(
        text.starts_with("t.jsonl:1: ") && text.contains("import it first"),
        "{text}"
    );
    assert!(matches!(
        read_all("").unwrap_err(),
        TraceError::MissingMeta { .. }
    ));
    let text = error(&[json!({"v": 1, "type": "session", "sid": "a", "calls": []})]);
    assert!(
        text.contains("must be {\"v\":1,\"type\":\"meta\""),
        "{text}"
    );
}

#[test]
fn a_malformed_line_is_named_by_line_and_column() {
    let text = format!(
        "{}\n{{\"v\":1,\"type\":\"session\",\"sid\":7}}\n",
        META.clone()
    );
    let error = read_all(&text).unwrap_err().to_string();
    // The 7 is the 33rd byte of line 2.
    assert!(error.starts_with("t.jsonl:2:3"), "{error}");
    assert!(
        error.contains("invalid type: integer `7`, expected a string"),
        "{error}"
    );
    let error = read_all(&format!("{}\n{{\"v\":1,\n", META.clone()))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("t.jsonl:2:") && error.contains("EOF"),
        "{error}"
    );
}

#[test]
fn another_version_another_meta_line_and_a_repeated_key_are_refused() {
    let text = error(&[
        META.clone(),
        json!({"v": 2, "type": "session", "sid": "a", "calls": []}),
    ]);
    assert!(
        text.contains("version 2, but this build reads session-trace v1"),
        "{text}"
    );
    let mut second = META.clone();
    second["sid"] = "a".into();
    second["calls"] = json!([]);
    let text = error(&[META.clone(), second]);
    assert!(
        text.contains("type \"meta\" where \"session\" is due"),
        "{text}"
    );
    let text = format!(
        "{}\n{{\"v\":1,\"type\":\"session\",\"sid\":\"a\",\"sid\":\"b\"}}\n",
        META.clone()
    );
    assert!(
        read_all(&text)
            .unwrap_err()
            .to_string()
            .contains("duplicate field `sid`")
    );
}

#[test]
fn numbers_that_cannot_be_are_refused_with_session_call_and_value() {
    let one = |key: &str, value: Value| {
        let mut call = json!({"id": 0, "gap_ms": 0, "gap_kind": "none", "in": 10, "out": 2});
        call[key] = value;
        call_error(&json!([call]))
    };
    assert!(one("gap_ms", json!(-3)).contains("integer `-3`, expected milliseconds"));
    assert!(one("at_ms", json!(-0.5)).contains("floating point `-0.5`"));
    assert!(one("out", json!(0)).contains("session `a`, call 0: out = 0"));
    assert!(one("in", json!(0)).contains("in = 0"));
    assert!(one("in", json!(-1)).contains("`-1`"));
    assert!(one("in", json!(3_000_000_000_u32)).contains("3000000002 tokens in one call"));
    assert!(one("keep", json!(1)).contains("keep = 1, but its predecessor had in + out = 0"));
    assert!(one("keep", json!(null)).contains("null"));
    assert!(one("id", json!(1)).contains("call id 1 where 0 is due"));
    assert!(one("after", json!([0])).contains("after = `0`, but there is no such earlier call"));
    assert!(one("gap_kind", json!("nap")).contains("unknown variant `nap`"));
    assert!(call_error(&json!([])).contains("has no calls"));
    let endless = format!(
        "{}\n{}",
        META.clone(),
        r#"{"v":1,"type":"session","sid":"a","calls":[{"id":0,"gap_ms":1e999,"gap_kind":"none","in":1,"out":1}]}"#
    );
    assert!(
        read_all(&endless)
            .unwrap_err()
            .to_string()
            .contains("number out of range")
    );
}

#[test]
fn what_is_kept_fits_the_history_and_the_prompt() {
    let two = |second: Value| {
        let mut call = json!({"id": 1, "gap_ms": 0, "gap_kind": "tool", "in": 100, "out": 2});
        call.as_object_mut()
            .unwrap()
            .extend(second.as_object().unwrap().clone());
        call_error(&json!([{"id": 0, "gap_ms": 0, "gap_kind": "none", "in": 10, "out": 2}, call]))
    };
    // 10 + 2 = 12 tokens of history.
    assert!(two(json!({"keep": 13})).contains("keep = 13, but its predecessor had in + out = 12"));
    assert!(two(json!({"keep": 12, "in": 11})).contains("keep = 12 of a prompt of in = 11"));
    assert!(two(json!({"id": 0})).contains("call id 0 where 1 is due"));
    assert!(two(json!({"after": [1]})).contains("after = `1`"));
    assert!(two(json!({"after": ["b#0"]})).contains("after = `b#0`"));
    assert!(two(json!({"after": ["b"]})).contains("expected a call id"));
    assert!(two(json!({"gap_from": 1})).contains("gap_from 1"));
}

#[test]
fn blocks_fit_the_history_the_prompt_and_the_meta_line() {
    let blocks = |meta: &Value, blocks: Value| {
        let call = json!({"id": 0, "gap_ms": 0, "gap_kind": "none", "in": 100, "out": 2, "blocks": blocks});
        error(&[
            meta.clone(),
            json!({"v": 1, "type": "session", "sid": "a", "calls": [call]}),
        ])
    };
    let mut sized = META.clone();
    sized["block_size"] = 64.into();
    sized["hash_scope"] = "session".into();
    assert!(blocks(&META, json!({"keep": 0, "add": [[1, 1]]})).contains("names no block_size"));
    assert!(
        blocks(&sized, json!({"keep": 1, "add": []}))
            .contains("blocks.keep = 1, but its predecessor has 0")
    );
    // 100 tokens are at most ceil(100 / 64) = 2 blocks.
    assert!(
        blocks(&sized, json!({"keep": 0, "add": [[1, 3]]}))
            .contains("3 blocks for a prompt of 100")
    );
    assert!(blocks(&sized, json!({"keep": 0, "add": [[1_u64 << 63, 1]]})).contains("below 2^63"));
    sized["block_size"] = 0.into();
    assert!(blocks(&sized, json!({"keep": 0, "add": []})).contains("block_size = 0"));
}

#[test]
fn sessions_have_names_of_their_own_and_refer_to_those_that_exist() {
    let plain = |sid: &str| {
        let call = json!({"id": 0, "gap_ms": 0, "gap_kind": "none", "in": 9, "out": 2});
        json!({"v": 1, "type": "session", "sid": sid, "calls": [call]})
    };
    let text = error(&[META.clone(), plain("a"), plain("b"), plain("a")]);
    assert!(
        text.starts_with("t.jsonl:4: session id `a` was used before"),
        "{text}"
    );
    let mut child = plain("c");
    child["parent"] = json!({"sid": "a", "call": 1, "offset_ms": 0});
    let text = error(&[META.clone(), child.clone(), plain("a")]);
    assert!(
        text.starts_with("t.jsonl:2: ") && text.contains("`a#1` is not in the file"),
        "{text}"
    );
    let mut orphan = plain("o");
    orphan["parent"] = "nobody".into();
    let text = error(&[META.clone(), orphan.clone()]);
    assert!(text.contains("`nobody#0` is not in the file"), "{text}");
    orphan["parent"] = 3.into();
    assert!(error(&[META.clone(), orphan]).contains("a session id, or { sid, call, offset_ms }"));
    // A reference may point forward.
    child["parent"]["call"] = 0.into();
    let forward = text_of(&[META.clone(), child, plain("a")]);
    assert_eq!(read_all(&forward).unwrap().1.len(), 2);
}

#[test]
fn a_missing_file_is_named() {
    let error = Reader::open("no/such/file").err().unwrap().to_string();
    assert!(error.starts_with("cannot open `no/such/file`"), "{error}");
}
