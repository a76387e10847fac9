//! SWE-agent (`.traj`) and mini-swe-agent (`.traj.json`): one run on one task per file.
//!
//! ```text
//!   {"trajectory": [{"action": "ls", "observation": "…", "response": "…", "execution_time": 0.4, …}, …],
//!    "info": {"model_stats": {"tokens_sent": 21034, "tokens_received": 812, "api_calls": 9}, …}}
//!   {"messages": [{"role": "assistant", "content": "…", "extra": {"response": {"usage": {…}}, "timestamp": …}}, …],
//!    "info": {…}, "trajectory_format": "mini-swe-agent-1.1"}
//! ```
//!
//! The first kind counts no single call: its totals are shared out by length of text. The second has the provider's usage with each
//! answer, as a rule, and the times of messages. Sessions are named after the file. Texts are not kept; `info` is.

mod mini;
mod steps;

use serde_json::Value;

use super::calls::Mended;
use super::output::Output;
use super::warning::note;
use super::{Format, ImportOptions, Warning};
use crate::TraceError;
use crate::format::{Extra, Lines, Nullable};

pub(super) const FORMAT: Format = Format {
    name: "swe-agent",
    summary: "SWE-agent and mini-swe-agent trajectories: one run per file",
    knows: "commands, their times, texts; token counts of each call in mini-swe-agent, totals in SWE-agent",
    lacks: "starts, service times and token counts of calls (SWE-agent), prefix blocks",
    detect: |head| {
        let steps = head.with(&["trajectory"]).filter(|_| {
            ["info", "history", "environment"]
                .iter()
                .any(|key| head.has(key))
        });
        steps
            .or_else(|| head.with(&["trajectory_format"]))
            .or_else(|| {
                head.with(&["messages", "info"])
                    .filter(|_| !head.is_array())
            })
    },
    import,
};

/// What was met, for the warnings.
#[derive(Default)]
struct Counts {
    mended: Mended,
    apportioned: u64,
    estimated: u64,
    ignored: u64,
}

fn import(
    lines: &mut Lines,
    options: &ImportOptions,
    output: &mut Output<'_>,
) -> Result<Vec<Warning>, TraceError> {
    let mut counts = Counts::default();
    let mut runs = Vec::new();
    while let Some(fields) = lines.next_value::<Extra>()? {
        let run = if fields.contains_key("trajectory") {
            steps::session(fields, &mut counts)
        } else {
            mini::session(fields, &mut counts)
        };
        runs.push(run.map_err(|what| lines.wrong(what))?);
    }
    let has_clock = runs.iter().all(|run| run.start_ms.as_ref().is_some());
    output.meta(&super::meta(&FORMAT, lines, options).with_common_clock(has_clock))?;
    for (number, mut run) in runs.into_iter().enumerate() {
        run.sid = match number {
            0 => lines.stem().to_owned(),
            _ => format!("{}-{number}", lines.stem()),
        };
        if !has_clock {
            run.start_ms = Nullable::Null;
        }
        output.session(run)?;
    }
    let mut warnings = vec![Warning::HistoryAssumed];
    note(&mut warnings, counts.apportioned, |calls| {
        Warning::ApportionedTokens { calls }
    });
    note(&mut warnings, counts.estimated, |calls| {
        Warning::EstimatedInput { calls }
    });
    note(&mut warnings, counts.estimated, |calls| {
        Warning::EstimatedOutput { calls }
    });
    note(&mut warnings, counts.ignored, |entries| {
        Warning::IgnoredEntries { entries }
    });
    counts.mended.warn(&mut warnings);
    Ok(warnings)
}

/// A list under `key`.
fn list(fields: &mut Extra, key: &str) -> Result<Vec<Value>, String> {
    match fields.shift_remove(key) {
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(format!("`{key}` is no list")),
        None => Err(format!("no `{key}`")),
    }
}
