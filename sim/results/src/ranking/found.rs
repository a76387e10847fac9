//! How loads and parameters were found: rows of `probes.csv`, `loads.csv` and `trials.csv`.

use serde::{Deserialize, Serialize};

/// One step of the search for a load: the reference at one rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeRow {
    /// The workload.
    pub workload: String,
    /// Number of the probe of this workload, from 0: the unloaded one.
    pub probe: u64,
    /// The load that was looked for; empty for the unloaded probe.
    pub load: String,
    /// Arrivals of sessions per second.
    pub rate: f64,
    /// Training shards.
    pub shards: u64,
    /// Of those: not saturated.
    pub stable: u64,
    /// Mean wake-up latency, mean over shards \[ns\].
    pub wakeup_ns: f64,
    /// The same over that of the unloaded probe.
    pub times_unloaded: f64,
    /// Whether the load that was looked for may be this high.
    pub passed: bool,
}

/// A load of a workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadRow {
    /// The workload.
    pub workload: String,
    /// Name of the load.
    pub load: String,
    /// Arrivals of sessions per second.
    pub rate: f64,
    /// Why this rate, in words.
    pub rule: String,
    /// Beyond what the reference carries.
    pub surge: bool,
    /// Sessions of a shard, sub-agents not counted.
    pub sessions: u64,
    /// Time in which they arrive, on average \[s\].
    pub arrivals_s: f64,
    /// Turns before this time do not count \[s\].
    pub warmup_s: f64,
}

/// One setting of a policy that was tried on the training shards.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrialRow {
    /// The workload.
    pub workload: String,
    /// The policy, without parameters.
    pub policy: String,
    /// The policy as it ran.
    pub spelled: String,
    /// Shards that it ran on.
    pub shards: u64,
    /// Runs that were saturated.
    pub saturated: u64,
    /// The metric that was to become small, over that of the defaults: geometric mean over shards. Saturated runs count here: a choice must
    /// be made.
    pub over_default: f64,
    /// This setting was chosen.
    pub chosen: bool,
}
