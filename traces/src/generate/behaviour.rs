//! What an agent of a fleet does, as data.
//!
//! ```text
//!   shared_prefix + first_prompt ─► output │ wait │ + append ─► output │ wait │ …        turns times
//!                                            └ tools (the slowest of them), perhaps after an approval; or a person
//! ```
//!
//! **Absent on purpose:** sub-agents as sessions of their own (a class of tool with their duration stands for them),
//! and correlation of waits within a session, which is weak in the traces (lag-1 autocorrelation .18).

use serde::{Deserialize, Serialize};

use super::Distribution;
use super::distribution::are_weights;
use crate::TraceError;

/// Distributions of everything that a session consists of. Unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behaviour {
    /// Class of agent, noted in each session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// LLM calls per session, at least 1.
    pub turns: Distribution,
    /// First tokens of every prompt, in order, equal for all agents that have the same version of a part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared_prefix: Vec<PrefixPart>,
    /// Tokens of the first prompt after the shared prefix, at least 1.
    pub first_prompt: Distribution,
    /// Tokens generated per call, at least 1.
    pub output: Distribution,
    /// The same for the last call of a session, where it differs: the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_output: Option<Distribution>,
    /// Tokens that the results of a turn's tools add to the history, where tools have no `result_tokens` of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub append_tool: Option<Distribution>,
    /// The first turns of a session, in order, where their tools add something else than later ones: many an agent begins by
    /// reading.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opening: Vec<Stage>,
    /// Prompts that are shorter than what they follow, because reasoning is not sent back. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripped: Option<Stripped>,
    /// Tools, of which each turn that waits for some draws from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolClass>,
    /// Probability that a turn issues 1, 2, 3, … tools, which run at the same time. Default: always one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parallel: Vec<f64>,
    /// People who approve tools before they run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// People who answer. Without them, every wait is for tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub human: Option<Human>,
    /// How the prefix is lost. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// Longest context in tokens, drawn per session: beyond, the history is compacted, and a longer first prompt is cut to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_max: Option<Distribution>,
}

/// A stretch of prompt that agents share: tool descriptions, a system prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixPart {
    /// Equal id (and version), equal content, also between workloads.
    pub id: String,
    /// Length in tokens, drawn once per version.
    pub tokens: Distribution,
    /// Versions in use; every agent has one of them, all equally likely.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub versions: u32,
}

fn one() -> u32 {
    1
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_one(versions: &u32) -> bool {
    *versions == 1
}

/// A stretch of turns at the beginning of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// How many.
    pub turns: u32,
    /// Tokens that their tools add to the history.
    pub append_tool: Distribution,
}

/// Prompts that lack the reasoning of the call before, and more of it than the wait has added. The answer behind it has moved, so
/// nothing of the output is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stripped {
    /// Share of the calls after the first.
    pub share: f64,
    /// Tokens by which the prompt is shorter than history and output before it, at most the output.
    pub tokens: Distribution,
}

/// A class of tools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolClass {
    /// Its name.
    pub class: String,
    /// How often it is called, relative to the others.
    #[serde(default = "unit")]
    pub weight: f64,
    /// How long it takes, in seconds.
    pub seconds: Distribution,
    /// Tokens of its result; all classes of a behaviour have them, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_tokens: Option<Distribution>,
}

fn unit() -> f64 {
    1.0
}

/// A person who approves tools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Share of the turns with tools that wait for it.
    pub share: f64,
    /// How long, in seconds, before the tools run.
    pub wait_s: Distribution,
}

/// A person who sends the next input: a Markov chain of two states, person and tool. The first prompt is a person's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Human {
    /// Probability that a person's input follows a person's.
    pub after_human: f64,
    /// Probability that a person's input follows a tool's.
    pub after_tool: f64,
    /// Probability that a person's input follows the first prompt; default: as any other of a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_first: Option<f64>,
    /// How long the person takes, in seconds.
    pub wait_s: Distribution,
    /// Tokens that the person adds to the history.
    pub append: Distribution,
}

/// Loss of the prefix: of all but the shared parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// Share of the calls after the first that lose it.
    pub per_call: f64,
    /// Of them, the share that is compacted; the others are rewritten at about the same length.
    pub compaction_share: f64,
    /// Length after a compaction, relative to before; also of one that `context_max` forces.
    pub compaction_ratio: Distribution,
    /// Length after rewriting, relative to before.
    pub rewrite_ratio: Distribution,
}

impl Behaviour {
    /// Whether the parameters make sense together.
    ///
    /// # Errors
    /// [`TraceError::Parameters`] with the key.
    pub fn validate(&self) -> Result<(), TraceError> {
        let wrong = |text: String| Err(TraceError::Parameters(text));
        self.turns.validate("turns")?;
        self.first_prompt.validate("first_prompt")?;
        self.output.validate("output")?;
        let optional = [
            ("final_output", &self.final_output),
            ("append_tool", &self.append_tool),
            ("context_max", &self.context_max),
        ];
        for (name, distribution) in optional {
            if let Some(distribution) = distribution {
                distribution.validate(name)?;
            }
        }
        for part in &self.shared_prefix {
            part.tokens.validate("shared_prefix.tokens")?;
            if part.versions == 0 {
                return wrong(format!(
                    "`shared_prefix` `{}`: versions = 0; at least 1",
                    part.id
                ));
            }
        }
        for stage in &self.opening {
            stage.append_tool.validate("opening.append_tool")?;
        }
        if let Some(stripped) = &self.stripped {
            is_share("stripped.share", stripped.share)?;
            stripped.tokens.validate("stripped.tokens")?;
        }
        self.validate_tools()?;
        if let Some(approval) = &self.approval {
            is_share("approval.share", approval.share)?;
            approval.wait_s.validate("approval.wait_s")?;
        }
        if let Some(human) = &self.human {
            is_share("human.after_human", human.after_human)?;
            is_share("human.after_tool", human.after_tool)?;
            if let Some(share) = human.after_first {
                is_share("human.after_first", share)?;
            }
            human.wait_s.validate("human.wait_s")?;
            human.append.validate("human.append")?;
        }
        if let Some(loss) = &self.loss {
            is_share("loss.per_call", loss.per_call)?;
            is_share("loss.compaction_share", loss.compaction_share)?;
            loss.compaction_ratio.validate("loss.compaction_ratio")?;
            loss.rewrite_ratio.validate("loss.rewrite_ratio")?;
        }
        if self.context_max.is_some() && self.loss.is_none() {
            return wrong(
                "`context_max` needs `loss`, which says how a history is compacted".to_owned(),
            );
        }
        Ok(())
    }

    fn validate_tools(&self) -> Result<(), TraceError> {
        let wrong = |text: &str| Err(TraceError::Parameters(text.to_owned()));
        let only_people = self
            .human
            .as_ref()
            .is_some_and(|human| human.after_human >= 1.0);
        if self.tools.is_empty() {
            return if only_people {
                Ok(())
            } else {
                wrong(
                    "`tools` is empty, but turns wait for tools; add one, or set human.after_human = 1",
                )
            };
        }
        if !are_weights(self.tools.iter().map(|tool| tool.weight)) {
            return wrong("`tools`: weights must be finite, at least 0, and not all 0");
        }
        let with_result = self
            .tools
            .iter()
            .filter(|tool| tool.result_tokens.is_some());
        match (with_result.count(), &self.append_tool) {
            (0, Some(_)) => {}
            (n, None) if n == self.tools.len() => {}
            _ => {
                return wrong(
                    "results of tools need one source: either `append_tool`, or `result_tokens` for every class in `tools`",
                );
            }
        }
        if self.append_tool.is_none() && !self.opening.is_empty() {
            return wrong(
                "`opening` needs `append_tool`: tools with `result_tokens` say themselves what they add",
            );
        }
        for tool in &self.tools {
            tool.seconds.validate("tools.seconds")?;
            if let Some(tokens) = &tool.result_tokens {
                tokens.validate("tools.result_tokens")?;
            }
        }
        if !self.parallel.is_empty() && !are_weights(self.parallel.iter().copied()) {
            return wrong("`parallel`: probabilities must be finite, at least 0, and not all 0");
        }
        Ok(())
    }
}

fn is_share(name: &str, value: f64) -> Result<(), TraceError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(TraceError::Parameters(format!(
        "`{name}` = {value}; a share lies between 0 and 1"
    )))
}
