//! Parameters of generated agents, as a run specification embeds them.

use serde::{Deserialize, Serialize};

use super::{Agents, Distribution, GeneratedWorkload};
use crate::TraceError;

/// Agents, how they arrive and what each does. Unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorSpec {
    /// How agents arrive.
    #[serde(rename = "gen")]
    pub arrivals: Arrivals,
    /// Number of agents, each one session.
    pub agents: u32,
    /// Arrivals per second; needed by `poisson-agents`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Time within which all agents start, in seconds; needed by `closed-loop-agents`. 0: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp_s: Option<f64>,
    /// Turns per agent, at least 1.
    pub turns: Distribution,
    /// Tokens of the first prompt after the shared prefix, at least 1; default: as `append`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_prompt: Option<Distribution>,
    /// Tokens that each later turn adds to the history. 0: the history alone is resubmitted.
    pub append: Distribution,
    /// Tokens generated per turn, at least 1.
    pub output: Distribution,
    /// Wait before each turn but the first, in seconds.
    pub gap_s: Distribution,
    /// Who is waited for.
    #[serde(default)]
    pub gap_kind: WaitKind,
    /// Class of the tool that is waited for, where it is one.
    #[serde(default = "default_tool")]
    pub tool: String,
    /// First tokens of every prompt, equal for all agents; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_prefix: Option<SharedPrefixSpec>,
}

/// How agents arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// Open loop: exponential times between arrivals; the first agent waits, too.
    PoissonAgents,
    /// Closed loop: all agents start within the ramp, one in each of `agents` equal parts of it.
    ClosedLoopAgents,
}

/// Who is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitKind {
    /// A tool.
    #[default]
    Tool,
    /// A person.
    Human,
}

/// A prefix that all agents share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedPrefixSpec {
    /// Equal id, equal content, also between workloads.
    pub id: String,
    /// Length in tokens.
    pub tokens: u32,
}

fn default_tool() -> String {
    "tool".to_owned()
}

impl GeneratorSpec {
    /// The sessions of `seed`, in order of their start.
    ///
    /// # Errors
    /// If the parameters do not make sense together; the message names the key.
    pub fn sessions(&self, seed: u64) -> Result<Agents, TraceError> {
        self.validate()?;
        Ok(Agents::new(self.clone(), seed))
    }

    /// The same sessions, as a run takes them.
    ///
    /// # Errors
    /// As [`GeneratorSpec::sessions`].
    pub fn workload(&self, seed: u64) -> Result<GeneratedWorkload, TraceError> {
        Ok(GeneratedWorkload::new(self.sessions(seed)?))
    }

    /// Whether the parameters make sense together.
    ///
    /// # Errors
    /// As [`GeneratorSpec::sessions`].
    pub fn validate(&self) -> Result<(), TraceError> {
        let wrong = |text: &str| Err(TraceError::Parameters(text.to_owned()));
        match (self.arrivals, self.rate, self.ramp_s) {
            (Arrivals::PoissonAgents, Some(rate), None) if rate.is_finite() && rate > 0.0 => {}
            (Arrivals::PoissonAgents, _, Some(_)) => {
                return wrong("`ramp_s` belongs to gen = \"closed-loop-agents\"; remove it");
            }
            (Arrivals::PoissonAgents, rate, None) => {
                let text = "gen = \"poisson-agents\" needs `rate`, agents per second, above 0";
                return wrong(
                    &rate.map_or(text.to_owned(), |rate| format!("{text}; it is {rate}")),
                );
            }
            (Arrivals::ClosedLoopAgents, None, Some(ramp)) if ramp.is_finite() && ramp >= 0.0 => {}
            (Arrivals::ClosedLoopAgents, Some(_), _) => {
                return wrong("`rate` belongs to gen = \"poisson-agents\"; remove it");
            }
            (Arrivals::ClosedLoopAgents, None, ramp) => {
                let text = "gen = \"closed-loop-agents\" needs `ramp_s`, seconds, at least 0";
                return wrong(
                    &ramp.map_or(text.to_owned(), |ramp| format!("{text}; it is {ramp}")),
                );
            }
        }
        if self.agents == 0 {
            return wrong("`agents` = 0; a workload needs at least one agent");
        }
        if self
            .shared_prefix
            .as_ref()
            .is_some_and(|prefix| prefix.tokens == 0)
        {
            return wrong("`shared_prefix.tokens` = 0; leave the table out instead");
        }
        self.turns.validate("turns")?;
        if let Some(first_prompt) = &self.first_prompt {
            first_prompt.validate("first_prompt")?;
        }
        self.append.validate("append")?;
        self.output.validate("output")?;
        self.gap_s.validate("gap_s")
    }
}
