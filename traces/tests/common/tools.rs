//! Traces to make others of.

use std::path::PathBuf;

use super::{call, session, trace};
use tempfile::TempDir;
use trace::TraceError;
use trace::format::{After, Millis, Nullable, Parent, ParentLink, Reader, Session};
use trace::generate::{Domain, Draws, Purpose};
use trace::import::{FileSink, Sink};

/// A folder that is gone after the test.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A trace in it.
    pub fn trace(&self, name: &str, sessions: &[Session]) -> PathBuf {
        let path = self.path(name);
        trace(&path, sessions);
        path
    }

    /// What a tool makes of a file, written and read back: so it passed every check of the format.
    pub fn through(
        &self,
        fill: impl FnOnce(&mut dyn Sink) -> Result<(), TraceError>,
    ) -> Result<Vec<Session>, TraceError> {
        let path = self.path("out.jsonl");
        let mut sink = FileSink::new(&path);
        fill(&mut sink)?;
        sink.finish(&[])?;
        Reader::open(&path)?.collect()
    }
}

/// The session with another start.
pub fn at(second: u64, session: Session) -> Session {
    Session {
        start_ms: Nullable::Value(Millis::from_millis(second * 1_000)),
        ..session
    }
}

/// `sid`, which starts at `second`, and a sub-agent that its second call waits for.
pub fn family(sid: &str, second: u64) -> [Session; 2] {
    let child = format!("{sid}/child");
    let join = After::Other {
        sid: child.clone(),
        call: 1,
    };
    let mut parent = at(
        second,
        session(sid, vec![call(0, 100, 10), call(1, 200, 10)]),
    );
    parent.calls[1].after = Some(vec![After::Own(0), join]);
    let mut child = at(
        second + 4,
        session(&child, vec![call(0, 50, 5), call(1, 80, 5)]),
    );
    child.parent = Some(ParentLink::Call(Parent {
        sid: sid.to_owned(),
        call: 0,
        offset_ms: Millis::from_millis(3_000),
        join: Some(1),
        ..Parent::default()
    }));
    [parent, child]
}

/// A trace of three families, 10 s apart.
pub fn three_families(place: &Place) -> PathBuf {
    let sessions: Vec<Session> = [("a", 0), ("b", 10), ("c", 20)]
        .into_iter()
        .flat_map(|(sid, second)| family(sid, second))
        .collect();
    place.trace("in.jsonl", &sessions)
}

/// Names.
pub fn sids(sessions: &[Session]) -> Vec<&str> {
    sessions
        .iter()
        .map(|session| session.sid.as_str())
        .collect()
}

/// Start in seconds.
pub fn start_s(session: &Session) -> f64 {
    session.start_ms.value().unwrap().nanos().as_secs_f64()
}

/// Sessions with lengths of their own.
pub fn varied(count: u32) -> Vec<Session> {
    let draws = Draws::new(1, Domain::Agents);
    (0..count)
        .map(|agent| {
            let length = |turn| {
                let draw = draws.at(agent, turn, Purpose::Output);
                (draw.uniform() * 1_000.0) as u32 + 1
            };
            let calls = (0..8).map(|turn| call(turn, 3_000 + length(turn), length(turn + 100)));
            session(&format!("s{agent}"), calls.collect())
        })
        .collect()
}
