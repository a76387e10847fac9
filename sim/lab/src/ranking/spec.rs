//! The config of a ranking: workloads, loads, shards, and what is tuned.
//!
//! ```text
//!   [run]          the machine, as in any run config
//!   [[workloads]]  what the agents do: a trace, corrected and dealt into shards, or a fleet by name
//!   [[loads]]      light, knee, overload: what the search looks for
//!   [tune]         which values of each policy's declared parameters are tried
//! ```
//!
//! Policies are not listed: all of the registry run, unless `policies` says which.

use crate::LabError;
use results::ranking::Measured;
use results::spec::{Layers, RunSpec, parse_range};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use trace::generate::Distribution;

/// A ranking, as its config says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankingSpec {
    /// The policy that loads are found with and others are compared to.
    pub reference: String,
    /// Policies that run; empty for all there are. The reference runs in any case.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Shards that policies are judged on, `"1..10"`.
    pub shards: String,
    /// What becomes of a trace before it is dealt.
    pub split: Split,
    /// How loads are found.
    pub search: Search,
    /// What is tuned, if anything.
    pub tune: Option<Tune>,
    /// Loads, each after those that it refers to.
    pub loads: Vec<Load>,
    /// Workloads.
    pub workloads: Vec<Workload>,
    /// Machine, engine, hints: the keys of a run config.
    #[serde(default)]
    run: toml::Table,
}

/// Which sessions of a trace are for finding loads and parameters, and which for judging.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Share of the sessions that loads and parameters are found on.
    pub train_share: f64,
    /// Decides which they are.
    pub seed: u64,
}

/// How loads are found.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// Shards of the training part that are looked at.
    pub shards: String,
    /// GPU load of the tokens alone at which a wake-up counts as unloaded.
    pub unloaded: f64,
    /// The rate found and the next one that failed differ by at most this share.
    pub precision: f64,
}

/// A load: found by its effect on the reference, or a multiple of another.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Its name.
    pub name: String,
    /// The highest rate at which the reference is stable on every shard, and its mean wake-up at most so many times the unloaded one.
    pub wakeup_times: Option<f64>,
    /// Or: a multiple of the rate of this load,
    pub of: Option<String>,
    /// namely so many times.
    pub times: Option<f64>,
    /// Beyond what the reference carries: judged over the stretch of time in which sessions arrive, saturated or not.
    #[serde(default)]
    pub surge: bool,
}

/// What is tuned, and on what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tune {
    /// Shards of the training part.
    pub shards: String,
    /// The load.
    pub load: String,
    /// What is to become small.
    pub metric: Measured,
    /// Each parameter is tried at its default times these, the others left alone.
    pub factors: Vec<f64>,
    /// Values to try instead: by `policy.parameter`, or by `parameter` for all policies that have it. An empty list leaves it alone.
    #[serde(default)]
    pub values: BTreeMap<String, Vec<toml::Value>>,
}

/// What the agents do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// Where it comes from and what was done to it, for readers.
    pub about: String,
    /// A trace, in the folder of traces; session traces and whatever `djinn trace import` reads.
    pub trace: Option<String>,
    /// Or a fleet by name (`djinn trace gen --help`).
    #[serde(rename = "gen")]
    pub generator: Option<String>,
    /// Sessions of a shard.
    pub sessions: u32,
    /// Share of the arrivals after which turns count.
    pub warmup: f64,
    /// Deal with replacement.
    #[serde(default)]
    pub replace: bool,
    /// Mooncake rows: chain those that continue another.
    #[serde(default)]
    pub chain: bool,
    /// Keep one of each cluster of copies and branches.
    #[serde(default)]
    pub one_per_cluster: bool,
    /// Sessions of one configuration share this part of the shortest first prompt, where the trace does not say what they share.
    pub shared_first_prompt: Option<f64>,
    /// Waits of tools \[s\], in place of those recorded.
    pub tool_s: Option<Distribution>,
    /// Waits of people \[s\], in place of those recorded.
    pub human_s: Option<Distribution>,
    /// Waits longer than this are cut to it \[s\].
    pub gap_cap_s: Option<f64>,
}

impl RankingSpec {
    /// Reads the text of a config called `name`, with `set` (`key=value`) applied.
    ///
    /// # Errors
    /// If it is no such config; says where.
    pub fn load(name: &str, text: &str, set: &[String]) -> Result<Self, LabError> {
        let wrong = |what: String| LabError::Ranking {
            name: name.to_owned(),
            what,
        };
        let spec: Self = if set.is_empty() {
            toml::from_str(text).map_err(|error| wrong(error.to_string()))?
        } else {
            let mut table: toml::Table =
                toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
            for argument in set {
                apply(&mut table, argument).map_err(&wrong)?;
            }
            table.try_into().map_err(|error: toml::de::Error| {
                wrong(format!("with {}: {}", set.join(" "), error.message()))
            })?
        };
        spec.check().map_err(wrong)?;
        spec.base()?;
        Ok(spec)
    }

    /// The run config that all runs have in common.
    ///
    /// # Errors
    /// If a key of `[run]` is wrong.
    pub fn base(&self) -> Result<RunSpec, LabError> {
        let text = toml::to_string(&self.run).expect("a table that was read");
        Ok(RunSpec::load(&Layers::of_text("[run]", &text))?)
    }

    /// The policies that run, in the order of the registry.
    pub fn entries(&self) -> Vec<&'static policy::Entry> {
        let wanted = |name: &str| {
            self.policies.is_empty()
                || name == self.reference
                || self.policies.iter().any(|p| p == name)
        };
        policy::REGISTRY
            .iter()
            .filter(|entry| wanted(entry.name))
            .collect()
    }

    /// Numbers of the shards that policies are judged on.
    pub fn judged_shards(&self) -> Vec<u64> {
        shards(&self.shards)
    }

    /// A first look: five shards of a quarter of the sessions, nothing tuned.
    pub fn make_quick(&mut self) {
        "1..5".clone_into(&mut self.shards);
        self.tune = None;
        for workload in &mut self.workloads {
            workload.sessions = workload.sessions.div_ceil(4).max(40);
        }
    }

    fn check(&self) -> Result<(), String> {
        for name in self.policies.iter().chain([&self.reference]) {
            let (entry, _) = policy::find(name).map_err(|error| error.to_string())?;
            if entry.name != name {
                return Err(format!(
                    "`{name}`: a ranking runs policies with their defaults and tunes them itself; name it `{}`",
                    entry.name
                ));
            }
        }
        let mut ranges = vec![
            ("shards", &self.shards),
            ("search.shards", &self.search.shards),
        ];
        ranges.extend(self.tune.as_ref().map(|tune| ("tune.shards", &tune.shards)));
        for (key, range) in ranges {
            parse_range(range).map_err(|what| format!("`{key}`: {what}"))?;
        }
        let within = |key: &str, value: f64, low: f64, high: f64| {
            if value > low && value < high {
                Ok(())
            } else {
                Err(format!(
                    "`{key}` = {value}; it lies between {low} and {high}"
                ))
            }
        };
        within("split.train_share", self.split.train_share, 0.0, 1.0)?;
        within("search.unloaded", self.search.unloaded, 0.0, 1.0)?;
        within("search.precision", self.search.precision, 0.0, 1.0)?;
        for (index, load) in self.loads.iter().enumerate() {
            let known = |name: &String| self.loads[..index].iter().any(|load| load.name == *name);
            match (load.wakeup_times, &load.of, load.times) {
                (Some(times), None, None) => within("wakeup_times", times, 1.0, f64::INFINITY)?,
                (None, Some(of), Some(times)) if known(of) => {
                    within("times", times, 0.0, f64::INFINITY)?;
                }
                _ => {
                    return Err(format!(
                        "load `{}` needs `wakeup_times`, or `of` (a load before it) and `times`",
                        load.name
                    ));
                }
            }
        }
        if let Some(tune) = &self.tune
            && !self.loads.iter().any(|load| load.name == tune.load)
        {
            return Err(format!(
                "`tune.load` = `{}`, and no load is called so",
                tune.load
            ));
        }
        for workload in &self.workloads {
            if workload.trace.is_some() == workload.generator.is_some() {
                return Err(format!(
                    "workload `{}` needs `trace` (a file) or `gen` (a fleet), and not both",
                    workload.name
                ));
            }
            if !(0.0..1.0).contains(&workload.warmup) {
                return Err(format!(
                    "workload `{}`: `warmup` = {}; a share below 1",
                    workload.name, workload.warmup
                ));
            }
        }
        if self.workloads.is_empty() || self.loads.is_empty() {
            return Err("at least one `[[workloads]]` and one `[[loads]]` are needed".to_owned());
        }
        Ok(())
    }
}

impl Workload {
    /// Its trace below `folder`, if it has one.
    pub fn file(&self, folder: &Path) -> Option<std::path::PathBuf> {
        self.trace.as_ref().map(|trace| folder.join(trace))
    }
}

/// Numbers of a range that was checked.
pub(super) fn shards(range: &str) -> Vec<u64> {
    parse_range(range).expect("checked when the config was read")
}

/// Applies `key=value`; the value is TOML, or a string without quotes.
fn apply(table: &mut toml::Table, argument: &str) -> Result<(), String> {
    let Some((key, text)) = argument.split_once('=') else {
        return Err(format!("--set {argument}: expected `key=value`"));
    };
    let parsed = toml::from_str::<toml::Table>(&format!("value = {text}"));
    let value = parsed
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.trim().to_owned()));
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let last = parts.pop().unwrap_or_default();
    let mut at = table;
    for part in parts {
        let below = at
            .entry(part)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = below
            .as_table_mut()
            .ok_or_else(|| format!("--set {argument}: `{part}` holds no further keys"))?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}
