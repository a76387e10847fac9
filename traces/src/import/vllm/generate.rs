//! A recipe for conversations, drawn from.
//!
//! The first prompt is `common_prefix_num_tokens` (equal in all conversations), `prefix_num_tokens` (a conversation's own)
//! and `num_tokens`; a later one is the history and `num_tokens`. `num_turns` counts questions and answers. Draws are
//! addressed by conversation and turn as those of the generators are, so they are not vLLM's, which come from NumPy in
//! order; their distributions are.

use serde_json::Value;

use super::Counts;
use super::distribution::Distribution;
use crate::TraceError;
use crate::format::record::record;
use crate::format::{Call, GapKind, Lines, Nullable, Session, SharedPrefix};
use crate::generate::{Domain, Draws, Purpose};
use crate::import::calls::{not_empty, tokens};
use crate::import::output::Output;

/// More would be a mistake in the file: each conversation is a session of its own.
const CONVERSATIONS_MAX: u32 = 1_000_000;
/// Questions and answers of one conversation.
const TURNS_MAX: u64 = 20_000;

record! {
    struct Recipe {
        required filetype: String = "filetype",
        required conversations: u32 = "num_conversations",
        required input: Input = "prompt_input",
        required output: Lengths = "prompt_output",
    }
}

record! {
    struct Input {
        required turns: Distribution = "num_turns",
        nullable common_prefix: Distribution = "common_prefix_num_tokens",
        required prefix: Distribution = "prefix_num_tokens",
        required tokens: Distribution = "num_tokens",
    }
}

record! {
    struct Lengths {
        required tokens: Distribution = "num_tokens",
    }
}

/// The conversations that `value` asks for.
pub fn sessions(
    value: Value,
    seed: u64,
    counts: &mut Counts,
    lines: &Lines,
    output: &mut Output<'_>,
) -> Result<(), TraceError> {
    let recipe: Recipe =
        serde_json::from_value(value).map_err(|error| lines.wrong(error.to_string()))?;
    if recipe.filetype != "generate_conversations" {
        let kind = &recipe.filetype;
        return Err(lines.wrong(format!(
            "filetype \"{kind}\"; known: generate_conversations"
        )));
    }
    if recipe.conversations > CONVERSATIONS_MAX {
        let asked = recipe.conversations;
        return Err(lines.wrong(format!(
            "num_conversations = {asked}; at most {CONVERSATIONS_MAX} are supported"
        )));
    }
    counts.is_drawn = true;
    let draws = Draws::new(seed, Domain::Agents);
    for number in 0..recipe.conversations {
        let session = session(&recipe, number, draws, counts);
        output.session(session.map_err(|what| lines.wrong(what))?)?;
    }
    Ok(())
}

fn session(
    recipe: &Recipe,
    number: u32,
    draws: Draws,
    counts: &mut Counts,
) -> Result<Session, String> {
    let draw = |turn: u32, purpose: Purpose| draws.at(number, turn, purpose);
    // Equal in all conversations, so drawn at one address.
    let common = recipe.input.common_prefix.as_ref();
    let common = common.map_or(0, |length| length.sample(draws.at(0, 0, Purpose::Arrival)));
    let prefix = recipe.input.prefix.sample(draw(0, Purpose::FirstPrompt));
    let turns = recipe.input.turns.sample(draw(0, Purpose::Turns));
    if turns > TURNS_MAX {
        return Err(format!(
            "num_turns = {turns}; at most {TURNS_MAX} are supported"
        ));
    }
    // Every question has its answer.
    let answers = turns.div_ceil(2).max(1) as u32;
    let mut calls: Vec<Call> = Vec::with_capacity(answers as usize);
    for id in 0..answers {
        let history = calls
            .last()
            .map_or(common.saturating_add(prefix), |before| {
                u64::from(before.input) + u64::from(before.output)
            });
        let question = recipe.input.tokens.sample(draw(id, Purpose::Append));
        let mut call = Call {
            id,
            input: tokens("a prompt", history.saturating_add(question))?,
            output: tokens(
                "an answer",
                recipe.output.tokens.sample(draw(id, Purpose::Output)),
            )?,
            ..Call::default()
        };
        if id > 0 {
            call.gap_kind = GapKind::Human;
            counts.mended.no_gap();
        }
        counts.mended.tokens(&mut call);
        calls.push(call);
    }
    let shared = SharedPrefix {
        id: format!("common:{common}"),
        tokens: tokens("common_prefix_num_tokens", common)?,
        ..SharedPrefix::default()
    };
    Ok(Session {
        sid: format!("conversation-{number}"),
        start_ms: Nullable::Null,
        shared_prefix: (common > 0).then(|| vec![shared]),
        calls,
        x: (number == 0)
            .then(|| not_empty(recipe.extra.clone()))
            .flatten(),
        ..Session::default()
    })
}
