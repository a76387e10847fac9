//! What agents do: sessions, their turns, and the waits between them.
//!
//! A [`Session`] is complete when it is handed over, but sessions are handed over one at a time, in
//! order of their start, so a trace of any length is simulated without being held in memory. A sub-agent is part of its
//! parent: when it starts depends on when the parent gets there.

use crate::{Nanos, Time, Tokens, ToolClass, TurnIndex};

/// One LLM call of a session, and the wait that precedes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Closed loop: client-side wait between the end of what this turn depends on (the previous turn, and sub-agents that it joins)
    /// and its arrival. Ignored for the first turn.
    pub gap: Nanos,
    /// Open loop: the turn arrives this long after the start of its session, or when what it depends on has ended if that is later. It
    /// then takes the place of `gap`.
    pub at: Option<Nanos>,
    /// What the client expects the wait to be while sub-agents that it joins still run; `None` where it cannot tell.
    pub expected: Option<Nanos>,
    /// Why the session waits.
    pub gap_kind: GapKind,
    /// Class of the tool that is waited for: known to the server when the wait begins.
    pub tool: ToolClass,
    /// Prompt of this call in tokens: all of the history that is resubmitted, and what is new.
    pub input: Tokens,
    /// Leading prompt tokens that equal the previous turn's prompt and output. Less than their sum
    /// where history was rewritten or reasoning stripped. 0 for the first turn.
    pub keep: Tokens,
    /// Tokens that this call generates, at least 1.
    pub output: Tokens,
    /// Block content given by the trace (block hashes). Where present it replaces `keep`: it covers the
    /// leading blocks of the prompt; what follows is private to the session.
    pub content: Option<Box<[ContentRun]>>,
    /// Sub-agents that this turn starts.
    pub spawns: Vec<Spawn>,
}

/// A sub-agent: a session that begins when a turn of its parent has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spawn {
    /// Closed loop: from the end of the spawning turn to the arrival of the first turn.
    pub after: Nanos,
    /// Open loop: the same from the start of the parent, but not before the spawning turn has ended.
    pub at: Option<Nanos>,
    /// The parent's turn that waits for the end of this sub-agent's last turn; later than the spawning one. `None`: nobody waits.
    pub join: Option<TurnIndex>,
    /// What it does. Its start is ignored.
    pub session: Session,
}

/// A stretch of a prompt whose content the trace identifies across sessions: KV blocks
/// `first .. first + len` of the global content stream `stream`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRun {
    /// Equal streams hold equal content.
    pub stream: u64,
    /// First KV block within the stream.
    pub first: u32,
    /// Number of KV blocks.
    pub len: u32,
}

/// Why a session waits before a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GapKind {
    /// There is no wait (first turn).
    #[default]
    None,
    /// A tool runs.
    Tool,
    /// A person reads, thinks, types.
    Human,
    /// Both.
    Mixed,
    /// The trace does not say.
    Unknown,
}

/// The first tokens of every prompt of a session, equal in all sessions that name the same `id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedPrefix {
    /// Equal id, equal content.
    pub id: u64,
    /// Length in tokens.
    pub tokens: Tokens,
}

/// An agent's run: when it starts and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Name in the trace.
    pub name: String,
    /// Arrival of the first turn.
    pub start: Time,
    /// Content shared with other sessions: beginnings of all prompts, each longer than the one before and containing it.
    pub shared_prefixes: Vec<SharedPrefix>,
    /// At least one.
    pub turns: Vec<Turn>,
}

impl Session {
    /// Prompt and output of the largest turn: what the session needs in KV at its peak.
    pub fn context_max(&self) -> Tokens {
        let peak = self.turns.iter().map(|t| t.input + t.output).max();
        peak.unwrap_or(Tokens::ZERO)
    }

    /// This session, then its sub-agents and theirs, in order of the turns that start them.
    pub fn with_subagents(&self) -> impl Iterator<Item = &Session> {
        let mut open = vec![self];
        std::iter::from_fn(move || {
            let session = open.pop()?;
            let spawns = session.turns.iter().flat_map(|turn| &turn.spawns);
            let first = open.len();
            open.extend(spawns.map(|spawn| &spawn.session));
            open[first..].reverse();
            Some(session)
        })
    }
}

/// A source of sessions in order of [`Session::start`].
pub trait Workload {
    /// The next session, or `None` after the last.
    ///
    /// # Errors
    /// When the source is unreadable or malformed; the text names file and line, and the run ends.
    fn next_session(&mut self) -> Result<Option<Session>, WorkloadError>;

    /// Names of the tool classes, indexed by [`ToolClass`].
    fn tool_classes(&self) -> Vec<String> {
        vec!["tool".to_owned()]
    }
}

/// Why a workload could not yield its next session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadError(pub String);

impl std::fmt::Display for WorkloadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WorkloadError {}

/// A workload that is already in memory.
#[derive(Clone, Debug, Default)]
pub struct VecWorkload {
    sessions: std::collections::VecDeque<Session>,
}

impl VecWorkload {
    /// Sorts `sessions` by start; equal starts keep their order.
    pub fn new(mut sessions: Vec<Session>) -> Self {
        sessions.sort_by_key(|s| s.start);
        Self {
            sessions: sessions.into(),
        }
    }

    /// Keeps the order of `sessions`, whatever their starts: for an engine that reads its workload first.
    pub fn unsorted(sessions: Vec<Session>) -> Self {
        Self {
            sessions: sessions.into(),
        }
    }
}

impl Workload for VecWorkload {
    fn next_session(&mut self) -> Result<Option<Session>, WorkloadError> {
        Ok(self.sessions.pop_front())
    }
}
