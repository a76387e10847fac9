//! vLLM's multi-turn benchmark: conversations as texts, or a recipe to generate them.
//!
//! ```text
//!   [{"id": "x", "messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}, …]}, …]
//!   {"filetype": "generate_conversations", "num_conversations": 24, "prompt_input": {…}, "prompt_output": {…}}
//! ```
//!
//! Texts: each answer is a call, tokens are estimated, and nothing is known of waits. ShareGPT's own spelling
//! (`conversations` of `from` and `value`) is read as well. A recipe is drawn from, see [`generate`].

mod distribution;
mod generate;
mod messages;

use super::calls::Mended;
use super::output::Output;
use super::warning::note;
use super::{Format, Head, ImportOptions, Warning};
use crate::TraceError;
use crate::format::Lines;

pub(super) const FORMAT: Format = Format {
    name: "vllm-multi-turn",
    summary: "vLLM multi-turn benchmark: a generator file, or ShareGPT-style messages",
    knows: "texts (so lengths, roughly), or the distributions of lengths and turns",
    lacks: "token counts, waits, starts, tools",
    detect,
    import,
};

fn detect(head: &Head) -> Option<String> {
    let recipe = head.with(&["filetype", "prompt_input", "prompt_output"]);
    let messages = || {
        let reason = head
            .with(&["messages"])
            .or_else(|| head.with(&["conversations"]))?;
        head.is_array()
            .then(|| format!("it is an array, and {reason}"))
    };
    recipe.or_else(messages)
}

/// What was met, for the warnings.
#[derive(Default)]
struct Counts {
    mended: Mended,
    estimated: u64,
    ignored: u64,
    empty: u64,
    is_drawn: bool,
}

fn import(
    lines: &mut Lines,
    options: &ImportOptions,
    output: &mut Output<'_>,
) -> Result<Vec<Warning>, TraceError> {
    output.meta(&super::meta(&FORMAT, lines, options).with_common_clock(false))?;
    let mut counts = Counts::default();
    while let Some(value) = lines.next_value::<serde_json::Value>()? {
        if value.get("filetype").is_some() {
            generate::sessions(value, options.seed, &mut counts, lines, output)?;
        } else {
            messages::sessions(value, &mut counts, lines, output)?;
        }
    }
    let mut warnings = vec![Warning::NoTools];
    if counts.is_drawn {
        warnings.push(Warning::Drawn);
    }
    note(&mut warnings, counts.estimated, |calls| {
        Warning::EstimatedInput { calls }
    });
    note(&mut warnings, counts.estimated, |calls| {
        Warning::EstimatedOutput { calls }
    });
    note(&mut warnings, counts.ignored, |entries| {
        Warning::IgnoredEntries { entries }
    });
    note(&mut warnings, counts.empty, |sessions| {
        Warning::EmptySessions { sessions }
    });
    counts.mended.warn(&mut warnings);
    Ok(warnings)
}
