//! The sessions of a [`Fleet`], one at a time.

use model::{Nanos, Time, WorkloadError};

use super::arrivals::ArrivalTimes;
use super::session::Maker;
use super::{Domain, Draws, Fleet, Purpose};
use crate::TraceError;
use crate::format::{Extra, GapSemantics, Meta, Millis, Nullable, Session};
use crate::workload::{Converter, WorkloadOptions, WorkloadReport};

/// Class under which waits for people go.
const CLASS_HUMAN: &str = "human";

/// Generated sessions in order of their start.
pub struct Agents {
    fleet: Fleet,
    arrivals: Box<dyn ArrivalTimes>,
    meta: Meta,
    seed: u64,
    draws: Draws,
    next: u32,
}

impl Agents {
    pub(super) fn new(fleet: Fleet, seed: u64) -> Result<Self, TraceError> {
        let spec = serde_json::to_value(&fleet).expect("plain values");
        Self::described(fleet, seed, spec)
    }

    /// The agents of `fleet`, described in the first line of a trace by `spec`.
    pub(super) fn described(
        fleet: Fleet,
        seed: u64,
        spec: serde_json::Value,
    ) -> Result<Self, TraceError> {
        Ok(Self {
            arrivals: fleet.arrivals.start(fleet.rate, fleet.agents, seed)?,
            meta: meta(seed, spec),
            fleet,
            seed,
            draws: Draws::new(seed, Domain::Agents),
            next: 0,
        })
    }

    /// The first line of these sessions as a trace: it holds all parameters and the seed.
    pub fn meta(&self) -> Meta {
        self.meta.clone()
    }

    /// Classes of everything that is waited for, in the order of the parameters.
    fn classes(&self) -> impl Iterator<Item = &str> {
        self.fleet.variants.iter().flat_map(|variant| {
            let human = variant.behaviour.human.as_ref().map(|_| CLASS_HUMAN);
            let tools = variant.behaviour.tools.iter();
            tools.map(|tool| tool.class.as_str()).chain(human)
        })
    }

    fn session(&mut self, agent: u32) -> Result<Session, TraceError> {
        let start = self.arrivals.next(agent);
        if start > Nanos::from_millis(Millis::MAX) {
            return Err(TraceError::Parameters(format!(
                "agent {agent} of seed {} would arrive after {:e} s; raise `rate`",
                self.seed,
                start.as_secs_f64()
            )));
        }
        let draw = self.draws.at(agent, 0, Purpose::Variant);
        let weights = self.fleet.variants.iter().map(|variant| variant.weight);
        let variant = &self.fleet.variants[draw.choose(weights)];
        let maker = Maker {
            behaviour: &variant.behaviour,
            draws: self.draws,
            seed: self.seed,
            agent,
            gap_cap: self.fleet.gap_cap_s.map(Nanos::from_secs_f64),
        };
        let (shared_prefix, calls) = maker.make()?;
        Ok(Session {
            sid: format!("agent-{agent}"),
            cls: variant.behaviour.class.clone(),
            config: Some(variant.name.clone()).filter(|name| !name.is_empty()),
            start_ms: Nullable::Value(Millis::from_nanos(start)),
            shared_prefix: Some(shared_prefix).filter(|parts| !parts.is_empty()),
            calls,
            ..Session::default()
        })
    }
}

fn meta(seed: u64, spec: serde_json::Value) -> Meta {
    let mut x = Extra::new();
    x.insert("seed".to_owned(), seed.into());
    x.insert("spec".to_owned(), spec);
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

impl Iterator for Agents {
    type Item = Result<Session, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let agent = self.next;
        (agent < self.fleet.agents).then(|| {
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
    pub(super) fn new(agents: Agents, options: WorkloadOptions) -> Result<Self, TraceError> {
        options.validate()?;
        // Generated sessions have no block ids, so the size of a KV block does not matter.
        let mut converter = Converter::new(agents.meta(), options, 16)?;
        // Known from the start, so that classes can be listed before the first session.
        for class in agents.classes() {
            converter.name_class(class);
        }
        Ok(Self { agents, converter })
    }

    /// What was cut or capped so far.
    pub fn report(&mut self) -> &WorkloadReport {
        self.converter.report_mut()
    }
}

impl model::Workload for GeneratedWorkload {
    fn next_session(&mut self) -> Result<Option<model::Session>, WorkloadError> {
        while let Some(session) = self.agents.next().transpose()? {
            let start = session.start_ms.value().unwrap_or_default().nanos();
            if let Some(converted) = self.converter.convert(&session)? {
                return Ok(Some(model::Session {
                    start: Time(start.0),
                    ..converted.session
                }));
            }
        }
        Ok(None)
    }

    fn tool_classes(&self) -> Vec<String> {
        self.converter.classes().to_vec()
    }
}
