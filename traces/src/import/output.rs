//! Between an importer and a sink: what passes is counted, and checked as a reader of the trace would.

use super::Sink;
use crate::format::{Checker, Meta, Session};
use crate::{Defect, Place, TraceError};

/// Takes what an importer finds.
pub struct Output<'a> {
    file: String,
    sink: &'a mut dyn Sink,
    checker: Option<Checker>,
    has_common_clock: bool,
    sessions: u64,
    calls: u64,
}

impl<'a> Output<'a> {
    /// Of the source `file`, into `sink`.
    pub fn new(file: &str, sink: &'a mut dyn Sink) -> Self {
        Self {
            file: file.to_owned(),
            sink,
            checker: None,
            has_common_clock: true,
            sessions: 0,
            calls: 0,
        }
    }

    /// The first line; once, before any session.
    pub fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        let checker = Checker::new(meta).map_err(|defect| self.invalid(defect))?;
        self.checker = Some(checker);
        self.has_common_clock = meta.has_common_clock();
        self.sink.meta(meta)
    }

    /// The next session.
    pub fn session(&mut self, session: Session) -> Result<(), TraceError> {
        let checker = self.checker.as_mut();
        let checker = checker.expect("an importer sends the meta line first");
        // The line is that of the trace, which does not exist yet: the session's name has to do.
        let checked = checker.session(&session, 0);
        checked.map_err(|defect| self.invalid(defect))?;
        self.sessions += 1;
        self.calls += session.calls.len() as u64;
        self.sink.session(session)
    }

    /// Whether the first line says that starts of different sessions can be compared.
    pub fn has_common_clock(&self) -> bool {
        self.has_common_clock
    }

    /// How many sessions and calls there were.
    pub fn finish(mut self) -> Result<(u64, u64), TraceError> {
        if let Some(checker) = &mut self.checker {
            let settled = checker.finish(&self.file);
            settled.map_err(|(at, defect)| TraceError::Invalid { at, defect })?;
        }
        if self.sessions == 0 {
            return Err(TraceError::Empty { file: self.file });
        }
        Ok((self.sessions, self.calls))
    }

    fn invalid(&self, defect: Defect) -> TraceError {
        let at = Place {
            file: self.file.clone(),
            line: 0,
            column: None,
        };
        TraceError::Invalid { at, defect }
    }
}
