//! What is measured of a trace.

use serde::Serialize;

use crate::format::GapKind;

/// A quantity with a value per session, call or wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quantity {
    /// LLM calls of a session.
    CallsPerSession,
    /// Prompt tokens of a session's first call.
    FirstPrompt,
    /// Prompt tokens of a call, resubmitted history included.
    Input,
    /// Tokens that a call generates.
    Output,
    /// Tokens by which a prompt exceeds prompt and output of the call before; calls that lost their prefix do not count.
    Appended(GapClass),
    /// Largest prompt and output of a session.
    ContextMax,
    /// Time that the recorded system took for a call.
    Api,
    /// Wait before a call.
    Gap(GapClass),
    /// The same as its source recorded it, where an importer corrected gaps.
    GapRaw(GapClass),
}

impl Quantity {
    /// Whether it is a wait of the client.
    pub fn is_wait(self) -> bool {
        matches!(self, Self::Gap(_) | Self::GapRaw(_))
    }

    /// Whether tables have a row of it: tool and mixed apart are told for waits alone.
    pub fn is_told(self) -> bool {
        !matches!(
            self,
            Self::Appended(GapClass::Tool | GapClass::Mixed)
                | Self::GapRaw(GapClass::Tool | GapClass::Mixed)
        )
    }

    /// Its name, with the unit at the end.
    pub fn name(self) -> String {
        match self {
            Self::CallsPerSession => "calls_per_session".to_owned(),
            Self::FirstPrompt => "first_prompt_tokens".to_owned(),
            Self::Input => "input_tokens".to_owned(),
            Self::Output => "output_tokens".to_owned(),
            Self::Appended(GapClass::ToolOrMixed) => "appended_after_tool_tokens".to_owned(),
            Self::Appended(class) => format!("appended_after_{}_tokens", class.name()),
            Self::ContextMax => "context_max_tokens".to_owned(),
            Self::Api => "api_s".to_owned(),
            Self::Gap(class) => format!("gap_{}_s", class.name()),
            Self::GapRaw(class) => format!("gap_raw_{}_s", class.name()),
        }
    }
}

/// Waits that are described together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapClass {
    /// For tools alone.
    Tool,
    /// For tools and people together.
    Mixed,
    /// For tools, alone or with people: the first two in one.
    ToolOrMixed,
    /// For people alone.
    Human,
    /// The trace does not say.
    Unknown,
}

impl GapClass {
    /// All, in the order of the table.
    pub const ALL: [Self; 5] = [
        Self::Tool,
        Self::Mixed,
        Self::ToolOrMixed,
        Self::Human,
        Self::Unknown,
    ];

    /// Its name, as in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Mixed => "mixed",
            Self::ToolOrMixed => "tool_or_mixed",
            Self::Human => "human",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a wait of `kind` belongs to it.
    pub fn contains(self, kind: GapKind) -> bool {
        match self {
            Self::Tool => kind == GapKind::Tool,
            Self::Mixed => kind == GapKind::Mixed,
            Self::ToolOrMixed => matches!(kind, GapKind::Tool | GapKind::Mixed),
            Self::Human => kind == GapKind::Human,
            Self::Unknown => kind == GapKind::Unknown,
        }
    }
}
