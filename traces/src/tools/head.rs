//! The first sessions of a trace.

use super::families::Families;
use crate::TraceError;
use crate::format::{Meta, Session};
use crate::import::Sink;

/// Lets the first so many sessions pass, with their sub-agents.
pub struct Head<'a> {
    sink: &'a mut dyn Sink,
    left: u64,
    families: Families<bool>,
}

impl<'a> Head<'a> {
    /// The first `sessions` of the trace called `file`.
    pub fn new(sessions: u64, file: &str, sink: &'a mut dyn Sink) -> Self {
        Self {
            sink,
            left: sessions,
            families: Families::new(file),
        }
    }
}

impl Sink for Head<'_> {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        self.sink.meta(meta)
    }

    fn session(&mut self, session: Session) -> Result<(), TraceError> {
        let passes = self.families.fate(&session, || self.left > 0)?;
        if passes {
            self.left -= u64::from(session.parent.is_none());
            self.sink.session(session)?;
        }
        Ok(())
    }
}
