//! Workloads by name or path.
//!
//! The files under `configs/workloads` are compiled in, so that names resolve from any working directory. What ends in
//! `.toml` is read from disk. A file with a `gen` key holds plain agents; one without, a fleet.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use super::{Agents, Arrivals, Fleet, GeneratedWorkload, PlainAgents};
use crate::TraceError;
use crate::workload::WorkloadOptions;

/// A shipped workload.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// Its name.
    pub name: &'static str,
    /// What it is, in one line: the first of the file.
    pub summary: &'static str,
    text: &'static str,
}

macro_rules! shipped {
    ($($name:literal: $summary:literal,)+) => {
        &[$(Shipped {
            name: $name,
            summary: $summary,
            text: include_str!(concat!("../../../configs/workloads/", $name, ".toml")),
        }),+]
    };
}

/// Every shipped workload: archetypes first, then those of comparisons and of the seed study.
pub const SHIPPED: &[Shipped] = shipped! {
    "interactive-coding": "a coding agent with a developer beside it: long contexts, approvals, prefix losses",
    "batch-coding": "a coding agent that works through issues alone: tests, builds, no people",
    "web-research": "search and browsing agents: slow tools, large results",
    "function-calling": "customer service: short tool calls, a person answers",
    "office": "an office agent: thirty fast tool calls, then a long answer",
    "chat": "people who chat: no tools, minutes between turns",
    "d-5s-gaps": "1,000 agents of 10 turns, waits of 5 s, 0.2 agents/s",
    "e-60s-gaps": "the same with waits of 60 s at 0.3 agents/s: HBM thrashes",
    "seed": "the script of the original evaluation: 80 agents of 2 turns",
};

/// Generators that take all their parameters from the run: name, summary, defaults.
///
/// Ten turns of +1,500 and +200 tokens are the shape of workload D of the comparison with other simulators.
pub const BARE: [(&str, &str, &str); 2] = [
    (
        "poisson-agents",
        "plain agents, open loop",
        "gen = \"poisson-agents\"\nrate = 0.5\nagents = 200\nturns = 10\nappend = 1500\noutput = 200\ngap_s = 5\n",
    ),
    (
        "closed-loop-agents",
        "plain agents, all there from the start",
        "gen = \"closed-loop-agents\"\nramp_s = 60\nagents = 200\nturns = 10\nappend = 1500\noutput = 200\ngap_s = 5\n",
    ),
];

/// A workload that can be generated.
#[derive(Clone, Debug, PartialEq)]
pub enum Generator {
    /// Plain agents.
    Plain(Box<PlainAgents>),
    /// A fleet.
    Fleet(Box<Fleet>),
}

impl Generator {
    /// The workload called `name` (or the file, if it ends in `.toml`), with the keys of `changes` in place of its own.
    ///
    /// # Errors
    /// If there is no such workload, or its parameters make no sense together.
    pub fn find(name: &str, changes: toml::Table) -> Result<Self, TraceError> {
        Self::of_text(name, &Self::text(name)?, changes)
    }

    /// What the workload called `name` is written as: the text of its file.
    ///
    /// # Errors
    /// If there is no such workload.
    pub fn text(name: &str) -> Result<Cow<'static, str>, TraceError> {
        let bare = BARE.iter().find(|(bare, ..)| *bare == name);
        let shipped = SHIPPED.iter().find(|shipped| shipped.name == name);
        match (bare, shipped) {
            (Some((_, _, text)), _) => Ok((*text).into()),
            (_, Some(shipped)) => Ok(shipped.text.into()),
            _ if Path::new(name).extension().is_some_and(|e| e == "toml") => {
                let text = fs::read_to_string(name).map_err(|source| TraceError::File {
                    action: "read",
                    file: name.to_owned(),
                    source,
                })?;
                Ok(text.into())
            }
            _ => {
                let known = BARE.iter().map(|(bare, ..)| *bare);
                let known: Vec<_> = known.chain(SHIPPED.iter().map(|s| s.name)).collect();
                Err(TraceError::UnknownWorkload {
                    name: name.to_owned(),
                    known: known.join(", "),
                })
            }
        }
    }

    /// The workload called `name` whose text has been read.
    ///
    /// # Errors
    /// As [`Generator::find`].
    pub fn of_text(name: &str, text: &str, changes: toml::Table) -> Result<Self, TraceError> {
        let generator = Self::parse(name, text, changes)?;
        generator.validate()?;
        Ok(generator)
    }

    /// The trace that arrivals are resampled from, if they are.
    pub fn resamples(&self) -> Option<&Path> {
        match self {
            Self::Fleet(fleet) => match &fleet.arrivals {
                Arrivals::Trace(resampled) => Some(resampled.file.as_ref()),
                _ => None,
            },
            Self::Plain(_) => None,
        }
    }

    fn parse(name: &str, text: &str, changes: toml::Table) -> Result<Self, TraceError> {
        let in_file = |what: String| TraceError::Parameters(format!("workload `{name}`: {what}"));
        let mut table: toml::Table = toml::from_str(text).map_err(|error| {
            let place = error.span().map_or(0, |span| span.start);
            let line = text[..place].matches('\n').count() + 1;
            in_file(format!("line {line}: {}", error.message()))
        })?;
        if !table.contains_key("gen") {
            return Fleet::from_table(table, changes)
                .map(|fleet| Self::Fleet(Box::new(fleet)))
                .map_err(|error| in_file(error.to_string()));
        }
        table.extend(changes);
        table
            .try_into()
            .map(|plain| Self::Plain(Box::new(plain)))
            .map_err(|error: toml::de::Error| in_file(error.message().to_owned()))
    }

    fn validate(&self) -> Result<(), TraceError> {
        match self {
            Self::Plain(plain) => plain.validate(),
            Self::Fleet(fleet) => fleet.validate(),
        }
    }

    /// The sessions of `seed`, in order of their start.
    ///
    /// # Errors
    /// If a trace to resample arrivals from cannot be read.
    pub fn sessions(&self, seed: u64) -> Result<Agents, TraceError> {
        match self {
            Self::Plain(plain) => plain.sessions(seed),
            Self::Fleet(fleet) => fleet.sessions(seed),
        }
    }

    /// The same sessions, as a run takes them under `options`.
    ///
    /// # Errors
    /// As [`Generator::sessions`].
    pub fn workload(
        &self,
        seed: u64,
        options: WorkloadOptions,
    ) -> Result<GeneratedWorkload, TraceError> {
        GeneratedWorkload::new(self.sessions(seed)?, options)
    }

    /// All parameters, for a manifest and its digest.
    pub fn parameters(&self) -> serde_json::Value {
        let value = match self {
            Self::Plain(plain) => serde_json::to_value(plain),
            Self::Fleet(fleet) => serde_json::to_value(fleet),
        };
        value.expect("plain values")
    }
}
