//! Files beside the workspace, and small traces to test with.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod import;
pub mod run;
pub mod tools;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::{Value, json};
use trace::TraceError;
use trace::format::{Call, GapKind, HashScope, Meta, Millis, Nullable, Reader, Session, Writer};

/// A meta line without blocks.
pub static META: LazyLock<Value> = LazyLock::new(|| {
    json!({"v": 1, "type": "meta", "source": "test", "origin": "inline", "license": "CC0-1.0",
           "gap_semantics": "end_of_dependency_to_dispatch"})
});

/// A file of the public traces; prints why the test does nothing where it is absent.
pub fn shared(name: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/traces-public");
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is absent", path.display());
    None
}

/// A meta line with session-scoped blocks of 64 tokens.
pub fn sized_meta() -> Meta {
    Meta {
        source: "test".to_owned(),
        block_size: Nullable::Value(64),
        hash_scope: Nullable::Value(HashScope::Session),
        ..Meta::default()
    }
}

/// The same as JSON.
pub fn sized_meta_json() -> Value {
    serde_json::to_value(sized_meta()).unwrap()
}

/// JSON lines.
pub fn text_of(lines: &[Value]) -> String {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    lines.join("\n")
}

/// A call after a gap of one second for a tool (none for the first).
pub fn call(id: u32, input: u32, output: u32) -> Call {
    let (gap_ms, gap_kind) = match id {
        0 => (Millis::default(), GapKind::None),
        _ => (Millis::from_millis(1_000), GapKind::Tool),
    };
    Call {
        id,
        gap_ms,
        gap_kind,
        input,
        output,
        ..Call::default()
    }
}

/// A session that starts at 0.
pub fn session(sid: &str, calls: Vec<Call>) -> Session {
    let start_ms = Nullable::Value(Millis::default());
    Session {
        sid: sid.to_owned(),
        start_ms,
        calls,
        ..Session::default()
    }
}

/// Writes `sessions` to `path`.
pub fn trace(path: &Path, sessions: &[Session]) {
    trace_with(path, &Meta::default(), sessions);
}

/// Writes `sessions` to `path` under `meta`.
pub fn trace_with(path: &Path, meta: &Meta, sessions: &[Session]) {
    let mut writer = Writer::create(path, meta).unwrap();
    for session in sessions {
        writer.write(session).unwrap();
    }
    writer.finish().unwrap();
}

/// All of a trace given as text.
pub fn read_all(text: &str) -> Result<(Meta, Vec<Session>), TraceError> {
    let reader = Reader::new(
        "t.jsonl",
        std::io::Cursor::new(text.to_owned().into_bytes()),
    )?;
    let meta = reader.meta().clone();
    Ok((meta, reader.collect::<Result<_, _>>()?))
}
