//! Plain agents: a few distributions, one kind of wait. A fleet of the simplest behaviour, written shorter.

use serde::{Deserialize, Serialize};

use super::arrivals::{Arrivals, Closed};
use super::behaviour::{Behaviour, Human, PrefixPart, ToolClass};
use super::fleet::{Fleet, Variant};
use super::{Agents, Distribution, GeneratedWorkload};
use crate::TraceError;
use crate::workload::WorkloadOptions;

/// Agents, how they arrive and what each does. Unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainAgents {
    /// How agents arrive.
    #[serde(rename = "gen")]
    pub arrivals: PlainArrivals,
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

/// How plain agents arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlainArrivals {
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

impl PlainAgents {
    /// The sessions of `seed`, in order of their start.
    ///
    /// # Errors
    /// If the parameters do not make sense together; the message names the key.
    pub fn sessions(&self, seed: u64) -> Result<Agents, TraceError> {
        self.validate()?;
        let spec = serde_json::to_value(self).expect("plain values");
        Agents::described(self.fleet(), seed, spec)
    }

    /// The same sessions, as a run takes them under `options`.
    ///
    /// # Errors
    /// As [`PlainAgents::sessions`].
    pub fn workload(
        &self,
        seed: u64,
        options: WorkloadOptions,
    ) -> Result<GeneratedWorkload, TraceError> {
        GeneratedWorkload::new(self.sessions(seed)?, options)
    }

    /// Whether the parameters make sense together.
    ///
    /// # Errors
    /// As [`PlainAgents::sessions`].
    pub fn validate(&self) -> Result<(), TraceError> {
        let wrong = |text: &str| Err(TraceError::Parameters(text.to_owned()));
        match (self.arrivals, self.rate, self.ramp_s) {
            (PlainArrivals::PoissonAgents, Some(rate), None) if rate.is_finite() && rate > 0.0 => {}
            (PlainArrivals::PoissonAgents, _, Some(_)) => {
                return wrong("`ramp_s` belongs to gen = \"closed-loop-agents\"; remove it");
            }
            (PlainArrivals::PoissonAgents, rate, None) => {
                let text = "gen = \"poisson-agents\" needs `rate`, agents per second, above 0";
                return wrong(
                    &rate.map_or(text.to_owned(), |rate| format!("{text}; it is {rate}")),
                );
            }
            (PlainArrivals::ClosedLoopAgents, None, Some(ramp))
                if ramp.is_finite() && ramp >= 0.0 => {}
            (PlainArrivals::ClosedLoopAgents, Some(_), _) => {
                return wrong("`rate` belongs to gen = \"poisson-agents\"; remove it");
            }
            (PlainArrivals::ClosedLoopAgents, None, ramp) => {
                let text = "gen = \"closed-loop-agents\" needs `ramp_s`, seconds, at least 0";
                return wrong(
                    &ramp.map_or(text.to_owned(), |ramp| format!("{text}; it is {ramp}")),
                );
            }
        }
        if self
            .shared_prefix
            .as_ref()
            .is_some_and(|prefix| prefix.tokens == 0)
        {
            return wrong("`shared_prefix.tokens` = 0; leave the table out instead");
        }
        // These two have other names in a fleet.
        self.append.validate("append")?;
        self.gap_s.validate("gap_s")?;
        self.fleet().validate()
    }

    fn fleet(&self) -> Fleet {
        let parts = self.shared_prefix.iter().map(|prefix| PrefixPart {
            id: prefix.id.clone(),
            tokens: Distribution::Constant(f64::from(prefix.tokens)),
            versions: 1,
        });
        let human = (self.gap_kind == WaitKind::Human).then(|| Human {
            after_first: None,
            after_human: 1.0,
            after_tool: 1.0,
            wait_s: self.gap_s.clone(),
            append: self.append.clone(),
        });
        let tool = ToolClass {
            class: self.tool.clone(),
            weight: 1.0,
            seconds: self.gap_s.clone(),
            result_tokens: None,
        };
        let tools = if human.is_some() { vec![] } else { vec![tool] };
        let behaviour = Behaviour {
            class: None,
            turns: self.turns.clone(),
            shared_prefix: parts.collect(),
            first_prompt: self.first_prompt.clone().unwrap_or(self.append.clone()),
            output: self.output.clone(),
            final_output: None,
            append_tool: Some(self.append.clone()),
            opening: Vec::new(),
            stripped: None,
            tools,
            parallel: Vec::new(),
            approval: None,
            human,
            loss: None,
            context_max: None,
        };
        let ramp_s = self.ramp_s.unwrap_or(0.0);
        Fleet {
            evidence: String::new(),
            assumed: Vec::new(),
            agents: self.agents,
            rate: self.rate,
            arrivals: match self.arrivals {
                PlainArrivals::PoissonAgents => Arrivals::Poisson,
                PlainArrivals::ClosedLoopAgents => Arrivals::Closed(Closed { ramp_s }),
            },
            gap_cap_s: None,
            variants: vec![Variant {
                name: String::new(),
                weight: 1.0,
                behaviour,
            }],
        }
    }
}
