//! Claude Code session logs (`~/.claude/projects/…/<session>.jsonl`): one line per message block.
//!
//! ```text
//!   {"type":"user","sessionId":"s1","uuid":"u1","parentUuid":null,"timestamp":…,"message":{"content":"fix it"}}
//!   {"type":"assistant", …,"message":{"id":"m1","content":[{"type":"tool_use",…}],"usage":{…}}}
//!   {"type":"user", …,"message":{"content":[{"type":"tool_result","tool_use_id":…}]}}
//! ```
//!
//! Lines of one `message.id` are one call, whose usage is the largest of theirs. It is taken to be dispatched at the last input
//! (`user` line) before its first block and to end at its last; the wait before it runs from the end of the call before to
//! that input. Prompt = uncached + cache writes + cache reads, and cache reads say how much history was kept.
//!
//! Three traps of the log, dealt with and warned of:
//!
//! - Output tokens of cloud models are often those at the start of the message (1 to 4). Where the text alone must have
//!   twice the tokens, its length is taken instead, and the logged count kept in `x`.
//! - Sub-agents (`isSidechain`) are linked by their `agentId` where the tool's result names it, else to the call whose Task
//!   tool ran when they began. One in a file of its own has no parent there, and stays a session of its own.
//! - A resumed session repeats lines; a `uuid` counts once.
//!
//! Texts are not kept. Of the other fields of a line, those of a session's first line are.

mod chain;
mod link;
mod raw;

use std::collections::{HashMap, HashSet};

use chain::{Chain, Counts};
use raw::RawLine;

use super::clock::Instant;
use super::output::Output;
use super::warning::note;
use super::{Format, ImportOptions, Warning};
use crate::TraceError;
use crate::format::Lines;

pub(super) const FORMAT: Format = Format {
    name: "claude-code",
    summary: "Claude Code session log (JSONL): messages, tools, sub-agents",
    knows: "times of inputs and answers, token counts, provider cache reads, tools with wall times, sub-agents",
    lacks: "true output counts of cloud models, dispatch times, prefix blocks",
    detect: |head| {
        // A log begins with a message, or with notes of the client that name no session.
        let beginnings = [
            &["sessionId", "type"][..],
            &["type", "leafUuid"],
            &["type", "messageId", "snapshot"],
        ];
        beginnings.iter().find_map(|keys| head.with(keys))
    },
    import,
};

/// What lines belong to one agent.
struct Log {
    chains: Vec<Chain>,
    /// Chain by session and agent; the main agent has no name. Looked up only.
    by_agent: HashMap<(String, String), usize>,
    /// Chain by line, for side chains without a name. Looked up only.
    by_line: HashMap<String, usize>,
    seen: HashSet<String>,
    ignored: u64,
}

fn import(
    lines: &mut Lines,
    options: &ImportOptions,
    output: &mut Output<'_>,
) -> Result<Vec<Warning>, TraceError> {
    let mut log = Log {
        chains: Vec::new(),
        by_agent: HashMap::new(),
        by_line: HashMap::new(),
        seen: HashSet::new(),
        ignored: 0,
    };
    while let Some(line) = lines.row()? {
        log.line(line).map_err(|what| lines.wrong(what))?;
    }
    let mut counts = Counts {
        ignored: log.ignored,
        ..Counts::default()
    };
    let mut sessions = Vec::new();
    for chain in log.chains {
        match chain.finish(&mut counts) {
            Ok(Some(session)) => sessions.push(session),
            Ok(None) => counts.empty += 1,
            Err(what) => return Err(lines.wrong(what)),
        }
    }
    link::link(&mut sessions, &mut counts);
    output.meta(&super::meta(&FORMAT, lines, options))?;
    for finished in sessions {
        output.session(finished.session)?;
    }
    let mut warnings = vec![
        Warning::DispatchFromInput,
        Warning::KeepFromCacheReads,
        Warning::ApprovalsInGaps,
    ];
    counts.warn(&mut warnings);
    Ok(warnings)
}

impl Counts {
    fn warn(self, warnings: &mut Vec<Warning>) {
        note(warnings, self.estimated, |calls| Warning::EstimatedOutput {
            calls,
        });
        note(warnings, self.by_time, |subagents| {
            Warning::SubagentsByTime { subagents }
        });
        note(warnings, self.orphans, |subagents| {
            Warning::OrphanSubagents { subagents }
        });
        note(warnings, self.detached, |subagents| {
            Warning::DetachedSubagents { subagents }
        });
        note(warnings, self.empty, |sessions| Warning::EmptySessions {
            sessions,
        });
        note(warnings, self.ignored, |entries| Warning::IgnoredEntries {
            entries,
        });
        self.mended.warn(warnings);
    }
}

impl Log {
    fn line(&mut self, line: RawLine) -> Result<(), String> {
        let kind = line.kind.as_ref().map(String::as_str);
        let is_message = matches!(kind, Some("user" | "assistant"));
        let is_noise = line.is_meta.as_ref() == Some(&true)
            || line.is_api_error.as_ref() == Some(&true)
            || line.model() == Some("<synthetic>");
        let is_new = line
            .uuid
            .as_ref()
            .is_none_or(|uuid| self.seen.insert(uuid.clone()));
        if !is_message || is_noise || !is_new || line.message.as_ref().is_none() {
            self.ignored += 1;
            // What follows an ignored line of a side chain still belongs to it.
            if let Some((uuid, parent)) = line.uuid.as_ref().zip(line.parent.as_ref())
                && let Some(&chain) = self.by_line.get(parent)
            {
                self.by_line.insert(uuid.clone(), chain);
            }
            return Ok(());
        }
        let text = line
            .timestamp
            .as_ref()
            .ok_or("a message without `timestamp`")?;
        let time = Instant::parse(text)
            .ok_or_else(|| format!("`timestamp` is {text:?}, not a time since 1970"))?;
        let index = self.chain(&line)?;
        if let Some(uuid) = line.uuid.as_ref() {
            self.by_line.insert(uuid.clone(), index);
        }
        self.chains[index].line(line, time)
    }

    /// The agent that wrote `line`.
    fn chain(&mut self, line: &RawLine) -> Result<usize, String> {
        let session = line
            .session
            .as_ref()
            .ok_or("a message without `sessionId`")?;
        let is_side = line.is_sidechain.as_ref() == Some(&true);
        let agent = match (is_side, line.agent.as_ref()) {
            (false, _) => String::new(),
            (true, Some(agent)) => agent.clone(),
            (true, None) => {
                let parent = line.parent.as_ref();
                let known = parent.and_then(|parent| self.by_line.get(parent));
                if let Some(&index) = known.filter(|&&index| self.chains[index].is_side()) {
                    return Ok(index);
                }
                format!("side-{}", self.chains.len())
            }
        };
        let key = (session.clone(), agent.clone());
        let chains = &mut self.chains;
        Ok(*self.by_agent.entry(key).or_insert_with(|| {
            chains.push(Chain::new(session, &agent, line.extra.clone()));
            chains.len() - 1
        }))
    }
}
