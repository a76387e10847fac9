//! A trace with another load, or on another clock.
//!
//! ```text
//!   load 2:  sessions start twice as close together; what happens inside them stays
//!   time 2:  everything the client does takes twice as long: starts, waits, tools
//! ```
//!
//! Recorded service times (`obs`) stay: they are the server's.

use model::Nanos;

use super::families::Families;
use crate::TraceError;
use crate::format::{GapSemantics, Meta, Millis, Nullable, ParentLink, Session};
use crate::import::Sink;

/// Scales the sessions that pass.
pub struct Scale<'a> {
    sink: &'a mut dyn Sink,
    time: f64,
    load: f64,
    /// Start of each session before and after.
    families: Families<(Nanos, Nanos)>,
}

impl<'a> Scale<'a> {
    /// For the trace called `file`: client time by `time`, arrivals per second by `load`.
    ///
    /// # Errors
    /// If a factor is not above 0.
    pub fn new(
        time: f64,
        load: f64,
        file: &str,
        sink: &'a mut dyn Sink,
    ) -> Result<Self, TraceError> {
        for (name, factor) in [("time", time), ("load", load)] {
            if !(factor.is_finite() && factor > 0.0) {
                return Err(TraceError::Parameters(format!(
                    "`{name}` = {factor}; a factor must be above 0"
                )));
            }
        }
        Ok(Self {
            sink,
            time,
            load,
            families: Families::new(file),
        })
    }

    fn span(&self, span: Millis) -> Result<Millis, TraceError> {
        scaled(span.nanos(), self.time).map(Millis::from_nanos)
    }
}

/// `span` times `factor`, exactly where the factor is 1.
fn scaled(span: Nanos, factor: f64) -> Result<Nanos, TraceError> {
    if factor.total_cmp(&1.0).is_eq() {
        return Ok(span);
    }
    let seconds = span.as_secs_f64() * factor;
    let result = Millis::from_secs(seconds).map(Millis::nanos);
    result.ok_or_else(|| {
        TraceError::Parameters(format!("a time of {seconds:e} s results; scale by less"))
    })
}

impl Sink for Scale<'_> {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        let is_one = self.time.total_cmp(&1.0).is_eq();
        if meta.gap_semantics == GapSemantics::StartToStart && !is_one {
            return Err(TraceError::Parameters(
                "waits of this trace run from start to start and contain service times, which `time` must not scale; \
                 scale by `load` alone"
                    .to_owned(),
            ));
        }
        self.sink.meta(meta)
    }

    fn session(&mut self, mut session: Session) -> Result<(), TraceError> {
        let before = session.start_ms.value().map(Millis::nanos);
        let (time, load) = (self.time, self.load);
        let start = before.unwrap_or_default();
        let after = scaled(start, time / load)?;
        let (parent_before, parent_after) = self.families.fate(&session, || (start, after))?;
        if before.is_some() {
            // A sub-agent keeps its distance from its parent, on the client's clock.
            let after = if session.parent.is_some() {
                parent_after + scaled(start.saturating_sub(parent_before), time)?
            } else {
                after
            };
            session.start_ms = Nullable::Value(Millis::from_nanos(after));
        }
        if let Some(ParentLink::Call(parent)) = &mut session.parent {
            parent.offset_ms = self.span(parent.offset_ms)?;
        }
        for call in &mut session.calls {
            call.gap_ms = self.span(call.gap_ms)?;
            for span in [&mut call.at_ms, &mut call.gap_raw_ms]
                .into_iter()
                .flatten()
            {
                *span = self.span(*span)?;
            }
            for tool in call.tools.iter_mut().flatten() {
                tool.dur_ms = self.span(tool.dur_ms)?;
                if let Some(start) = tool.start_ms.as_ref().and_then(serde_json::Number::as_f64) {
                    tool.start_ms = serde_json::Number::from_f64(start * time);
                }
            }
        }
        self.sink.session(session)
    }
}
