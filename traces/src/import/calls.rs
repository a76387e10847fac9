//! What importers put calls together with, and what they mend on the way.

use super::Warning;
use super::warning::note;
use crate::format::{After, BlockList, Call, Extra, TOKENS_MAX};

/// What was met and mended, counted for the warnings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mended {
    no_output: u64,
    no_input: u64,
    keep_clipped: u64,
    blocks_trimmed: u64,
    no_gaps: u64,
}

impl Mended {
    /// Gives `call` at least one token of prompt and output. What the source said is kept in `x`.
    pub fn tokens(&mut self, call: &mut Call) {
        if call.output == 0 {
            self.no_output += 1;
            keep_extra(call, "out", 0.into());
            (call.output, call.output_estimated) = (1, Some(true));
        }
        if call.input == 0 {
            self.no_input += 1;
            keep_extra(call, "in", 0.into());
            call.input = 1;
        }
    }

    /// Lets `call` keep `wanted` tokens of `previous`, or what there is.
    pub fn keep(&mut self, call: &mut Call, wanted: u32, previous: Option<&Call>) {
        let available =
            previous.map_or(0, |previous| previous.input.saturating_add(previous.output));
        let keep = wanted.min(available).min(call.input);
        self.keep_clipped += u64::from(keep < wanted);
        call.keep = Some(keep);
    }

    /// Shortens `blocks` to those that a prompt of `input` tokens can have.
    pub fn blocks(&mut self, blocks: &mut BlockList, input: u32, block_tokens: u32) {
        let most = u64::from(input.div_ceil(block_tokens));
        if blocks.len() > most {
            self.blocks_trimmed += 1;
            blocks.truncate(most);
        }
    }

    /// Counts a call whose wait stays 0, because the source does not have it.
    pub fn no_gap(&mut self) {
        self.no_gaps += 1;
    }

    /// Says what was mended.
    pub fn warn(self, warnings: &mut Vec<Warning>) {
        note(warnings, self.no_gaps, |calls| Warning::NoGaps { calls });
        note(warnings, self.no_output, |calls| Warning::NoOutput {
            calls,
        });
        note(warnings, self.no_input, |calls| Warning::NoInput { calls });
        note(warnings, self.keep_clipped, |calls| Warning::KeepClipped {
            calls,
        });
        note(warnings, self.blocks_trimmed, |calls| {
            Warning::BlocksTrimmed { calls }
        });
    }
}

/// A count of tokens that fits the format, prompt and output being checked together later.
pub fn tokens(what: &str, count: u64) -> Result<u32, String> {
    if count > TOKENS_MAX {
        return Err(format!(
            "{what} has {count} tokens; at most 2^31 are supported"
        ));
    }
    Ok(count as u32)
}

/// Makes `call`, which is not the first, wait for the end of a sub-agent as well. Its recorded wait spans the sub-agent, so it
/// counts from the call before.
pub fn wait_for(call: &mut Call, end: After) {
    let before = call.id - 1;
    call.after
        .get_or_insert_with(|| vec![After::Own(before)])
        .push(end);
    call.gap_from = Some(before);
}

/// Keeps a field that has no place of its own.
pub fn keep_extra(call: &mut Call, key: &str, value: serde_json::Value) {
    call.x.get_or_insert_default().insert(key.to_owned(), value);
}

/// Fields of a source that a tool has no place for: under `x`, where they cannot be taken for fields of the format.
pub fn tool_extra(x: Extra) -> Extra {
    let x = not_empty(x).map(|x| ("x".to_owned(), x.into()));
    x.into_iter().collect()
}

/// `x`, unless there is nothing in it.
pub fn not_empty(x: Extra) -> Option<Extra> {
    (!x.is_empty()).then_some(x)
}
