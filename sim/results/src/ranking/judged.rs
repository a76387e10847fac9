//! Rows of `runs.csv` as runs that are judged: which cell, which policy, which shard.

use crate::metrics::RunMetrics;
use crate::runs::RunRow;
use serde::{Deserialize, Serialize};

/// What the `params` of a judged run say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// Name of the workload.
    pub workload: String,
    /// Name of the load.
    pub load: String,
    /// The load is beyond what the reference carries.
    pub surge: bool,
    /// Whose parameters the policy ran with.
    pub setting: Setting,
    /// Arrivals of sessions per second.
    #[serde(rename = "workload.rate")]
    pub rate: f64,
}

/// Whose parameters a policy runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Setting {
    /// Its own.
    Default,
    /// Those that were best on other shards.
    Tuned,
}

impl Setting {
    /// As in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Tuned => "tuned",
        }
    }
}

/// A workload at a load.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The workload.
    pub workload: String,
    /// The load.
    pub load: String,
    /// The load is beyond what the reference carries.
    pub surge: bool,
    /// Arrivals of sessions per second.
    pub rate: f64,
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Where.
    pub cell: Cell,
    /// Name of the policy, without parameters.
    pub policy: String,
    /// The policy as it ran.
    pub spelled: String,
    /// Whose parameters.
    pub setting: Setting,
    /// The shard: sessions, waits and arrivals.
    pub shard: u64,
    /// What it came to.
    pub metrics: RunMetrics,
}

impl Judged {
    /// The backlog grew until the arrivals ended.
    pub fn saturated(&self) -> bool {
        self.metrics.stable == Some(false)
    }
}

/// What policies are judged by: smaller is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// Mean wake-up latency.
    WakeupMean,
    /// Its median.
    WakeupP50,
    /// Its 99 % quantile.
    WakeupP99,
    /// Mean session completion time, waits included.
    JctMean,
}

impl Measured {
    /// All of them, the one that decides first.
    pub const ALL: [Self; 4] = [
        Self::WakeupMean,
        Self::WakeupP50,
        Self::WakeupP99,
        Self::JctMean,
    ];

    /// As in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::WakeupMean => "wakeup_mean",
            Self::WakeupP50 => "wakeup_p50",
            Self::WakeupP99 => "wakeup_p99",
            Self::JctMean => "jct_mean",
        }
    }

    /// The value \[ns\]; `None` if the run has no samples of it.
    pub fn of(self, metrics: &RunMetrics) -> Option<u64> {
        match self {
            Self::WakeupMean => metrics.wakeup_ns_mean,
            Self::WakeupP50 => metrics.wakeup_ns_p50,
            Self::WakeupP99 => metrics.wakeup_ns_p99,
            Self::JctMean => metrics.jct_ns_mean,
        }
    }
}

/// A row that is no judged run.
#[derive(Debug, thiserror::Error)]
#[error(
    "row {row}: `params` holds `{params}`, which does not name the load and setting of a ranking: {cause}"
)]
pub struct JudgedError {
    /// Row of the table, from 1.
    pub row: usize,
    /// What is there.
    pub params: String,
    /// Why it does not do.
    pub cause: serde_json::Error,
}

/// The runs of a `runs.csv` that a ranking wrote.
///
/// # Errors
/// The first row whose `params` are not those of a ranking.
pub fn judged(rows: &[RunRow]) -> Result<Vec<Judged>, JudgedError> {
    let one = |(index, row): (usize, &RunRow)| {
        let label: Label = serde_json::from_str(&row.id.params).map_err(|cause| JudgedError {
            row: index + 1,
            params: row.id.params.clone(),
            cause,
        })?;
        let name = row.id.policy.split('[').next().unwrap_or_default();
        Ok(Judged {
            cell: Cell {
                workload: label.workload,
                load: label.load,
                surge: label.surge,
                rate: label.rate,
            },
            policy: name.to_owned(),
            spelled: row.id.policy.clone(),
            setting: label.setting,
            shard: row.id.seed,
            metrics: row.metrics.clone(),
        })
    };
    rows.iter().enumerate().map(one).collect()
}

/// Each of `items` once, in the order in which they first appear.
pub(super) fn distinct<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for item in items {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    seen
}
