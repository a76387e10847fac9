//! Waits drawn anew, where those of a source are none: tools that ran in memory, people who were simulated.
//!
//! A draw is addressed by seed, session and turn, so that the same trace with the same seed has the same waits. What was recorded stays in
//! `gap_raw_ms`. Recorded places in time are dropped, for they no longer fit.

use crate::TraceError;
use crate::format::{GapKind, Meta, Millis, Session};
use crate::generate::{Distribution, Domain, Draws, Purpose};
use crate::import::Sink;

/// What waits become \[s\]; `None`: they stay. A wait for both becomes the sum.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Waits {
    /// Of tools.
    pub tool: Option<Distribution>,
    /// Of people.
    pub human: Option<Distribution>,
}

/// Redraws the waits of the sessions that pass.
pub struct Retime<'a> {
    sink: &'a mut dyn Sink,
    waits: &'a Waits,
    draws: Draws,
    /// Number of the next session.
    next: u32,
}

/// Which of a wait's two draws.
const TOOL: u32 = 0;
const HUMAN: u32 = 1;

impl<'a> Retime<'a> {
    /// The `waits` of `seed`.
    ///
    /// # Errors
    /// If a distribution makes no sense.
    pub fn new(waits: &'a Waits, seed: u64, sink: &'a mut dyn Sink) -> Result<Self, TraceError> {
        for (name, wait) in [("tool_s", &waits.tool), ("human_s", &waits.human)] {
            wait.as_ref().map_or(Ok(()), |wait| wait.validate(name))?;
        }
        Ok(Self {
            sink,
            waits,
            draws: Draws::new(seed, Domain::Retiming),
            next: 0,
        })
    }

    /// The wait before call `turn` of session `number`; `None` if it stays.
    fn wait(&self, kind: GapKind, number: u32, turn: u32) -> Result<Option<Millis>, TraceError> {
        let (tool, human) = match kind {
            GapKind::Tool => (&self.waits.tool, &None),
            GapKind::Human => (&None, &self.waits.human),
            GapKind::Mixed => (&self.waits.tool, &self.waits.human),
            GapKind::None | GapKind::Unknown => (&None, &None),
        };
        let draw = |index| self.draws.nth(number, turn, Purpose::Gap, index);
        let parts = [(tool, TOOL), (human, HUMAN)];
        let drawn = parts
            .iter()
            .filter_map(|(wait, index)| wait.as_ref().map(|wait| wait.sample(draw(*index))));
        let Some(seconds) = drawn.reduce(|sum, part| sum + part) else {
            return Ok(None);
        };
        let millis = Millis::from_secs(seconds);
        millis.map(Some).ok_or_else(|| {
            TraceError::Parameters(format!(
                "a wait of {seconds:e} s was drawn; give the distribution a `max`"
            ))
        })
    }
}

impl Sink for Retime<'_> {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        self.sink.meta(meta)
    }

    fn session(&mut self, mut session: Session) -> Result<(), TraceError> {
        let number = self.next;
        self.next += 1;
        for turn in 0..session.calls.len() {
            let call = &mut session.calls[turn];
            call.at_ms = None;
            let recorded = call.gap_ms;
            let Some(wait) = self.wait(call.gap_kind, number, turn as u32)? else {
                continue;
            };
            call.gap_raw_ms.get_or_insert(recorded);
            call.gap_ms = wait;
            // The tools of the call before are what is waited for; together they take that long.
            let tools = turn
                .checked_sub(1)
                .map(|issuer| &mut session.calls[issuer].tools);
            for tool in tools.into_iter().flatten().flatten() {
                tool.dur_ms = wait;
            }
        }
        self.sink.session(session)
    }
}
