//! The format: what is written is what is read.

mod common;

use common::{call, read_all, session, shared, text_of, trace};
use proptest::prelude::*;
use serde_json::{Value, json};
use trace::format::{
    After, Blocks, Call, Extra, GapKind, Meta, Millis, Nullable, Parent, ParentLink, Reader,
    Session, Tool, Writer,
};
use trace::{Defect, TraceError};

#[test]
fn the_canonical_fixture_survives_reading_and_writing() {
    let Some(path) = shared("format-fixtures/canonical.session-trace.v1.jsonl") else {
        return;
    };
    let text = std::fs::read_to_string(path).unwrap();
    let (meta, sessions) = read_all(&text).unwrap();
    let mut written = vec![serde_json::to_value(&meta).unwrap()];
    written.extend(
        sessions
            .iter()
            .map(|session| serde_json::to_value(session).unwrap()),
    );
    let read: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(written, read);
}

#[test]
fn the_traces_of_other_sources_in_this_format_survive_too() {
    for name in [
        "agentcgroup-claude-code/sessions.jsonl.zst",
        "tau2-bench/sessions.jsonl.zst",
    ] {
        let Some(path) = shared(name) else { return };
        let plain = zstd::decode_all(std::fs::File::open(&path).unwrap()).unwrap();
        let text = String::from_utf8(plain).unwrap();
        let sessions = Reader::open(&path)
            .unwrap()
            .map(|session| serde_json::to_value(session.unwrap()).unwrap());
        let lines = text
            .lines()
            .skip(1)
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        assert!(sessions.eq(lines), "{name}");
    }
}

#[test]
fn unknown_keys_and_nulls_are_kept_at_every_level() {
    let lines = [
        json!({"v": 1, "type": "meta", "source": "s", "origin": "o", "license": "l", "block_size": null,
               "gap_semantics": "start_to_start", "time_unit": "ms", "x": {"a": [1, {"b": null}]}}),
        json!({"v": 1, "type": "session", "sid": "a", "start_ms": null, "mood": "good",
               "shared_prefix": [{"id": "p", "tokens": 3, "hue": 1}],
               "calls": [{"id": 0, "gap_ms": 0.5, "gap_kind": "none", "in": 3, "out": 1, "why": [null],
                          "tools": [{"name": "t", "dur_ms": 4, "internal_ms": 3.25}],
                          "obs": {"api_ms": 7, "queue_ms": 1}}]}),
        json!({"v": 1, "type": "session", "sid": "b", "parent": {"sid": "a", "call": 0, "offset_ms": 1, "y": 2},
               "calls": [{"id": 0, "gap_ms": 0, "gap_kind": "none", "in": 3, "out": 1}]}),
    ];
    let (meta, sessions) = read_all(&text_of(&lines)).unwrap();
    assert_eq!(serde_json::to_value(&meta).unwrap(), lines[0]);
    assert_eq!(serde_json::to_value(&sessions).unwrap(), json!(lines[1..]));
    assert_eq!(meta.tokenizer, Nullable::Absent);
    assert_eq!(meta.block_size, Nullable::Null);
}

#[test]
fn compressed_files_are_written_by_extension_and_recognised_by_content() {
    let folder = tempfile::tempdir().unwrap();
    let sessions = [
        session("a", vec![call(0, 10, 2), call(1, 20, 3)]),
        session("b", vec![call(0, 5, 1)]),
    ];
    for name in ["t.jsonl", "t.jsonl.zst", "t.jsonl.gz"] {
        let path = folder.path().join(name);
        trace(&path, &sessions);
        let disguised = folder.path().join("renamed");
        std::fs::rename(&path, &disguised).unwrap();
        let read: Vec<Session> = Reader::open(&disguised)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(read, sessions, "{name}");
    }
    let magic = |name: &str| {
        trace(&folder.path().join(name), &sessions);
        std::fs::read(folder.path().join(name)).unwrap()[..2].to_vec()
    };
    assert_eq!(magic("a.zst"), [0x28, 0xb5]);
    assert_eq!(magic("a.gz"), [0x1f, 0x8b]);
    assert_eq!(magic("a.jsonl"), *b"{\"");
}

#[test]
fn a_cut_off_compressed_file_is_told_from_a_short_one() {
    let folder = tempfile::tempdir().unwrap();
    let calls: Vec<Call> = (0..200)
        .map(|id| call(id, 10 + 7_919 * id % 1_000, 2))
        .collect();
    let sessions = [session("a", calls.clone()), session("b", calls)];
    for name in ["t.jsonl.zst", "t.jsonl.gz"] {
        let path = folder.path().join(name);
        trace(&path, &sessions);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let result = Reader::open(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let error = result.unwrap_err();
        assert!(
            matches!(error, TraceError::Truncated { .. }),
            "{name}: {error}"
        );
        assert!(error.to_string().contains("cut off"), "{error}");
    }
}

#[test]
fn a_damaged_compressed_file_is_no_short_one_either() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl.gz");
    trace(&path, &[session("a", vec![call(0, 10, 2)])]);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&path, bytes).unwrap();
    let result = Reader::open(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    assert!(result.is_err());
}

#[test]
fn an_unfinished_writer_leaves_nothing_and_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    std::fs::write(&path, "old").unwrap();
    let mut writer = Writer::create(&path, &Meta::default()).unwrap();
    writer.write(&session("a", vec![call(0, 10, 2)])).unwrap();
    drop(writer);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_writer_refuses_what_a_reader_would() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(folder.path().join("t.jsonl"), &Meta::default()).unwrap();
    let error = writer
        .write(&session("a", vec![call(0, 10, 0)]))
        .unwrap_err();
    assert!(
        matches!(
            error,
            TraceError::Invalid {
                defect: Defect::NoOutput { .. },
                ..
            }
        ),
        "{error}"
    );
    let parent = Parent {
        sid: "nobody".to_owned(),
        ..Parent::default()
    };
    let child = Session {
        parent: Some(ParentLink::Call(parent)),
        ..session("b", vec![call(0, 10, 1)])
    };
    writer.write(&child).unwrap();
    let error = writer.finish().unwrap_err().to_string();
    assert!(error.contains("`nobody#0` is not in the file"), "{error}");
}

fn millis() -> impl Strategy<Value = Millis> {
    prop_oneof![
        (0..1_000_000_u64).prop_map(Millis::from_millis),
        (0..1_000_000_000_000_u64).prop_map(|ns| Millis::from_nanos(model::Nanos(ns))),
    ]
}

fn extra() -> impl Strategy<Value = Extra> {
    let value = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        ".{0,4}".prop_map(Value::from)
    ];
    // Keys of the format have letters; a digit in front keeps these unknown.
    prop::collection::btree_map("[0-9][a-z]{0,3}", value, 0..3)
        .prop_map(|map| map.into_iter().collect())
}

prop_compose! {
    fn any_call(id: u32)(
        times in (millis(), prop::option::of(millis()), prop::option::of(millis())),
        tokens in (100_u32..1_000, 1_u32..100, prop::option::of(0_u32..50)),
        has_blocks in any::<bool>(),
        tool in prop::option::of(("[a-z#\"]{1,5}", millis(), extra())),
        after in any::<bool>(),
        text in prop::option::of(".{0,6}"),
        extra in extra(),
    ) -> Call {
        Call {
            id,
            after: (after && id > 0).then(|| vec![After::Own(id - 1), After::Other { sid: "s0".to_owned(), call: 0 }]),
            at_ms: times.1,
            gap_ms: times.0,
            gap_raw_ms: times.2,
            gap_kind: if id == 0 { GapKind::None } else { GapKind::Mixed },
            tools: tool.map(|(name, dur_ms, extra)| vec![Tool { name, dur_ms, extra, ..Tool::default() }]),
            input: tokens.0,
            output: tokens.1,
            keep: tokens.2.filter(|_| id > 0),
            blocks: has_blocks.then(|| Blocks { keep: 0, add: vec![(u64::from(id) * 3, 1)], ..Blocks::default() }),
            stop: text,
            x: (!extra.is_empty()).then(|| extra.clone()),
            extra,
            ..Call::default()
        }
    }
}

fn any_session(index: u32) -> impl Strategy<Value = Session> {
    let calls = (1..5_u32).prop_flat_map(|count| (0..count).map(any_call).collect::<Vec<_>>());
    let start = prop_oneof![
        Just(Nullable::Absent),
        Just(Nullable::Null),
        millis().prop_map(Nullable::Value)
    ];
    (calls, start, extra()).prop_map(move |(calls, start_ms, extra)| Session {
        sid: format!("s{index}"),
        start_ms,
        calls,
        extra,
        ..Session::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_trace_survives_writing_and_reading(
        sessions in (1..4_u32).prop_flat_map(|count| (0..count).map(any_session).collect::<Vec<_>>()),
        extension in prop::sample::select(vec!["jsonl", "zst", "gz"]),
        extra in extra(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("t.{extension}"));
        let meta = Meta { extra, ..common::sized_meta() };
        let mut writer = Writer::create(&path, &meta).unwrap();
        for session in &sessions {
            writer.write(session).unwrap();
        }
        writer.finish().unwrap();
        let reader = Reader::open(&path).unwrap();
        prop_assert_eq!(reader.meta(), &meta);
        prop_assert_eq!(reader.collect::<Result<Vec<_>, _>>().unwrap(), sessions);
    }

    /// Any byte in place of one: sessions, or an error with its place; never a panic.
    #[test]
    fn a_flipped_byte_never_panics(position in 0_usize..300, byte in any::<u8>()) {
        let mut bytes = text_of(&[
            common::sized_meta_json(),
            json!({"v": 1, "type": "session", "sid": "a", "calls": [
                {"id": 0, "gap_ms": 0, "gap_kind": "none", "in": 300, "out": 40, "blocks": {"keep": 0, "add": [[1, 4]]}},
                {"id": 1, "gap_ms": 9, "gap_kind": "tool", "in": 420, "out": 60, "blocks": {"keep": 4, "add": [[5, 2]]}}]}),
        ]).into_bytes();
        let position = position % bytes.len();
        bytes[position] = byte;
        let outcome = Reader::new("t", std::io::Cursor::new(bytes)).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        if let Err(error) = outcome {
            prop_assert!(error.to_string().starts_with("t:"), "{error}");
        }
    }
}
