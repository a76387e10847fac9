//! When sessions start: recorded, drawn, or on their parent's timeline.
//!
//! Recorded starts are moved so that the earliest is 0. Drawn ones are a Poisson process in file order, the
//! first session waiting too; the draw is addressed by the session's number, so `sessions = 50` are the first 50 of any
//! larger run.
//!
//! A sub-agent that names the call which spawned it becomes part of that turn: it starts so long after the turn's end, or in an open loop at its
//! place on the recorded timeline. One that names its parent but no call starts as long after its parent as recorded.

use std::collections::HashMap;

use model::{Nanos, Session, Spawn, Time, TurnIndex};

use super::{Converted, Converter, Timeline, Timing, WorkloadOptions, WorkloadReport};
use crate::TraceError;
use crate::format::{self, Millis, ParentLink, Reader};
use crate::generate::{Domain, Draws, Purpose};

pub struct Scheduled {
    pub sessions: Vec<Session>,
    pub classes: Vec<String>,
    pub report: WorkloadReport,
}

/// A session on its way into the workload.
struct Placed {
    session: Session,
    timeline: Timeline,
    /// `start_ms` as recorded.
    recorded: Option<Nanos>,
    awaits: Vec<(u32, String)>,
    gaps_after_join: Vec<u32>,
    /// The turn that starts it, by index of the parent: always a smaller one.
    parent: Option<(usize, format::Parent)>,
}

impl Placed {
    fn new(source: &format::Session, converted: Converted, start: Time) -> Self {
        Self {
            session: Session {
                start,
                ..converted.session
            },
            timeline: converted.timeline,
            recorded: source.start_ms.value().map(Millis::nanos),
            awaits: converted.awaits,
            gaps_after_join: converted.gaps_after_join,
            parent: None,
        }
    }
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
    let mut placed: Vec<Placed> = Vec::new();
    let mut subagents: Vec<format::Session> = Vec::new();
    let mut by_sid: HashMap<String, usize> = HashMap::new();
    for session in reader.by_ref() {
        let session = session?;
        if session.parent.is_some() {
            subagents.push(session);
            continue;
        }
        if options
            .sessions
            .is_some_and(|limit| placed.len() >= limit as usize)
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
        placed.push(Placed::new(&session, converted, start));
        by_sid.insert(session.sid, placed.len() - 1);
    }
    if options.rate.is_none() {
        let starts = placed.iter().map(|placed| placed.session.start);
        let earliest = starts.min().unwrap_or_default();
        for Placed { session, .. } in &mut placed {
            session.start = Time(session.start.0 - earliest.0);
        }
    }
    place_subagents(subagents, &mut converter, &mut by_sid, &mut placed)?;
    let mut sessions = fold(placed, options.timing, converter.report_mut());
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
    by_sid: &mut HashMap<String, usize>,
    placed: &mut Vec<Placed>,
) -> Result<(), TraceError> {
    loop {
        let before = waiting.len();
        let mut orphans = Vec::new();
        for session in waiting {
            let link = session.parent.clone().expect("only sub-agents wait");
            let Some(&parent) = by_sid.get(link.sid()) else {
                orphans.push(session);
                continue;
            };
            let spawner = &placed[parent];
            let (start, call) = match link {
                ParentLink::Call(call) if call.call as usize >= spawner.session.turns.len() => {
                    // The spawning call was cut off.
                    converter.report_mut().sessions_skipped += 1;
                    converter.report_mut().turns_cut += session.calls.len() as u64;
                    continue;
                }
                ParentLink::Call(call) => (Time::ZERO, Some(call)),
                ParentLink::Session(_) => (beside(&session, spawner)?, None),
            };
            let Some(converted) = converter.convert(&session)? else {
                continue;
            };
            converter.report_mut().subagents += 1;
            placed.push(Placed {
                parent: call.map(|call| (parent, call)),
                ..Placed::new(&session, converted, start)
            });
            by_sid.insert(session.sid, placed.len() - 1);
        }
        waiting = orphans;
        if waiting.len() == before {
            return Ok(());
        }
    }
}

/// When a sub-agent starts that names no call: as long after its parent as recorded.
fn beside(session: &format::Session, parent: &Placed) -> Result<Time, TraceError> {
    let start = session.start_ms.value().map(Millis::nanos);
    let Some((start, recorded)) = start.zip(parent.recorded) else {
        return Err(TraceError::Parameters(format!(
            "sub-agent `{}` names its parent `{}`, but neither the spawning call nor a start_ms for both",
            session.sid, parent.session.name
        )));
    };
    Ok(parent.session.start + start.saturating_sub(recorded))
}

/// Puts each sub-agent into the turn that starts it, the last ones first, so that each is complete when it is put. What is left starts by itself.
fn fold(mut placed: Vec<Placed>, timing: Timing, report: &mut WorkloadReport) -> Vec<Session> {
    let mut roots = Vec::new();
    while let Some(last) = placed.pop() {
        let Some((parent, link)) = last.parent else {
            report.joins_ignored += last.awaits.len() as u64;
            roots.push(last.session);
            continue;
        };
        let parent = &mut placed[parent];
        let offset = parent.timeline.ends[link.call as usize] + link.offset_ms.nanos();
        let lasts = last.timeline.ends.last().copied().unwrap_or_default();
        let (call, turns) = (link.call, parent.session.turns.len() as u32);
        let join = link.join.filter(|&join| join > call && join < turns);
        if let Some(join) = join {
            report.joins += 1;
            join_at(parent, join, offset + lasts);
            parent
                .awaits
                .retain(|(call, sid)| !(*call == join && *sid == last.session.name));
        }
        report.joins_ignored += last.awaits.len() as u64;
        let spawn = Spawn {
            after: link.offset_ms.nanos(),
            at: timing.is_open_loop().then_some(offset),
            join: join.map(TurnIndex),
            session: last.session,
        };
        // The later ones of a file are put first.
        parent.session.turns[call as usize].spawns.insert(0, spawn);
    }
    roots.reverse();
    roots
}

/// Turn `join` of `parent` waits for a sub-agent that ended at `end` of the parent's recorded timeline.
fn join_at(parent: &mut Placed, join: u32, end: Nanos) {
    let index = join as usize;
    let before = parent.timeline.ends[index - 1];
    let turn = &mut parent.session.turns[index];
    if parent.gaps_after_join.contains(&join) {
        let wait = (end + turn.gap).saturating_sub(before);
        turn.expected = turn.expected.max(Some(wait));
    } else {
        // The gap spans the sub-agent: what is left of it comes after the sub-agent's end.
        let begin = parent.timeline.begins[index];
        turn.expected.get_or_insert(turn.gap);
        turn.gap = turn.gap.min(begin.saturating_sub(end));
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
        Timing::Original | Timing::ApiScaled => Time(start.0) + first.nanos(),
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
