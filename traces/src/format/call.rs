//! One LLM call: what it waits for, what it is asked, what it answers.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::record::record;
use super::{Extra, Millis};

record! {
    /// One LLM call. It is dispatched `gap_ms` after the last of `after` has ended.
    pub struct Call {
        /// 0, 1, 2, … within the session.
        required id: u32 = "id",
        /// Calls that must have ended; absent: the previous one.
        optional after: Vec<After> = "after",
        /// Recorded dispatch relative to the session's start: for open-loop replay.
        optional at_ms: Millis = "at_ms",
        /// Wait on the client's side: for closed-loop replay.
        required gap_ms: Millis = "gap_ms",
        /// Who waits.
        required gap_kind: GapKind = "gap_kind",
        /// The call of this session whose end the gap counts from, where `after` names several.
        optional gap_from: u32 = "gap_from",
        /// What the source said, where an importer corrected the gap.
        optional gap_raw_ms: Millis = "gap_raw_ms",
        /// Tools that this call issued. The time they take is in the next call's gap.
        optional tools: Vec<Tool> = "tools",
        /// Prompt tokens, all of them. At least 1.
        required input: u32 = "in",
        /// Leading prompt tokens equal to the predecessor's prompt and output; absent: all that fit.
        optional keep: u32 = "keep",
        /// Prefix blocks; preferred to `keep` where both exist.
        optional blocks: Blocks = "blocks",
        /// Tokens generated. At least 1.
        required output: u32 = "out",
        /// Of them, reasoning.
        optional reasoning: u32 = "reason_out",
        /// The count of `out` is an estimate.
        optional output_estimated: bool = "out_est",
        /// Cache reads that the provider reported.
        optional cached: u32 = "cached",
        /// Why generation ended.
        optional stop: String = "stop",
        /// Model that answered.
        optional model: String = "model",
        /// What the recorded system did: for calibration, never for a policy.
        optional observed: Observed = "obs",
        /// Unmapped fields of the source, verbatim.
        optional x: Extra = "x",
    }
}

impl Call {
    /// The call of the same session whose history this one continues: the latest in `after`, else the
    /// previous one; `None` for the first.
    pub fn predecessor(&self) -> Option<u32> {
        let own = |after: &After| match after {
            After::Own(id) => Some(*id),
            After::Other { .. } => None,
        };
        let named = self.after.iter().flatten().filter_map(own).max();
        named.or_else(|| self.id.checked_sub(1))
    }
}

record! {
    /// A tool call.
    pub struct Tool {
        /// Name, as the agent knows it.
        required name: String = "name",
        /// Class: shell, file_read, web, …
        optional cls: String = "cls",
        /// Start relative to the end of the issuing call; negative where the tool began while the call still
        /// streamed. An offset, not a duration, and so not [`Millis`].
        optional start_ms: serde_json::Number = "start_ms",
        /// Duration.
        required dur_ms: Millis = "dur_ms",
        /// Tokens of its result.
        optional out_tokens: u32 = "out_tokens",
        /// How it ended.
        optional status: String = "status",
        /// The next call does not wait for it.
        optional background: bool = "background",
    }
}

record! {
    /// Prefix blocks of a prompt, as a change to the predecessor's.
    pub struct Blocks {
        /// Leading blocks taken over from the predecessor.
        required keep: u32 = "keep",
        /// Runs `(first id, number of consecutive ids)` that follow.
        required add: Vec<(u64, u32)> = "add",
    }
}

record! {
    /// Times of the recorded system.
    pub struct Observed {
        /// Dispatch to last token.
        optional api_ms: Millis = "api_ms",
        /// Dispatch to first token.
        optional ttft_ms: Millis = "ttft_ms",
        /// Prefill.
        optional prefill_ms: Millis = "prefill_ms",
        /// Decode.
        optional decode_ms: Millis = "decode_ms",
    }
}

/// Why a session waits before a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapKind {
    /// No wait.
    #[default]
    None,
    /// A tool.
    Tool,
    /// A person.
    Human,
    /// Both.
    Mixed,
    /// The source does not say.
    Unknown,
}

/// A call that must have ended: `3`, or `"sid#3"` in another session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// A call of the same session.
    Own(u32),
    /// A call of another session.
    Other {
        /// The session.
        sid: String,
        /// Its call.
        call: u32,
    },
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(call) => write!(f, "{call}"),
            Self::Other { sid, call } => write!(f, "{sid}#{call}"),
        }
    }
}

impl Serialize for After {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Own(call) => serializer.serialize_u32(*call),
            Self::Other { .. } => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AfterVisitor)
    }
}

struct AfterVisitor;

impl de::Visitor<'_> for AfterVisitor {
    type Value = After;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a call id such as 3, or \"sid#3\"")
    }

    fn visit_u64<E: de::Error>(self, id: u64) -> Result<After, E> {
        let call = u32::try_from(id);
        call.map(After::Own)
            .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(id), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<After, E> {
        // A number is written in one way only ("03" would not survive a round trip).
        let parsed = text.rsplit_once('#').and_then(|(sid, id)| {
            let call: u32 = id.parse().ok()?;
            (call.to_string() == id).then(|| After::Other {
                sid: sid.to_owned(),
                call,
            })
        });
        parsed.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}
