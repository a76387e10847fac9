//! One session out of a behaviour.

use super::behaviour::{Behaviour, Loss};
use super::{Distribution, Draw, Draws, Purpose};
use crate::TraceError;
use crate::format::{Call, GapKind, Millis, SharedPrefix, TOKENS_MAX, Tool};
use model::Nanos;

/// An agent at work: everything that its draws are addressed by.
pub(super) struct Maker<'a> {
    pub behaviour: &'a Behaviour,
    pub draws: Draws,
    pub seed: u64,
    pub agent: u32,
    /// Longest wait.
    pub gap_cap: Option<Nanos>,
}

/// What happens between two calls.
struct Wait {
    kind: GapKind,
    gap: Millis,
    /// Tokens that the next prompt has in addition.
    append: u32,
    /// Issued by the call before.
    tools: Option<Vec<Tool>>,
}

impl Maker<'_> {
    /// The parts of the shared prefix, and all calls.
    pub fn make(&self) -> Result<(Vec<SharedPrefix>, Vec<Call>), TraceError> {
        let behaviour = self.behaviour;
        let shared = self.shared_prefix()?;
        let shared_tokens: u64 = shared.iter().map(|part| u64::from(part.tokens)).sum();
        let turns = self.whole(&behaviour.turns, self.draw(0, Purpose::Turns), "turns", 1)?;
        let limit = match &behaviour.context_max {
            Some(limit) => {
                self.whole(limit, self.draw(0, Purpose::ContextMax), "context_max", 1)?
            }
            None => u32::MAX,
        };
        let limit = u64::from(limit).max(shared_tokens + 1);
        let mut calls: Vec<Call> = Vec::with_capacity((turns as usize).min(1 << 16));
        let mut from_human = behaviour.human.is_some();
        for turn in 0..turns {
            let last = turn + 1 == turns;
            let length = behaviour.final_output.as_ref().filter(|_| last);
            let length = length.unwrap_or(&behaviour.output);
            let output = self.whole(length, self.draw(turn, Purpose::Output), "output", 1)?;
            let mut call = Call {
                id: turn,
                output,
                ..Call::default()
            };
            let input = match calls.last_mut() {
                None => {
                    let draw = self.draw(0, Purpose::FirstPrompt);
                    let own = self.whole(&behaviour.first_prompt, draw, "first_prompt", 1)?;
                    (shared_tokens + u64::from(own)).min(limit)
                }
                Some(previous) => {
                    let wait = self.wait(turn, &mut from_human)?;
                    previous.tools = wait.tools;
                    (call.gap_ms, call.gap_kind) = (wait.gap, wait.kind);
                    let history = u64::from(previous.input) + u64::from(previous.output);
                    let stripped = self.stripped(turn, previous.output)?;
                    let grown = match stripped {
                        Some(tokens) => history - u64::from(tokens),
                        None => history + u64::from(wait.append),
                    };
                    match self.loss(turn, grown, limit) {
                        None => {
                            if stripped.is_some_and(|tokens| tokens > 0) {
                                call.keep = Some(previous.input);
                            }
                            grown
                        }
                        Some(ratio) => {
                            let left = (grown as f64 * ratio).round() as u64;
                            let left = left.clamp(shared_tokens + 1, limit);
                            call.keep = Some(shared_tokens.min(history).min(left) as u32);
                            left
                        }
                    }
                }
            };
            if input + u64::from(output) > TOKENS_MAX {
                return Err(self.too_large("context", (input + u64::from(output)) as f64));
            }
            call.input = input as u32;
            calls.push(call);
        }
        Ok((shared, calls))
    }

    /// By how much this turn's prompt is shorter than history and `output` before it, if it is.
    fn stripped(&self, turn: u32, output: u32) -> Result<Option<u32>, TraceError> {
        let Some(stripped) = &self.behaviour.stripped else {
            return Ok(None);
        };
        if self.draw(turn, Purpose::Stripped).uniform() >= stripped.share {
            return Ok(None);
        }
        let draw = self.draw(turn, Purpose::StrippedTokens);
        let tokens = self.whole(&stripped.tokens, draw, "stripped.tokens", 0)?;
        Ok(Some(tokens.min(output)))
    }

    /// What the tools before this turn add, if the session is still opening.
    fn opening(&self, turn: u32) -> Option<&Distribution> {
        let mut left = turn;
        for stage in &self.behaviour.opening {
            if left <= stage.turns {
                return Some(&stage.append_tool);
            }
            left -= stage.turns;
        }
        None
    }

    /// What part of the context is left, if this turn loses its prefix.
    fn loss(&self, turn: u32, grown: u64, limit: u64) -> Option<f64> {
        let loss: &Loss = self.behaviour.loss.as_ref()?;
        let compacted = if grown > limit {
            true
        } else if self.draw(turn, Purpose::Loss).uniform() < loss.per_call {
            self.draw(turn, Purpose::LossKind).uniform() < loss.compaction_share
        } else {
            return None;
        };
        let ratio = if compacted {
            &loss.compaction_ratio
        } else {
            &loss.rewrite_ratio
        };
        Some(ratio.sample(self.draw(turn, Purpose::LossRatio)))
    }

    fn wait(&self, turn: u32, from_human: &mut bool) -> Result<Wait, TraceError> {
        let append = self.draw(turn, Purpose::Append);
        if let Some(human) = &self.behaviour.human {
            let share = match (turn, *from_human) {
                (1, _) => human.after_first.unwrap_or(human.after_human),
                (_, true) => human.after_human,
                (_, false) => human.after_tool,
            };
            *from_human = self.draw(turn, Purpose::WaitKind).uniform() < share;
            if *from_human {
                let seconds = human.wait_s.sample(self.draw(turn, Purpose::Gap));
                return Ok(Wait {
                    kind: GapKind::Human,
                    gap: self.gap(seconds)?,
                    append: self.whole(&human.append, append, "human.append", 0)?,
                    tools: None,
                });
            }
        }
        self.wait_for_tools(turn, append)
    }

    fn wait_for_tools(&self, turn: u32, append: Draw) -> Result<Wait, TraceError> {
        let behaviour = self.behaviour;
        let mut approval_s = 0.0;
        if let Some(approval) = &behaviour.approval
            && self.draw(turn, Purpose::Approval).uniform() < approval.share
        {
            approval_s = approval
                .wait_s
                .sample(self.draw(turn, Purpose::ApprovalWait));
        }
        let count = match &behaviour.parallel[..] {
            [] => 1,
            shares => {
                1 + self
                    .draw(turn, Purpose::ToolCount)
                    .choose(shares.iter().copied())
            }
        };
        let start = self.gap(approval_s)?;
        let (mut longest_s, mut results) = (0.0_f64, 0_u32);
        let mut tools = Vec::with_capacity(count);
        for index in 0..count as u32 {
            let nth = |purpose| self.draws.nth(self.agent, turn, purpose, index);
            let weights = behaviour.tools.iter().map(|tool| tool.weight);
            let class = &behaviour.tools[nth(Purpose::ToolClass).choose(weights)];
            let seconds = class.seconds.sample(nth(Purpose::Gap));
            longest_s = longest_s.max(seconds);
            let mut tool = Tool {
                name: class.class.clone(),
                dur_ms: self.gap(seconds)?,
                ..Tool::default()
            };
            if approval_s > 0.0 {
                let ms = start.nanos().as_secs_f64() * 1e3;
                tool.start_ms = serde_json::Number::from_f64(ms);
            }
            if let Some(tokens) = &class.result_tokens {
                let tokens = self.whole(tokens, nth(Purpose::Append), "tools.result_tokens", 0)?;
                tool.out_tokens = Some(tokens);
                results = results.saturating_add(tokens);
            }
            tools.push(tool);
        }
        let append = match self.opening(turn).or(behaviour.append_tool.as_ref()) {
            Some(tokens) => self.whole(tokens, append, "append_tool", 0)?,
            None => results,
        };
        let kind = if approval_s > 0.0 {
            GapKind::Mixed
        } else {
            GapKind::Tool
        };
        Ok(Wait {
            kind,
            gap: self.gap(approval_s + longest_s)?,
            append,
            tools: Some(tools),
        })
    }

    fn shared_prefix(&self) -> Result<Vec<SharedPrefix>, TraceError> {
        let parts = self.behaviour.shared_prefix.iter().zip(0..);
        let part = |(part, index): (&super::behaviour::PrefixPart, u32)| {
            let draw = self.draw(index, Purpose::PrefixVersion);
            let version = (draw.uniform() * f64::from(part.versions)) as u32;
            let draw = self.draws.at(version, index, Purpose::PrefixTokens);
            Ok(SharedPrefix {
                id: if part.versions == 1 {
                    part.id.clone()
                } else {
                    format!("{}@{version}", part.id)
                },
                tokens: self.whole(&part.tokens, draw, "shared_prefix.tokens", 1)?,
                ..SharedPrefix::default()
            })
        };
        parts.map(part).collect()
    }

    fn draw(&self, turn: u32, purpose: Purpose) -> Draw {
        self.draws.at(self.agent, turn, purpose)
    }

    /// A whole number, at least `least`.
    fn whole(
        &self,
        of: &Distribution,
        draw: Draw,
        what: &str,
        least: u32,
    ) -> Result<u32, TraceError> {
        let value = of.sample(draw).round();
        if value > TOKENS_MAX as f64 {
            return Err(self.too_large(what, value));
        }
        Ok((value as u32).max(least))
    }

    /// A wait, no longer than the cap.
    fn gap(&self, seconds: f64) -> Result<Millis, TraceError> {
        let wait = Nanos::from_secs_f64(seconds);
        let wait = self.gap_cap.map_or(wait, |cap| wait.min(cap));
        if wait > Nanos::from_millis(Millis::MAX) {
            return Err(self.too_large("wait", seconds));
        }
        Ok(Millis::from_nanos(wait))
    }

    fn too_large(&self, what: &str, value: f64) -> TraceError {
        TraceError::Parameters(format!(
            "agent {} of seed {}: a {what} of {value:e} was drawn; clip the distributions with `max`",
            self.agent, self.seed
        ))
    }
}
