//! Tuned parameters against the defaults of the same policy, on shards that neither was chosen on.

use super::differences::{over_pairs, pairs, side};
use super::judged::{Judged, Measured, Setting, distinct};
use crate::stats::Interval;
use serde::{Deserialize, Serialize};

/// One tuned policy in one cell: a row of `tuned.csv`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TunedRow {
    /// The workload.
    pub workload: String,
    /// The load.
    pub load: String,
    /// What is compared: `wakeup_mean`, …
    pub metric: String,
    /// The policy, without parameters.
    pub policy: String,
    /// The policy with the parameters that were best on training shards.
    pub tuned: String,
    /// Shards that the comparison rests on.
    pub pairs: u64,
    /// Runs with defaults that were saturated.
    pub default_saturated: u64,
    /// Tuned runs that were saturated.
    pub tuned_saturated: u64,
    /// Tuned over default: geometric mean over shards; empty where too few are left.
    pub over_default: Option<f64>,
    /// Lower end of its 95 % interval.
    pub over_default_low: Option<f64>,
    /// Upper end.
    pub over_default_high: Option<f64>,
}

impl TunedRow {
    /// Whether the interval excludes 1.
    pub fn shown(&self) -> bool {
        let interval = self.over_default_low.zip(self.over_default_high);
        interval.is_some_and(|(low, high)| !Interval { low, high }.contains(1.0))
    }
}

/// The table `tuned.csv`: policies whose parameters tuning changed, by cell and metric.
pub fn tuned(runs: &[Judged]) -> Vec<TunedRow> {
    let mut rows = Vec::new();
    for cell in distinct(runs.iter().map(|run| &run.cell)) {
        let here: Vec<&Judged> = runs.iter().filter(|run| run.cell == *cell).collect();
        let tuned = here.iter().filter(|run| run.setting == Setting::Tuned);
        for policy in distinct(tuned.map(|run| run.policy.as_str())) {
            let [default, tuned] =
                [Setting::Default, Setting::Tuned].map(|setting| side(&here, policy, setting));
            let saturated =
                |runs: &[&Judged]| runs.iter().filter(|run| run.saturated()).count() as u64;
            for metric in Measured::ALL {
                let pairs = pairs(metric, &tuned, &default);
                let ratio = over_pairs(&pairs, |a, b| (a / b).ln());
                rows.push(TunedRow {
                    workload: cell.workload.clone(),
                    load: cell.load.clone(),
                    metric: metric.name().to_owned(),
                    policy: policy.to_owned(),
                    tuned: tuned[0].spelled.clone(),
                    pairs: pairs.len() as u64,
                    default_saturated: saturated(&default),
                    tuned_saturated: saturated(&tuned),
                    over_default: ratio.map(|(mean, _)| mean.exp()),
                    over_default_low: ratio.map(|(_, interval)| interval.low.exp()),
                    over_default_high: ratio.map(|(_, interval)| interval.high.exp()),
                });
            }
        }
    }
    rows
}
