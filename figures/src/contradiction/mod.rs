//! Figures: two publications contradict each other; the variable that decides which of them is right.
//!
//! ```text
//!   <folder>/<panel>/runs.csv ──► curves: per panel, series and value of the variable, pairs of runs (reference, series)
//!                                   │ ratio of a metric, geometric mean over seeds, 95 % interval
//!                                   └ where the ratio crosses 1, with its 95 % interval
//! ```
//!
//! Runs:   `configs/experiments/contradiction-*.toml`, one sweep for each panel
//! Output: `<name>.{svg,pdf,png}`; `<name>.csv`, the points; `<name>_crossings.csv`
//! Shows:  each series relative to the reference, bands are intervals; bars on the line at 1 are crossings; bars in the margin are the
//!         ratios that were published, each on the side where its publication stands
//!
//! What each figure compares is data ([`specs`]); how it is read and drawn is the same for all. Runs are paired by seed, which stands for
//! the same sessions under every policy and at every value. A dotted line is where the KV of all sessions that are live at once would just
//! fit: to the side without room policies differ, to the other they need not.

mod draw;
pub mod specs;

use crate::FigureError;
use crate::render::{write_csv, write_with_table};
use crate::runs::{Setting, flatten};
use results::compare::{Bootstrap, Crossing};
use results::metrics::RunMetrics;
use results::runs::{RunRow, read_runs};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What one figure compares.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Name of the figure and stem of its files.
    pub name: &'static str,
    /// What it is made from.
    pub needs: &'static str,
    /// The policy that every series is divided by.
    pub reference: &'static str,
    /// The policies that are compared with it.
    pub series: &'static [Series],
    /// One or two.
    pub panels: &'static [PanelSpec],
}

/// A policy that is compared with the reference.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// As `runs.csv` has it.
    pub policy: &'static str,
    /// As the legend has it.
    pub label: &'static str,
}

/// One variable, and what is looked at while it varies.
#[derive(Clone, Copy, Debug)]
pub struct PanelSpec {
    /// Folder of the sweep, below that of the figure.
    pub folder: &'static str,
    /// Key of the sweep that varies.
    pub key: &'static str,
    /// What it is called on the axis, with its unit.
    pub x_title: &'static str,
    /// What is compared.
    pub metric: Metric,
    /// Who is ahead above 1.
    pub above: &'static str,
    /// Who is ahead below 1.
    pub below: &'static str,
    /// What was published, as ratios of the same kind.
    pub claims: &'static [Claim],
}

/// A published ratio.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Whose.
    pub source: &'static str,
    /// Smallest that is reported.
    pub low: f64,
    /// Largest.
    pub high: f64,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Turns per second, from the first arrival to the last token.
    Throughput,
    /// Mean completion time of a session.
    Completion,
    /// 99 % quantile of the wake-up latency.
    WakeupP99,
}

impl Metric {
    /// As in a sentence.
    pub fn title(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Completion => "completion time",
            Self::WakeupP99 => "P99 wake-up",
        }
    }

    fn of(self, metrics: &RunMetrics) -> Option<f64> {
        match self {
            Self::Throughput => metrics.turns_per_s,
            Self::Completion => metrics.jct_ns_mean.map(|ns| ns as f64),
            Self::WakeupP99 => metrics.wakeup_ns_p99.map(|ns| ns as f64),
        }
    }
}

/// A series in a panel.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Which panel of the figure, from 0.
    pub panel: usize,
    /// Which of its series.
    pub series: Series,
    /// By increasing value of the variable.
    pub points: Vec<Point>,
}

/// A series at one value of the variable.
#[derive(Clone, Debug)]
pub struct Point {
    /// The value.
    pub x: f64,
    /// The metric under the reference and under the series, by seed.
    pub pairs: Vec<(f64, f64)>,
    /// Peak KV of the sessions that are live at once, over HBM and over HBM and host memory: means over seeds.
    pub demand: (f64, f64),
}

/// A row of the table behind a figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RatioRow {
    /// Folder of the panel.
    pub panel: String,
    /// What is compared.
    pub metric: String,
    /// Value of the variable.
    pub x: f64,
    /// Policy.
    pub policy: String,
    /// Pairs of runs.
    pub pairs: usize,
    /// Mean of the metric under the reference; seconds are nanoseconds, as in `runs.csv`.
    pub reference: f64,
    /// Mean of the metric under the policy.
    pub value: f64,
    /// Geometric mean of the ratio.
    pub ratio: f64,
    /// Lower end of its 95 % interval over seeds.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Peak KV of the sessions that are live at once over HBM.
    pub demand_hbm: f64,
    /// The same over HBM and host memory.
    pub demand_both: f64,
}

/// A row of the table of crossings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CrossingRow {
    /// Folder of the panel.
    pub panel: String,
    /// What is compared.
    pub metric: String,
    /// Policy.
    pub policy: String,
    /// Value of the variable at which the ratio is 1.
    pub x: f64,
    /// Lower end of its 95 % interval over seeds.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Share of the resamples that cross in this direction.
    pub share: f64,
    /// Whether the ratio rises there.
    pub rises: bool,
}

impl Curve {
    /// Where the ratio crosses 1 by more than chance: in at least 95 % of the resamples.
    pub fn crossings(&self) -> Vec<Crossing> {
        let points: Vec<_> = self.points.iter().map(|p| (p.x, p.pairs.clone())).collect();
        let all = Bootstrap::default().crossings(&points);
        all.into_iter().filter(|c| c.share >= 0.95).collect()
    }
}

/// The curves of a figure, from the sweeps below `folder`: panel by panel, series by series.
///
/// # Errors
/// If a sweep is missing, cannot be read, or lacks a policy.
pub fn curves(spec: &Spec, folder: &Path) -> Result<Vec<Curve>, FigureError> {
    let mut curves = Vec::new();
    for (index, panel) in spec.panels.iter().enumerate() {
        let path = folder.join(panel.folder).join("runs.csv");
        if !path.is_file() {
            return Err(FigureError::Missing {
                figure: spec.name,
                needs: spec.needs,
                folder: folder.to_owned(),
                remedy: "`djinn sweep` writes them: docs/contradictions.md",
            });
        }
        let runs = read_runs(&path)?;
        let by_value = by_value(panel, &path, &runs)?;
        for series in spec.series {
            let points = points(spec.reference, *series, panel.metric, &by_value);
            if points.is_empty() {
                let why = "a policy of the figure, or its reference, has no runs";
                let figure = spec.name;
                return Err(FigureError::Empty { figure, why, path });
            }
            curves.push(Curve {
                panel: index,
                series: *series,
                points,
            });
        }
    }
    Ok(curves)
}

/// Runs by the value of the panel's variable, upwards.
fn by_value<'a>(
    panel: &PanelSpec,
    path: &Path,
    runs: &'a [RunRow],
) -> Result<Vec<(f64, Vec<&'a RunRow>)>, FigureError> {
    let mut groups: Vec<(f64, Vec<&RunRow>)> = Vec::new();
    for (row, run) in runs.iter().enumerate() {
        let mut setting = Setting::new();
        if let Ok(value) = serde_json::from_str(&run.id.params) {
            flatten("", &value, &mut setting);
        }
        let x: Option<f64> = setting.get(panel.key).and_then(|text| text.parse().ok());
        let x = x.filter(|x| *x > 0.0).ok_or_else(|| FigureError::Value {
            path: path.to_owned(),
            row: row + 1,
            column: "params",
            value: run.id.params.clone(),
            expected: "an object with the key that the sweep of this panel varies, above 0",
        })?;
        match groups
            .iter_mut()
            .find(|(other, _)| other.total_cmp(&x).is_eq())
        {
            Some((_, group)) => group.push(run),
            None => groups.push((x, vec![run])),
        }
    }
    groups.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    Ok(groups)
}

/// A series beside the reference. Only seeds that both have at every value: a crossing is one of the same sessions throughout.
fn points(
    reference: &str,
    series: Series,
    metric: Metric,
    by_value: &[(f64, Vec<&RunRow>)],
) -> Vec<Point> {
    // Draws of a seed are courses of the same sessions: their geometric mean stands for it.
    let of = |runs: &[&RunRow], policy: &str| -> BTreeMap<u64, f64> {
        let mut by_seed: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for run in runs.iter().filter(|run| run.id.policy == policy) {
            if let Some(value) = metric.of(&run.metrics) {
                by_seed.entry(run.id.seed).or_default().push(value);
            }
        }
        let mean = |values: Vec<f64>| match values[..] {
            [one] => one,
            _ => (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp(),
        };
        let means = by_seed.into_iter();
        means.map(|(seed, values)| (seed, mean(values))).collect()
    };
    let both: Vec<_> = by_value
        .iter()
        .map(|(x, runs)| (*x, runs, of(runs, reference), of(runs, series.policy)))
        .collect();
    let everywhere = |seed: &u64| {
        both.iter()
            .all(|(_, _, a, b)| a.contains_key(seed) && b.contains_key(seed))
    };
    let seeds: Vec<u64> = both.first().map_or_else(Vec::new, |(_, _, a, _)| {
        a.keys().copied().filter(everywhere).collect()
    });
    if seeds.is_empty() {
        return Vec::new();
    }
    both.into_iter()
        .map(|(x, runs, a, b)| Point {
            x,
            pairs: seeds.iter().map(|seed| (a[seed], b[seed])).collect(),
            demand: demand(runs),
        })
        .collect()
}

fn demand(runs: &[&RunRow]) -> (f64, f64) {
    let mean = |of: &dyn Fn(&RunRow) -> f64| {
        runs.iter().map(|run| of(run)).sum::<f64>() / runs.len().max(1) as f64
    };
    let over = |blocks: u64, run: &RunRow| run.id.demand_blocks as f64 / blocks.max(1) as f64;
    (
        mean(&|run| over(run.id.hbm_blocks, run)),
        mean(&|run| over(run.id.hbm_blocks + run.id.host_blocks, run)),
    )
}

/// The table behind a figure.
pub fn table(spec: &Spec, curves: &[Curve]) -> Vec<RatioRow> {
    let mean =
        |values: &mut dyn Iterator<Item = f64>, count: usize| values.sum::<f64>() / count as f64;
    let mut rows = Vec::new();
    for curve in curves {
        let panel = &spec.panels[curve.panel];
        for point in &curve.points {
            let Some(ratio) = Bootstrap::default().ratio(&point.pairs) else {
                continue;
            };
            rows.push(RatioRow {
                panel: panel.folder.to_owned(),
                metric: panel.metric.title().to_owned(),
                x: point.x,
                policy: curve.series.policy.to_owned(),
                pairs: ratio.pairs,
                reference: mean(&mut point.pairs.iter().map(|(a, _)| *a), ratio.pairs),
                value: mean(&mut point.pairs.iter().map(|(_, b)| *b), ratio.pairs),
                ratio: rounded(ratio.mean),
                low: ratio.interval.map(|interval| rounded(interval.low)),
                high: ratio.interval.map(|interval| rounded(interval.high)),
                demand_hbm: rounded(point.demand.0),
                demand_both: rounded(point.demand.1),
            });
        }
    }
    rows
}

/// The table of crossings.
pub fn crossings(spec: &Spec, curves: &[Curve]) -> Vec<CrossingRow> {
    let row = |curve: &Curve, crossing: Crossing| CrossingRow {
        panel: spec.panels[curve.panel].folder.to_owned(),
        metric: spec.panels[curve.panel].metric.title().to_owned(),
        policy: curve.series.policy.to_owned(),
        x: rounded(crossing.at),
        low: rounded(crossing.interval.low),
        high: rounded(crossing.interval.high),
        share: crossing.share,
        rises: crossing.rises,
    };
    let mut rows = Vec::new();
    for curve in curves {
        rows.extend(curve.crossings().into_iter().map(|c| row(curve, c)));
    }
    rows
}

/// Six significant digits: the last ones of a logarithm may differ between machines, and the tables are compared byte by byte.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().expect("a number")
}

/// Makes a figure from the sweeps below `folder`.
///
/// # Errors
/// If a sweep is missing or cannot be read, or a file cannot be written.
pub fn make(spec: &Spec, folder: &Path, out: &Path) -> Result<Vec<PathBuf>, FigureError> {
    let curves = curves(spec, folder)?;
    let rows = table(spec, &curves);
    let crossings = crossings(spec, &curves);
    let svg = draw::svg(spec, &rows, &crossings);
    let mut files = write_with_table(out, spec.name, &svg, &rows)?;
    let path = out.join(format!("{}_crossings.csv", spec.name));
    files.push(write_csv(&path, &crossings)?);
    Ok(files)
}

#[cfg(test)]
mod tests;
