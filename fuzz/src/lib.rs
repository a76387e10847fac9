//! What must hold for any bytes at all: here for the fuzz targets, and included by
//! `sim/lab/tests/fuzz_corpus.rs`, which replays the corpus in every ordinary test run.
//!
//! Each function panics where something does not hold.

use std::io::Cursor;

use results::spec::{Layers, RunSpec, SweepSpec};
use trace::TraceError;
use trace::format::{Lines, Meta, Reader, Session};
use trace::import::{self, FORMATS, Head, ImportOptions, MooncakeRows, Sink};

/// Sessions of one input that are looked at: an input of a few bytes may ask for millions (a recipe).
const SESSIONS_MAX: usize = 200;

/// Name of the input in errors.
const NAME: &str = "input";

/// An importer ends in an error that names the input, or in sessions that survive writing and reading.
pub fn import(format: &str, bytes: &[u8]) {
    let format = import::find(format).expect("a format of the registry");
    let rows = [MooncakeRows::Single, MooncakeRows::Chain];
    let modes = if format.name == "mooncake" { 2 } else { 1 };
    for mooncake_rows in rows.into_iter().take(modes) {
        let options = ImportOptions {
            mooncake_rows,
            ..ImportOptions::default()
        };
        let mut sink = Bounded::default();
        let lines = Lines::new(NAME, Cursor::new(bytes.to_vec()));
        let report =
            lines.and_then(|lines| import::import_lines(format, lines, &options, &mut sink));
        match report {
            Ok(report) => {
                assert_eq!(report.sessions, sink.sessions.len() as u64);
                survives(&sink.meta, &sink.sessions);
            }
            Err(error) => is_told(&error),
        }
    }
}

/// Every format looks at any beginning, and says why it knows it.
pub fn detect(bytes: &[u8]) {
    let head = Head::new(bytes);
    for format in FORMATS {
        if let Some(reason) = (format.detect)(&head) {
            assert!(!reason.is_empty());
        }
    }
}

/// The trace reader ends in an error that names the input, or in what is written back equal.
pub fn read_trace(bytes: &[u8]) {
    match read(bytes.to_vec()) {
        Ok((meta, sessions)) => survives(&meta, &sessions),
        Err(error) => is_told(&error),
    }
}

/// The run-spec parser refuses with a message, or fills the defaults in so that the result reads as itself. After a zero byte
/// comes what `--set` is given.
pub fn run_spec(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut parts = text.split('\0');
    let layers = Layers {
        set: parts.clone().skip(1).map(str::to_owned).collect(),
        ..Layers::of_text(NAME, parts.next().unwrap_or_default())
    };
    // A sweep of thousands is slow for its number alone.
    let is_small = text.matches("..").count() + text.matches(',').count() < 20;
    if is_small && let Err(error) = SweepSpec::load(&layers) {
        assert!(!error.to_string().is_empty());
    }
    match RunSpec::load(&layers) {
        Ok(spec) => {
            let text = spec.to_toml();
            let again = RunSpec::load(&Layers::of_text(NAME, &text));
            let again = again.unwrap_or_else(|error| panic!("{error} in {text}"));
            assert_eq!(again.canonical_json(), spec.canonical_json());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn is_told(error: &TraceError) {
    let text = error.to_string();
    let is_full = matches!(error, TraceError::Parameters(_));
    assert!(
        is_full || text.contains(NAME),
        "an error without its place: {text}"
    );
}

fn read(bytes: Vec<u8>) -> Result<(Meta, Vec<Session>), TraceError> {
    let reader = Reader::new(NAME, Cursor::new(bytes))?;
    let meta = reader.meta().clone();
    Ok((meta, reader.collect::<Result<_, _>>()?))
}

/// Written as JSON lines and read again, a trace is what it was.
fn survives(meta: &Meta, sessions: &[Session]) {
    let mut text = serde_json::to_vec(meta).expect("plain values");
    for session in sessions {
        text.push(b'\n');
        serde_json::to_writer(&mut text, session).expect("plain values");
    }
    let (meta_again, sessions_again) = read(text).expect("a written trace can be read");
    assert_eq!(&meta_again, meta);
    assert_eq!(sessions_again, sessions);
}

/// Keeps sessions up to a number, then ends the import.
#[derive(Default)]
struct Bounded {
    meta: Meta,
    sessions: Vec<Session>,
}

impl Sink for Bounded {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        self.meta = meta.clone();
        Ok(())
    }

    fn session(&mut self, session: Session) -> Result<(), TraceError> {
        if self.sessions.len() >= SESSIONS_MAX {
            return Err(TraceError::Parameters(
                "more sessions than are looked at".to_owned(),
            ));
        }
        self.sessions.push(session);
        Ok(())
    }
}
