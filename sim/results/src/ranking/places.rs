//! Places in each cell, with ties.

use super::differences::{DifferenceRow, over_pairs, pairs, side};
use super::judged::{Cell, Judged, Measured, Setting, distinct};
use serde::{Deserialize, Serialize};

/// The place of one policy in one cell: a row of `ranking.csv`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlaceRow {
    /// The workload.
    pub workload: String,
    /// The load.
    pub load: String,
    /// What policies are placed by: `wakeup_mean`, …
    pub metric: String,
    /// `default`, or `tuned`: each policy with the parameters that were best on other shards.
    pub setting: String,
    /// Place, from 1; equal for policies that cannot be told apart. Empty where a policy was saturated on too many shards.
    pub place: Option<u64>,
    /// Policies that share it, this one included.
    pub tied: u64,
    /// The policy.
    pub policy: String,
    /// The policy as it ran.
    pub spelled: String,
    /// Policy over reference: geometric mean over shards.
    pub ratio: Option<f64>,
    /// Lower end of its 95 % interval.
    pub ratio_low: Option<f64>,
    /// Upper end.
    pub ratio_high: Option<f64>,
    /// Runs of the policy that were saturated.
    pub saturated: u64,
    /// Runs of the policy.
    pub shards: u64,
}

/// The table `ranking.csv`: by cell, metric and setting, best first; `differences` are those of the same runs.
pub fn places(runs: &[Judged], differences: &[DifferenceRow]) -> Vec<PlaceRow> {
    let mut rows = Vec::new();
    let tuned = runs.iter().any(|run| run.setting == Setting::Tuned);
    for cell in distinct(runs.iter().map(|run| &run.cell)) {
        let here: Vec<&Judged> = runs.iter().filter(|run| run.cell == *cell).collect();
        for metric in Measured::ALL {
            let settings = [Setting::Default, Setting::Tuned];
            for setting in settings.into_iter().take(1 + usize::from(tuned)) {
                rows.extend(in_cell(cell, &here, metric, setting, differences));
            }
        }
    }
    rows
}

/// A policy on its way to a place.
struct Candidate<'a> {
    runs: Vec<&'a Judged>,
    row: &'a DifferenceRow,
}

fn in_cell(
    cell: &Cell,
    here: &[&Judged],
    metric: Measured,
    setting: Setting,
    differences: &[DifferenceRow],
) -> Vec<PlaceRow> {
    let policies = distinct(here.iter().map(|run| run.policy.as_str()));
    let mut candidates: Vec<Candidate<'_>> = policies
        .into_iter()
        .filter_map(|policy| {
            // Where tuning changed nothing there are no runs of its own.
            let own = side(here, policy, setting);
            let setting = if own.is_empty() {
                Setting::Default
            } else {
                setting
            };
            let row = differences.iter().find(|row| {
                row.workload == cell.workload
                    && row.load == cell.load
                    && row.metric == metric.name()
                    && row.policy == policy
                    && row.setting == setting.name()
            })?;
            let runs = side(here, policy, setting);
            Some(Candidate { runs, row })
        })
        .collect();
    // A stable sort: equal ratios keep the order of the table.
    candidates.sort_by(|a, b| {
        let ratio = |c: &Candidate<'_>| c.row.ratio.unwrap_or(f64::INFINITY);
        ratio(a)
            .total_cmp(&ratio(b))
            .then(a.row.saturated.cmp(&b.row.saturated))
    });
    let leaders = leaders(metric, &candidates);
    let rows = candidates.iter().zip(&leaders).map(|(candidate, leader)| {
        let row = candidate.row;
        PlaceRow {
            workload: cell.workload.clone(),
            load: cell.load.clone(),
            metric: metric.name().to_owned(),
            setting: setting.name().to_owned(),
            place: leader.map(|leader| leader as u64 + 1),
            tied: leaders.iter().filter(|other| *other == leader).count() as u64,
            policy: row.policy.clone(),
            spelled: row.spelled.clone(),
            ratio: row.ratio,
            ratio_low: row.ratio_low,
            ratio_high: row.ratio_high,
            saturated: row.saturated,
            shards: row.shards,
        }
    });
    rows.collect()
}

/// For each candidate the index of the one that leads its group; none where it has no ratio.
fn leaders(metric: Measured, candidates: &[Candidate<'_>]) -> Vec<Option<usize>> {
    let mut leader = 0;
    let lead = |(index, candidate): (usize, &Candidate<'_>)| {
        candidate.row.ratio?;
        if index > 0 && differs(metric, candidate, &candidates[leader]) {
            leader = index;
        }
        Some(leader)
    };
    candidates.iter().enumerate().map(lead).collect()
}

/// Whether the paired interval of two policies excludes "equal". Without enough pairs nothing is shown.
fn differs(metric: Measured, a: &Candidate<'_>, b: &Candidate<'_>) -> bool {
    let pairs = pairs(metric, &a.runs, &b.runs);
    over_pairs(&pairs, |a, b| (a / b).ln()).is_some_and(|(_, interval)| !interval.contains(0.0))
}
