//! A stretch of time out of a trace.

use model::Nanos;

use super::families::Families;
use crate::TraceError;
use crate::format::{Meta, Millis, Nullable, Session};
use crate::import::Sink;

/// Lets the sessions pass that start within a stretch, whole and with their sub-agents, and sets the clock to 0 at its
/// beginning.
pub struct Cut<'a> {
    sink: &'a mut dyn Sink,
    from: Nanos,
    to: Nanos,
    file: String,
    families: Families<bool>,
}

impl<'a> Cut<'a> {
    /// Sessions of the trace called `file` that start at `from` or later and before `to`.
    ///
    /// # Errors
    /// If the stretch is empty.
    pub fn new(
        from: Nanos,
        to: Nanos,
        file: &str,
        sink: &'a mut dyn Sink,
    ) -> Result<Self, TraceError> {
        if from >= to {
            return Err(TraceError::Parameters(format!(
                "the stretch from {} s to {} s is empty; let it end after it begins",
                from.as_secs_f64(),
                to.as_secs_f64()
            )));
        }
        Ok(Self {
            sink,
            from,
            to,
            file: file.to_owned(),
            families: Families::new(file),
        })
    }

    fn no_clock(&self) -> TraceError {
        TraceError::NoCommonClock {
            file: self.file.clone(),
        }
    }
}

impl Sink for Cut<'_> {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        if !meta.has_common_clock() {
            return Err(self.no_clock());
        }
        self.sink.meta(meta)
    }

    fn session(&mut self, mut session: Session) -> Result<(), TraceError> {
        let start = session.start_ms.value().map(Millis::nanos);
        if start.is_none() && session.parent.is_none() {
            return Err(self.no_clock());
        }
        let within = start.is_some_and(|start| (self.from..self.to).contains(&start));
        if self.families.fate(&session, || within)? {
            if let Some(start) = start {
                let start = start.saturating_sub(self.from);
                session.start_ms = Nullable::Value(Millis::from_nanos(start));
            }
            self.sink.session(session)?;
        }
        Ok(())
    }
}
