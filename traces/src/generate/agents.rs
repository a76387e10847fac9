//! The sessions of a [`GeneratorSpec`], one at a time.

use model::{Nanos, Time, WorkloadError};

use super::{Arrivals, Distribution, Domain, Draws, GeneratorSpec, Purpose, WaitKind};
use crate::TraceError;
use crate::format::{
    Call, Extra, GapKind, GapSemantics, Meta, Millis, Nullable, Session, SharedPrefix, TOKENS_MAX,
    Tool,
};
use crate::workload::Converter;

/// Generated sessions in order of their start.
pub struct Agents {
    spec: GeneratorSpec,
    seed: u64,
    draws: Draws,
    next: u32,
    /// Arrival of the latest agent.
    clock: Nanos,
}

impl Agents {
    pub(super) fn new(spec: GeneratorSpec, seed: u64) -> Self {
        Self {
            spec,
            seed,
            draws: Draws::new(seed, Domain::Agents),
            next: 0,
            clock: Nanos::ZERO,
        }
    }

    /// The first line of these sessions as a trace: it holds all parameters and the seed.
    pub fn meta(&self) -> Meta {
        let mut x = Extra::new();
        x.insert("seed".to_owned(), self.seed.into());
        x.insert(
            "spec".to_owned(),
            serde_json::to_value(&self.spec).expect("plain values"),
        );
        Meta {
            source: "generated".to_owned(),
            origin: "djinn trace gen".to_owned(),
            license: "CC0-1.0".to_owned(),
            block_size: Nullable::Null,
            hash_scope: Nullable::Null,
            tokenizer: Nullable::Null,
            gap_semantics: GapSemantics::EndOfDependencyToDispatch,
            x: Some(x),
            extra: Extra::new(),
        }
    }

    fn session(&mut self, agent: u32) -> Result<Session, TraceError> {
        let start_ms = self.arrival(agent)?;
        let turns = self.whole(&self.spec.turns, agent, 0, Purpose::Turns, 1)?;
        let shared = self.spec.shared_prefix.as_ref();
        let mut calls: Vec<Call> = Vec::with_capacity(turns as usize);
        let mut history = shared.map_or(0, |prefix| u64::from(prefix.tokens));
        for turn in 0..turns {
            let (lengths, purpose, least) = match turn {
                0 => (
                    self.spec.first_prompt.as_ref().unwrap_or(&self.spec.append),
                    Purpose::FirstPrompt,
                    1,
                ),
                _ => (&self.spec.append, Purpose::Append, 0),
            };
            let input = history + u64::from(self.whole(lengths, agent, turn, purpose, least)?);
            let output = self.whole(&self.spec.output, agent, turn, Purpose::Output, 1)?;
            history = input + u64::from(output);
            if history > TOKENS_MAX {
                return Err(self.too_large(agent, "context", history as f64));
            }
            let mut call = Call {
                id: turn,
                input: input as u32,
                output,
                ..Call::default()
            };
            if let Some(previous) = calls.last_mut() {
                let seconds = self
                    .spec
                    .gap_s
                    .sample(self.draws.at(agent, turn, Purpose::Gap));
                call.gap_ms = self.millis(agent, "gap_s", Nanos::from_secs_f64(seconds))?;
                call.gap_kind = match self.spec.gap_kind {
                    WaitKind::Tool => GapKind::Tool,
                    WaitKind::Human => GapKind::Human,
                };
                if self.spec.gap_kind == WaitKind::Tool {
                    let name = self.spec.tool.clone();
                    previous.tools = Some(vec![Tool {
                        name,
                        dur_ms: call.gap_ms,
                        ..Tool::default()
                    }]);
                }
            }
            calls.push(call);
        }
        let shared_prefix = shared.map(|prefix| {
            vec![SharedPrefix {
                id: prefix.id.clone(),
                tokens: prefix.tokens,
                ..SharedPrefix::default()
            }]
        });
        let start_ms = Nullable::Value(start_ms);
        Ok(Session {
            sid: format!("agent-{agent}"),
            start_ms,
            shared_prefix,
            calls,
            ..Session::default()
        })
    }

    fn arrival(&mut self, agent: u32) -> Result<Millis, TraceError> {
        let draw = self.draws.at(agent, 0, Purpose::Arrival);
        match self.spec.arrivals {
            Arrivals::PoissonAgents => {
                let rate = self.spec.rate.expect("validated");
                let wait = Nanos::from_secs_f64(draw.exponential() / rate);
                self.clock = Nanos(self.clock.0.saturating_add(wait.0));
            }
            Arrivals::ClosedLoopAgents => {
                let ramp_s = self.spec.ramp_s.expect("validated");
                let part = (f64::from(agent) + draw.uniform()) / f64::from(self.spec.agents);
                self.clock = Nanos::from_secs_f64(ramp_s * part);
            }
        }
        self.millis(agent, "arrival", self.clock)
    }

    /// A whole number, at least `least`.
    fn whole(
        &self,
        lengths: &Distribution,
        agent: u32,
        turn: u32,
        purpose: Purpose,
        least: u32,
    ) -> Result<u32, TraceError> {
        let value = lengths.sample(self.draws.at(agent, turn, purpose)).round();
        if value > TOKENS_MAX as f64 {
            return Err(self.too_large(agent, "count", value));
        }
        Ok((value as u32).max(least))
    }

    fn millis(&self, agent: u32, what: &str, span: Nanos) -> Result<Millis, TraceError> {
        if span > Nanos::from_millis(Millis::MAX) {
            return Err(self.too_large(agent, what, span.as_secs_f64()));
        }
        Ok(Millis::from_nanos(span))
    }

    fn too_large(&self, agent: u32, what: &str, value: f64) -> TraceError {
        TraceError::Parameters(format!(
            "agent {agent} of seed {}: a {what} of {value:e} was drawn; clip the distributions with `max`",
            self.seed
        ))
    }
}

impl Iterator for Agents {
    type Item = Result<Session, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let agent = self.next;
        (agent < self.spec.agents).then(|| {
            self.next += 1;
            self.session(agent)
        })
    }
}

/// Generated sessions as a run takes them.
pub struct GeneratedWorkload {
    agents: Agents,
    converter: Converter,
}

impl GeneratedWorkload {
    pub(super) fn new(agents: Agents) -> Self {
        let mut converter = Converter::plain(agents.meta());
        // Known from the start, so that classes can be listed before the first session.
        if agents.spec.gap_kind == WaitKind::Human {
            converter.name_class("human");
        } else {
            converter.name_class(&agents.spec.tool);
        }
        Self { agents, converter }
    }
}

impl model::Workload for GeneratedWorkload {
    fn next_session(&mut self) -> Result<Option<model::Session>, WorkloadError> {
        let Some(session) = self.agents.next().transpose()? else {
            return Ok(None);
        };
        let start = session.start_ms.value().unwrap_or_default().nanos();
        let converted = self
            .converter
            .convert(&session)?
            .expect("no limit, so nothing is left out");
        Ok(Some(model::Session {
            start: Time(start.0),
            ..converted.session
        }))
    }

    fn tool_classes(&self) -> Vec<String> {
        self.converter.classes().to_vec()
    }
}
