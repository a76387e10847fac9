//! The trace format of the reference harness.

use super::{OracleArgs, OracleError, decimal};
use model::{GapKind, Nanos, Session, SharedPrefix, Time, Tokens, ToolClass, Turn, VecWorkload};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[derive(Deserialize)]
struct Line {
    session_id: serde_json::Value,
    arrival_s: f64,
    turns: Vec<TurnLine>,
    shared_prefix: Option<PrefixLine>,
}

#[derive(Deserialize)]
struct TurnLine {
    prompt_tokens_appended: u32,
    output_tokens: u32,
    #[serde(default)]
    tool_wait_s: f64,
}

#[derive(Deserialize)]
struct PrefixLine {
    id: serde_json::Value,
    tokens: u32,
}

/// Sessions in the order of the file, which settles ties.
pub(super) struct Trace {
    pub sessions: Vec<Session>,
}

impl Trace {
    pub(super) fn workload(&self) -> VecWorkload {
        VecWorkload::unsorted(self.sessions.clone())
    }
}

pub(super) fn read(path: &Path, args: &OracleArgs) -> Result<Trace, OracleError> {
    let text = std::fs::read_to_string(path).map_err(|error| OracleError::File {
        path: path.to_owned(),
        error,
    })?;
    let mut prefixes = BTreeMap::new();
    let mut names = BTreeSet::new();
    let mut sessions = Vec::new();
    for (i, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let bad = |what: String| OracleError::Trace {
            path: path.to_owned(),
            line: i + 1,
            what,
        };
        let line: Line = serde_json::from_str(line).map_err(|error| bad(error.to_string()))?;
        let session = session(line, &mut prefixes).map_err(bad)?;
        let longest = session.context_max().0;
        let pool = (args.gpu_blocks - 1) * args.block_size;
        if longest > args.max_model_len.min(pool) {
            return Err(bad(format!(
                "session {}: {longest} tokens exceed --max-model-len or the KV pool ({pool})",
                session.name
            )));
        }
        if !names.insert(session.name.clone()) {
            return Err(bad(format!("session_id {} occurs twice", session.name)));
        }
        sessions.push(session);
    }
    if sessions.is_empty() {
        let what = "the trace holds no session".to_owned();
        return Err(OracleError::Trace {
            path: path.to_owned(),
            line: 1,
            what,
        });
    }
    Ok(Trace { sessions })
}

fn session(line: Line, prefixes: &mut BTreeMap<String, u64>) -> Result<Session, String> {
    let mut turns = Vec::new();
    let (mut history, mut gap) = (0u32, Nanos::ZERO);
    for (k, turn) in line.turns.iter().enumerate() {
        if turn.output_tokens == 0 {
            return Err(format!("turn {k}: output_tokens must be at least 1"));
        }
        let keep = history;
        history = history
            .checked_add(turn.prompt_tokens_appended)
            .ok_or("too many tokens")?;
        turns.push(Turn {
            gap,
            gap_kind: if k == 0 { GapKind::None } else { GapKind::Tool },
            tool: ToolClass(0),
            input: Tokens(history),
            keep: Tokens(keep),
            output: Tokens(turn.output_tokens),
            content: None,
            at: None,
            expected: None,
            spawns: Vec::new(),
        });
        history = history
            .checked_add(turn.output_tokens)
            .ok_or("too many tokens")?;
        gap = Nanos(seconds(turn.tool_wait_s).ok_or("tool_wait_s must not be negative")?);
    }
    let shared_prefix = line.shared_prefix.map(|prefix| {
        let next = prefixes.len() as u64;
        let id = *prefixes.entry(prefix.id.to_string()).or_insert(next);
        SharedPrefix {
            id,
            tokens: Tokens(prefix.tokens),
        }
    });
    let first = turns
        .first()
        .ok_or("a session has at least one turn")?
        .input
        .0;
    if first < shared_prefix.map_or(1, |prefix| prefix.tokens.0.max(1)) {
        return Err("the first prompt is shorter than the shared prefix".to_owned());
    }
    let name = match line.session_id {
        serde_json::Value::String(name) => name,
        other => other.to_string(),
    };
    let start = Time(seconds(line.arrival_s).ok_or("arrival_s must not be negative")?);
    Ok(Session {
        name,
        start,
        shared_prefixes: shared_prefix.into_iter().collect(),
        turns,
    })
}

/// Seconds to nanoseconds through the shortest decimal that reads back as the number, as Python does.
fn seconds(value: f64) -> Option<u64> {
    decimal::scaled(&value.to_string(), 9)
}
