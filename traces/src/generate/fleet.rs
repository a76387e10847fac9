//! A fleet: how many agents, how they arrive, and what each does.
//!
//! A workload file is one flat table, the keys of [`Fleet`] and of [`Behaviour`] side by side, so that any of them can be set
//! on the command line. `[[variants]]` are sub-populations: each says what it does differently, and how common it is.
//!
//! ```toml
//! evidence = "…"
//! agents = 200
//! rate = 0.1
//! arrivals = { gamma = { cv = 1.2 } }
//! turns = { lognormal = { mu = 3.6, sigma = 1.1 } }
//! …
//! [[variants]]
//! weight = 0.4
//! first_prompt = 90000
//! ```

use serde::{Deserialize, Serialize};

use super::distribution::are_weights;
use super::{Agents, Arrivals, Behaviour, GeneratedWorkload};
use crate::TraceError;
use crate::workload::WorkloadOptions;

/// Agents, how they arrive and what each does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fleet {
    /// Where the parameters come from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// What was assumed, not measured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<String>,
    /// Number of agents, each one session.
    pub agents: u32,
    /// Agents per second on average; needed by open-loop arrivals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// How agents arrive.
    pub arrivals: Arrivals,
    /// Longest wait in seconds; longer ones become this. Default: the distributions' own limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_cap_s: Option<f64>,
    /// What agents do: at least one behaviour.
    pub variants: Vec<Variant>,
}

/// A behaviour and how common it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Variant {
    /// Its name, noted in each session where there are several.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Share of the agents, relative to the other variants.
    pub weight: f64,
    /// What they do.
    pub behaviour: Behaviour,
}

/// The keys of a workload file that are not of a behaviour.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    #[serde(default)]
    evidence: String,
    #[serde(default)]
    assumed: Vec<String>,
    agents: u32,
    rate: Option<f64>,
    arrivals: Arrivals,
    gap_cap_s: Option<f64>,
}

const HEAD_KEYS: [&str; 6] = [
    "evidence",
    "assumed",
    "agents",
    "rate",
    "arrivals",
    "gap_cap_s",
];

impl Fleet {
    /// Reads a workload file's table and what replaces its values: keys of `changes` win over the file's, and over those of
    /// every variant.
    ///
    /// # Errors
    /// [`TraceError::Parameters`] with the key.
    pub fn from_table(mut table: toml::Table, changes: toml::Table) -> Result<Self, TraceError> {
        let mut variants = match table.remove("variants") {
            None => Vec::new(),
            Some(toml::Value::Array(variants)) => variants,
            Some(_) => {
                return Err(TraceError::Parameters(
                    "`variants` must be an array of tables".to_owned(),
                ));
            }
        };
        for variant in variants.iter_mut().filter_map(toml::Value::as_table_mut) {
            variant.retain(|key, _| !changes.contains_key(key));
        }
        // Another process of arrivals brings its own idea of a rate.
        let closed = changes
            .get("arrivals")
            .and_then(|arrivals| arrivals.get("closed"));
        if closed.is_some() {
            table.remove("rate");
        }
        table.extend(changes);
        let (head, behaviour): (toml::Table, toml::Table) = table
            .into_iter()
            .partition(|(key, _)| HEAD_KEYS.contains(&key.as_str()));
        let head: Head = parse(head.into())?;
        let variants = if variants.is_empty() {
            vec![Variant {
                name: String::new(),
                weight: 1.0,
                behaviour: parse(behaviour.into())?,
            }]
        } else {
            let resolved = variants.into_iter().map(|own| resolve(&behaviour, own));
            resolved.collect::<Result<_, _>>()?
        };
        Ok(Self {
            evidence: head.evidence,
            assumed: head.assumed,
            agents: head.agents,
            rate: head.rate,
            arrivals: head.arrivals,
            gap_cap_s: head.gap_cap_s,
            variants,
        })
    }

    /// The sessions of `seed`, in order of their start.
    ///
    /// # Errors
    /// If the parameters do not make sense together, or a trace to resample cannot be read.
    pub fn sessions(&self, seed: u64) -> Result<Agents, TraceError> {
        self.validate()?;
        Agents::new(self.clone(), seed)
    }

    /// The same sessions, as a run takes them under `options`.
    ///
    /// # Errors
    /// As [`Fleet::sessions`].
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
    /// [`TraceError::Parameters`] with the key.
    pub fn validate(&self) -> Result<(), TraceError> {
        let wrong = |text: String| Err(TraceError::Parameters(text));
        if self.agents == 0 {
            return wrong("`agents` = 0; a workload needs at least one agent".to_owned());
        }
        if let Some(cap) = self.gap_cap_s
            && !(cap.is_finite() && cap >= 0.0)
        {
            return wrong(format!("`gap_cap_s` = {cap}; seconds must be at least 0"));
        }
        self.arrivals.validate(self.rate)?;
        if !are_weights(self.variants.iter().map(|variant| variant.weight)) {
            return wrong(
                "`variants`: weights must be finite, at least 0, and not all 0".to_owned(),
            );
        }
        for variant in &self.variants {
            variant.behaviour.validate()?;
        }
        Ok(())
    }
}

/// The common keys, and over them those of a variant.
fn resolve(common: &toml::Table, own: toml::Value) -> Result<Variant, TraceError> {
    let toml::Value::Table(mut own) = own else {
        return Err(TraceError::Parameters(
            "`variants` must be an array of tables".to_owned(),
        ));
    };
    let weight = own.remove("weight").unwrap_or(1.0.into());
    let name = own.remove("name").unwrap_or("".into());
    let mut table = common.clone();
    table.extend(own);
    Ok(Variant {
        name: parse(name)?,
        weight: parse(weight)?,
        behaviour: parse(table.into())?,
    })
}

fn parse<T: serde::de::DeserializeOwned>(value: toml::Value) -> Result<T, TraceError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (key, cause) = (error.path().to_string(), error.into_inner());
        let cause = cause.message();
        TraceError::Parameters(match key.as_str() {
            "." | "?" => cause.to_owned(),
            key => format!("`{key}`: {cause}"),
        })
    })
}
