//! One session of a trace, as the engine takes it.

use std::collections::BTreeMap;

use model::{GapKind, Nanos, SharedPrefix, Time, Tokens, ToolClass, Turn};

use super::content::ContentIndex;
use super::{Timing, TooLong, WorkloadOptions, WorkloadReport};
use crate::TraceError;
use crate::format::{self, After, Call, GapSemantics, HashScope, History, Meta, Session};

/// Class of a tool that the trace does not name.
const CLASS_UNNAMED: &str = "tool";
/// Class of a wait for a person.
const CLASS_HUMAN: &str = "human";

/// Converts sessions one by one; remembers tool classes, content ids and what was cut.
#[derive(Debug)]
pub struct Converter {
    meta: Meta,
    options: WorkloadOptions,
    classes: Vec<String>,
    /// Index in `classes` by name.
    class_index: BTreeMap<String, u16>,
    content: Option<ContentIndex>,
    report: WorkloadReport,
}

/// A session and its recorded timeline.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The session; its start is left at 0.
    pub session: model::Session,
    /// When its turns ran.
    pub timeline: Timeline,
    /// Turns that name calls of other sessions in `after`, with those sessions.
    pub awaits: Vec<(u32, String)>,
    /// Turns whose gap counts from the end of those calls, and not from that of the turn before.
    pub gaps_after_join: Vec<u32>,
}

/// When each turn of a session ran, after the session's start, with the gaps and service times that the options leave of the recorded
/// ones.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Starts of the turns.
    pub begins: Vec<Nanos>,
    /// Their ends; the same where the service time is not known.
    pub ends: Vec<Nanos>,
}

impl Converter {
    /// For the sessions of a trace with this `meta`.
    ///
    /// # Errors
    /// If its prefix blocks are not made of whole KV blocks of `block_tokens`.
    pub fn new(
        meta: Meta,
        options: WorkloadOptions,
        block_tokens: u32,
    ) -> Result<Self, TraceError> {
        let content = match meta.block_size.value().zip(meta.hash_scope.value()) {
            Some((size, HashScope::Global)) => Some(ContentIndex::new(size, block_tokens)?),
            _ => None,
        };
        let (classes, class_index) = (Vec::new(), BTreeMap::new());
        let report = WorkloadReport::default();
        let mut converter = Self {
            meta,
            options,
            classes,
            class_index,
            content,
            report,
        };
        converter.name_class(CLASS_UNNAMED);
        Ok(converter)
    }

    /// Names of the tool classes met so far.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// What was done so far.
    pub fn report_mut(&mut self) -> &mut WorkloadReport {
        &mut self.report
    }

    /// Everything at the end.
    pub fn finish(self) -> (Vec<String>, WorkloadReport) {
        (self.classes, self.report)
    }

    /// `session` as the engine takes it; `None` if `too_long` leaves it out.
    ///
    /// # Errors
    /// If a context exceeds the limit, or the timing asked for was not recorded.
    pub fn convert(&mut self, session: &Session) -> Result<Option<Converted>, TraceError> {
        let Some(count) = self.turns_within_limit(session)? else {
            return Ok(None);
        };
        let history = History::of(&self.meta, session);
        let mut turns: Vec<Turn> = Vec::with_capacity(count);
        let mut timeline = Timeline::default();
        for (index, call) in session.calls[..count].iter().enumerate() {
            let previous = index.checked_sub(1).map(|before| &session.calls[before]);
            let mut gap = Nanos::ZERO;
            let mut tool = ToolClass(0);
            if let Some(previous) = previous {
                gap = self.gap(session, previous, call)?;
                tool = self.tool_class(previous, call);
            }
            let begin = timeline.ends.last().map_or(Nanos::ZERO, |&end| end + gap);
            let begin = match (self.options.timing, timeline.begins.last(), previous) {
                // Calls that overlap in the recording overlap on its timeline too.
                (Timing::Original, Some(&before), Some(previous)) => {
                    let distance = at(call).saturating_sub(at(previous));
                    begin.min(before + distance)
                }
                _ => begin,
            };
            timeline.begins.push(begin);
            timeline.ends.push(begin + self.service(session, call)?);
            let content = match &mut self.content {
                Some(content) if call.blocks.is_some() => {
                    content.runs(&history.blocks[index], call.input)
                }
                _ => None,
            };
            turns.push(Turn {
                gap,
                gap_kind: if index == 0 {
                    GapKind::None
                } else {
                    gap_kind(call.gap_kind)
                },
                tool,
                input: Tokens(call.input),
                keep: Tokens(history.keep[index]),
                output: Tokens(call.output),
                content,
                at: (self.options.timing.is_open_loop() && index > 0).then_some(begin),
                expected: None,
                spawns: Vec::new(),
            });
        }
        let kept = &session.calls[..count];
        let awaits: Vec<(u32, String)> = kept.iter().flat_map(awaited_sessions).collect();
        let mut gaps_after_join: Vec<u32> = awaits.iter().map(|(call, _)| *call).collect();
        gaps_after_join.dedup();
        gaps_after_join.retain(|&call| kept[call as usize].gap_from.is_none());
        self.report.branches_serialised += history.branches;
        self.report.sessions += 1;
        self.report.turns += count as u64;
        let shared_prefixes = if self.content.is_some() {
            Vec::new()
        } else {
            shared_prefixes(session, &turns)
        };
        let (name, start) = (session.sid.clone(), Time::ZERO);
        let session = model::Session {
            name,
            start,
            shared_prefixes,
            turns,
        };
        Ok(Some(Converted {
            session,
            timeline,
            awaits,
            gaps_after_join,
        }))
    }

    /// The index of a tool class, which is added if new. Beyond 65,535 classes, that of unnamed tools.
    pub(crate) fn name_class(&mut self, name: &str) -> ToolClass {
        if let Some(&index) = self.class_index.get(name) {
            return ToolClass(index);
        }
        let Ok(index) = u16::try_from(self.classes.len()) else {
            return ToolClass(0);
        };
        self.classes.push(name.to_owned());
        self.class_index.insert(name.to_owned(), index);
        ToolClass(index)
    }

    /// Number of turns to run.
    fn turns_within_limit(&mut self, session: &Session) -> Result<Option<usize>, TraceError> {
        let all = session.calls.len();
        let Some(limit) = self.options.max_context else {
            return Ok(Some(all));
        };
        let tokens = |call: &Call| u64::from(call.input) + u64::from(call.output);
        let Some(first) = session
            .calls
            .iter()
            .position(|call| tokens(call) > u64::from(limit))
        else {
            return Ok(Some(all));
        };
        let kept = match self.options.too_long {
            TooLong::Error => {
                let tokens = tokens(&session.calls[first]);
                let (sid, call) = (session.sid.clone(), first as u32);
                return Err(TraceError::ContextTooLong {
                    sid,
                    call,
                    tokens,
                    limit,
                });
            }
            TooLong::TruncateSession => first,
            TooLong::SkipSession => 0,
        };
        self.report.turns_cut += (all - kept) as u64;
        if kept == 0 {
            self.report.sessions_skipped += 1;
            return Ok(None);
        }
        self.report.sessions_truncated += 1;
        Ok(Some(kept))
    }

    fn gap(
        &mut self,
        session: &Session,
        previous: &Call,
        call: &Call,
    ) -> Result<Nanos, TraceError> {
        let service = service(previous);
        let start_to_start = self.meta.gap_semantics == GapSemantics::StartToStart;
        let gap = match self.options.timing {
            Timing::ThinkOnly if start_to_start => {
                self.report.gaps_with_service_time += u64::from(service.is_none());
                call.gap_ms
                    .nanos()
                    .saturating_sub(service.unwrap_or_default())
            }
            Timing::ThinkOnly => call.gap_ms.nanos(),
            Timing::Original | Timing::ApiScaled => {
                let (Some(before), Some(now)) = (previous.at_ms, call.at_ms) else {
                    return Err(TraceError::Parameters(format!(
                        "timing = \"{}\" needs `at_ms`, which session `{}`, call {} or the one before does \
                         not have; use timing = \"think-only\"",
                        self.options.timing.name(),
                        session.sid,
                        call.id
                    )));
                };
                self.report.gaps_with_service_time += u64::from(service.is_none());
                let end = before.nanos() + service.unwrap_or_default();
                now.nanos().saturating_sub(end)
            }
        };
        let cap = self
            .options
            .gap_cap_s
            .map_or(Nanos::MAX, Nanos::from_secs_f64);
        self.report.gaps_capped += u64::from(gap > cap);
        Ok(gap.min(cap))
    }

    /// How long `call` takes on the timeline.
    fn service(&self, session: &Session, call: &Call) -> Result<Nanos, TraceError> {
        match (self.options.timing, service(call)) {
            (Timing::ApiScaled, Some(recorded)) => {
                let scale = self.options.api_scale.unwrap_or(1.0);
                Ok(Nanos::from_secs_f64(recorded.as_secs_f64() * scale))
            }
            (Timing::ApiScaled, None) => Err(TraceError::Parameters(format!(
                "timing = \"api-scaled\" scales the recorded `obs.api_ms`, which session `{}`, call {} does not have; \
                 use timing = \"original\"",
                session.sid, call.id
            ))),
            (_, recorded) => Ok(recorded.unwrap_or_default()),
        }
    }

    /// Class of the wait before `call`: the first tool in the foreground that `previous` issued.
    fn tool_class(&mut self, previous: &Call, call: &Call) -> ToolClass {
        let tools = previous.tools.iter().flatten();
        let awaited = tools.into_iter().find(|tool| tool.background != Some(true));
        if let Some(tool) = awaited {
            return self.name_class(tool.cls.as_ref().unwrap_or(&tool.name));
        }
        if call.gap_kind == format::GapKind::Human {
            return self.name_class(CLASS_HUMAN);
        }
        ToolClass(0)
    }
}

/// The calls of other sessions that `call` waits for.
fn awaited_sessions(call: &Call) -> impl Iterator<Item = (u32, String)> {
    let others = call.after.iter().flatten().filter_map(|after| match after {
        After::Other { sid, .. } => Some(sid.clone()),
        After::Own(_) => None,
    });
    others.map(|sid| (call.id, sid))
}

/// Recorded start of a call that has passed [`Converter::gap`].
fn at(call: &Call) -> Nanos {
    call.at_ms.map(format::Millis::nanos).unwrap_or_default()
}

/// How long the recorded system took.
fn service(call: &Call) -> Option<Nanos> {
    call.observed.as_ref()?.api_ms.map(format::Millis::nanos)
}

fn gap_kind(kind: format::GapKind) -> GapKind {
    match kind {
        format::GapKind::None => GapKind::None,
        format::GapKind::Tool => GapKind::Tool,
        format::GapKind::Human => GapKind::Human,
        format::GapKind::Mixed => GapKind::Mixed,
        format::GapKind::Unknown => GapKind::Unknown,
    }
}

/// The shared prefix up to the end of each of its parts, but no longer than the shortest prompt: the engine demands that every
/// prompt of the session begins with it. What is equal in two sessions are the parts before the first that differs.
fn shared_prefixes(session: &Session, turns: &[Turn]) -> Vec<SharedPrefix> {
    let parts = session.shared_prefix.as_deref().unwrap_or_default();
    let shortest = turns.iter().map(|turn| turn.input).min();
    let mut room = shortest.unwrap_or_default();
    let mut prefixes: Vec<SharedPrefix> = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        let length = room.min(Tokens(part.tokens));
        if length > Tokens::ZERO {
            let before = prefixes.last().map_or(Tokens::ZERO, |prefix| prefix.tokens);
            prefixes.push(SharedPrefix {
                id: prefix_id(parts[..=index].iter().map(|part| part.id.as_str())),
                tokens: before + length,
            });
            room = room.saturating_sub(length);
        }
    }
    prefixes
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo), over the ids with a zero byte after each: the same in every run and build.
fn prefix_id<'a>(ids: impl Iterator<Item = &'a str>) -> u64 {
    let bytes = ids.flat_map(|id| id.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_shared_prefix_is_fnv_1a() {
        // The empty hash is the offset basis; "a" alone would be af63dc4c8601ec8c, then a zero byte multiplies once more.
        assert_eq!(prefix_id([].into_iter()), 0xcbf2_9ce4_8422_2325);
        let expected = 0xaf63_dc4c_8601_ec8c_u64.wrapping_mul(0x0000_0100_0000_01b3);
        assert_eq!(prefix_id(["a"].into_iter()), expected);
        assert_ne!(
            prefix_id(["ab"].into_iter()),
            prefix_id(["a", "b"].into_iter())
        );
    }
}
