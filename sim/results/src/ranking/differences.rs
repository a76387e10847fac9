//! Each policy against the reference, cell by cell.

use super::RESAMPLES;
use super::judged::{Cell, Judged, Measured, Setting, distinct};
use crate::compare::SEEDS_MIN;
use crate::stats::{Draws, Interval, bootstrap_mean};
use serde::{Deserialize, Serialize};

/// One policy in one cell, against the reference: a row of `differences.csv`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DifferenceRow {
    /// The workload.
    pub workload: String,
    /// The load.
    pub load: String,
    /// The load is beyond what the reference carries: the numbers are those of this stretch of time.
    pub surge: bool,
    /// What is compared: `wakeup_mean`, …
    pub metric: String,
    /// The policy, without parameters.
    pub policy: String,
    /// `default` or `tuned`.
    pub setting: String,
    /// The policy as it ran.
    pub spelled: String,
    /// Shards that both ran on.
    pub shards: u64,
    /// Runs of the policy that were saturated.
    pub saturated: u64,
    /// Runs of the reference that were saturated.
    pub reference_saturated: u64,
    /// Sessions that failed, all runs of the policy.
    pub failed: u64,
    /// Shards that the comparison rests on.
    pub pairs: u64,
    /// Smallest number of samples in any of the policy's runs.
    pub samples_min: u64,
    /// Mean over those shards \[ns\]; empty where too few are left, as all that follow.
    pub value_ns: Option<f64>,
    /// The same of the reference.
    pub reference_ns: Option<f64>,
    /// Mean over shards of policy minus reference \[ns\].
    pub difference_ns: Option<f64>,
    /// Lower end of its 95 % interval.
    pub difference_ns_low: Option<f64>,
    /// Upper end.
    pub difference_ns_high: Option<f64>,
    /// Policy over reference: geometric mean over shards.
    pub ratio: Option<f64>,
    /// Lower end of its 95 % interval.
    pub ratio_low: Option<f64>,
    /// Upper end.
    pub ratio_high: Option<f64>,
}

impl DifferenceRow {
    /// Whether the interval of the ratio excludes 1.
    pub fn shown(&self) -> bool {
        let interval = self.ratio_low.zip(self.ratio_high);
        interval.is_some_and(|(low, high)| !Interval { low, high }.contains(1.0))
    }
}

/// The table `differences.csv`: by cell, metric and setting, policies in the order of `runs`. The reference runs with its defaults.
pub fn differences(runs: &[Judged], reference: &str) -> Vec<DifferenceRow> {
    let mut rows = Vec::new();
    for cell in distinct(runs.iter().map(|run| &run.cell)) {
        let here: Vec<&Judged> = runs.iter().filter(|run| run.cell == *cell).collect();
        let ours = side(&here, reference, Setting::Default);
        for metric in Measured::ALL {
            for setting in [Setting::Default, Setting::Tuned] {
                let policies = here.iter().filter(|run| run.setting == setting);
                for policy in distinct(policies.map(|run| run.policy.as_str())) {
                    let theirs = side(&here, policy, setting);
                    rows.push(row(cell, metric, &theirs, &ours));
                }
            }
        }
    }
    rows
}

/// The runs of one policy, by shard.
pub(super) fn side<'a>(here: &[&'a Judged], policy: &str, setting: Setting) -> Vec<&'a Judged> {
    let mut side: Vec<&Judged> = here
        .iter()
        .copied()
        .filter(|run| run.policy == policy && run.setting == setting)
        .collect();
    side.sort_by_key(|run| run.shard);
    side
}

/// Values of both sides \[ns\] on the shards that a comparison may rest on.
pub(super) fn pairs(metric: Measured, a: &[&Judged], b: &[&Judged]) -> Vec<(f64, f64)> {
    let steady = |run: &Judged| run.cell.surge || !run.saturated();
    let value = |run: &Judged| metric.of(&run.metrics).filter(|&ns| ns > 0);
    a.iter()
        .filter_map(|a| {
            let b = b.iter().find(|b| b.shard == a.shard)?;
            (steady(a) && steady(b)).then_some(())?;
            Some((value(a)? as f64, value(b)? as f64))
        })
        .collect()
}

/// Mean over pairs of `of`, with its interval; `None` where there are too few.
pub(super) fn over_pairs(
    pairs: &[(f64, f64)],
    of: impl Fn(f64, f64) -> f64,
) -> Option<(f64, Interval)> {
    let within: Vec<f64> = pairs.iter().map(|&(a, b)| of(a, b)).collect();
    if within.len() < SEEDS_MIN {
        return None;
    }
    bootstrap_mean(&within, RESAMPLES, Draws::new(1))
}

fn row(cell: &Cell, metric: Measured, theirs: &[&Judged], ours: &[&Judged]) -> DifferenceRow {
    let pairs = pairs(metric, theirs, ours);
    let count = |of: fn(&Judged) -> bool, runs: &[&Judged]| {
        runs.iter().filter(|run| of(run)).count() as u64
    };
    let samples = |run: &&Judged| match metric {
        Measured::JctMean => run.metrics.jct_count,
        _ => run.metrics.wakeups,
    };
    let ratio = over_pairs(&pairs, |a, b| (a / b).ln());
    let difference = over_pairs(&pairs, |a, b| a - b);
    let first = theirs.first();
    DifferenceRow {
        workload: cell.workload.clone(),
        load: cell.load.clone(),
        surge: cell.surge,
        metric: metric.name().to_owned(),
        policy: first.map_or_else(String::new, |run| run.policy.clone()),
        setting: first.map_or_else(String::new, |run| run.setting.name().to_owned()),
        spelled: first.map_or_else(String::new, |run| run.spelled.clone()),
        shards: theirs.len() as u64,
        saturated: count(Judged::saturated, theirs),
        reference_saturated: count(Judged::saturated, ours),
        failed: theirs.iter().map(|run| run.metrics.failed).sum(),
        pairs: pairs.len() as u64,
        samples_min: theirs.iter().map(samples).min().unwrap_or_default(),
        value_ns: over_pairs(&pairs, |a, _| a).map(|(mean, _)| mean),
        reference_ns: over_pairs(&pairs, |_, b| b).map(|(mean, _)| mean),
        difference_ns: difference.map(|(mean, _)| mean),
        difference_ns_low: difference.map(|(_, interval)| interval.low),
        difference_ns_high: difference.map(|(_, interval)| interval.high),
        ratio: ratio.map(|(mean, _)| mean.exp()),
        ratio_low: ratio.map(|(_, interval)| interval.low.exp()),
        ratio_high: ratio.map(|(_, interval)| interval.high.exp()),
    }
}
