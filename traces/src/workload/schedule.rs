//! When sessions start: recorded, drawn, or on their parent's timeline.
//!
//! Recorded starts are moved so that the earliest is 0. Drawn ones are a Poisson process in file order, the
//! first session waiting too; the draw is addressed by the session's number, so `sessions = 50` are the first 50 of any
//! larger run.
//!
//! A sub-agent starts at its parent's start plus the recorded end of the spawning call plus its offset. The
//! timeline is that of the gaps the parent's turns carry (capped ones capped) and recorded service times, so that a
//! sub-agent stays near its parent under every timing. One that names its parent but no call starts as long
//! after its parent as recorded.

use std::collections::HashMap;

use model::{Nanos, Session, Time};

use super::{Converter, Timing, WorkloadOptions, WorkloadReport};
use crate::TraceError;
use crate::format::{self, Millis, ParentLink, Reader};
use crate::generate::{Domain, Draws, Purpose};

pub struct Scheduled {
    pub sessions: Vec<Session>,
    pub classes: Vec<String>,
    pub report: WorkloadReport,
}

/// Where a session lies in time, for its sub-agents.
struct Timeline {
    /// Index into the sessions.
    index: usize,
    ends: Vec<Nanos>,
    /// `start_ms` as recorded.
    start: Option<Nanos>,
}

/// Reads all sessions and puts them in order of their start; equal starts stay in file order.
pub fn schedule(
    mut reader: Reader,
    options: &WorkloadOptions,
    seed: u64,
    block_tokens: u32,
) -> Result<Scheduled, TraceError> {
    options.validate()?;
    let meta = reader.meta().clone();
    let file = reader.file().to_owned();
    if options.rate.is_none() && !meta.has_common_clock() {
        return Err(TraceError::NoCommonClock { file });
    }
    let mut converter = Converter::new(meta, options.clone(), block_tokens)?;
    let mut arrivals = Arrivals {
        draws: Draws::new(seed, Domain::TraceArrivals),
        next: 0,
        clock: Nanos::ZERO,
    };
    let mut sessions: Vec<Session> = Vec::new();
    let mut subagents: Vec<format::Session> = Vec::new();
    let mut timelines: HashMap<String, Timeline> = HashMap::new();
    for session in reader.by_ref() {
        let session = session?;
        if session.parent.is_some() {
            subagents.push(session);
            continue;
        }
        if options
            .sessions
            .is_some_and(|limit| sessions.len() >= limit as usize)
        {
            continue;
        }
        let Some(converted) = converter.convert(&session)? else {
            continue;
        };
        let start = match options.rate {
            Some(rate) => arrivals.next(rate),
            None => recorded_start(&session, options.timing)
                .ok_or_else(|| TraceError::NoCommonClock { file: file.clone() })?,
        };
        let timeline = timeline(&session, sessions.len(), converted.ends);
        timelines.insert(session.sid, timeline);
        sessions.push(Session {
            start,
            ..converted.session
        });
    }
    if options.rate.is_none() {
        let earliest = sessions
            .iter()
            .map(|session| session.start)
            .min()
            .unwrap_or_default();
        for session in &mut sessions {
            session.start = Time(session.start.0 - earliest.0);
        }
    }
    place_subagents(subagents, &mut converter, &mut timelines, &mut sessions)?;
    // A stable sort: equal starts keep the order of the file.
    sessions.sort_by_key(|session| session.start);
    let (classes, report) = converter.finish();
    Ok(Scheduled {
        sessions,
        classes,
        report,
    })
}

/// Places sub-agents whose parents are placed, until no more can be. The rest belongs to sessions that do not run.
fn place_subagents(
    mut waiting: Vec<format::Session>,
    converter: &mut Converter,
    timelines: &mut HashMap<String, Timeline>,
    sessions: &mut Vec<Session>,
) -> Result<(), TraceError> {
    loop {
        let before = waiting.len();
        let mut orphans = Vec::new();
        for session in waiting {
            let parent = session.parent.as_ref().expect("only sub-agents wait");
            let Some(timeline_of_parent) = timelines.get(parent.sid()) else {
                orphans.push(session);
                continue;
            };
            let Some(offset) = offset(&session, parent, timeline_of_parent)? else {
                // The spawning call was cut off.
                converter.report_mut().sessions_skipped += 1;
                converter.report_mut().turns_cut += session.calls.len() as u64;
                continue;
            };
            let start = sessions[timeline_of_parent.index].start + offset;
            let Some(converted) = converter.convert(&session)? else {
                continue;
            };
            converter.report_mut().subagents += 1;
            let timeline = timeline(&session, sessions.len(), converted.ends);
            timelines.insert(session.sid, timeline);
            sessions.push(Session {
                start,
                ..converted.session
            });
        }
        waiting = orphans;
        if waiting.len() == before {
            return Ok(());
        }
    }
}

fn timeline(session: &format::Session, index: usize, ends: Vec<Nanos>) -> Timeline {
    let start = session.start_ms.value().map(Millis::nanos);
    Timeline { index, ends, start }
}

/// From the start of the parent to that of its sub-agent; `None` if the parent does not get as far.
fn offset(
    session: &format::Session,
    parent: &ParentLink,
    timeline: &Timeline,
) -> Result<Option<Nanos>, TraceError> {
    match parent {
        ParentLink::Call(parent) => {
            let end = timeline.ends.get(parent.call as usize);
            Ok(end.map(|&end| end + parent.offset_ms.nanos()))
        }
        ParentLink::Session(sid) => {
            let start = session.start_ms.value().map(Millis::nanos);
            let offset = start
                .zip(timeline.start)
                .map(|(start, parent)| start.saturating_sub(parent));
            offset.map(Some).ok_or_else(|| {
                TraceError::Parameters(format!(
                    "sub-agent `{}` names its parent `{sid}`, but neither the spawning call nor a start_ms for both",
                    session.sid
                ))
            })
        }
    }
}

fn recorded_start(session: &format::Session, timing: Timing) -> Option<Time> {
    let start = session.start_ms.value()?.nanos();
    let first = session
        .calls
        .first()
        .and_then(|call| call.at_ms)
        .unwrap_or_default();
    Some(match timing {
        Timing::ThinkOnly => Time(start.0),
        Timing::Original => Time(start.0) + first.nanos(),
    })
}

/// A Poisson process.
struct Arrivals {
    draws: Draws,
    next: u32,
    clock: Nanos,
}

impl Arrivals {
    fn next(&mut self, rate: f64) -> Time {
        let draw = self.draws.at(self.next, 0, Purpose::Arrival);
        self.next += 1;
        let wait = Nanos::from_secs_f64(draw.exponential() / rate);
        self.clock = Nanos(self.clock.0.saturating_add(wait.0));
        Time(self.clock.0)
    }
}
