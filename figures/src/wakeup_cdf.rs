//! Figure: the policy decides the tail of the wake-up latency far more than its median.
//!
//! Runs:   every run below the folder that kept `turns.csv`
//! Output: `wakeup_cdf.{svg,pdf,png}`, `wakeup_cdf.csv`
//! Shows:  the distribution of wake-up latency per policy, wake-ups of all seeds and draws pooled; above the share
//!         that is at most so long, below the share that is at least so long, on a log scale
//!
//! A percentile is the nearest rank, as everywhere: the curve steps at values that occurred.

use crate::FigureError;
use crate::axis::Axis;
use crate::canvas::{Point, Rect, Stroke, draw};
use crate::format::grouped;
use crate::legend::{Key, Legend};
use crate::panel::{Labels, Panel, TICK_ROW, TITLE_ROW, left_margin};
use crate::render::write_with_table;
use crate::runs::{self, RunTurns, policies_of};
use crate::theme::{COLUMN, LINE, MARKER, Style, policy_styles};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Name of the figure and stem of its files.
pub const NAME: &str = "wakeup_cdf";
/// What it is made from.
pub const NEEDS: &str = "a run folder with `turns.csv`";

/// Makes the figure from the runs at or below `folder`: one for each setting that they were run in.
///
/// # Errors
/// If there is no run, none has a wake-up, or a file cannot be read or written.
pub fn make(folder: &Path, out: &Path) -> Result<Vec<PathBuf>, FigureError> {
    let groups = runs::read_for(NAME, NEEDS, folder)?;
    let mut files = Vec::new();
    for (label, runs) in groups {
        let rows = table(&runs);
        let stem = runs::stem(NAME, &label);
        files.extend(write_with_table(out, &stem, &svg(&rows), &rows)?);
    }
    Ok(files)
}

/// Steps of a curve that has more samples than it could show.
const STEPS: u64 = 400;

/// One step of the distribution of one policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CdfRow {
    /// Whose wake-ups.
    pub policy: String,
    /// Wake-ups in all runs of this policy.
    pub wakeups: u64,
    /// Runs of this policy.
    pub runs: u64,
    /// Rank of this sample, from 1 (shortest) to `wakeups`; empty if there is none.
    pub rank: Option<u64>,
    /// The sample \[ns\].
    pub wakeup_ns: Option<u64>,
}

/// The table behind the figure: per policy the samples at `STEPS` even ranks and ever more of them
/// towards the slowest; all samples if there are few. A policy without wake-ups has one row that says so.
pub fn table(runs: &[RunTurns]) -> Vec<CdfRow> {
    let mut rows = Vec::new();
    for policy in policies_of(runs) {
        let own = || runs.iter().filter(|run| run.policy == policy);
        let mut samples: Vec<u64> = own()
            .flat_map(|run| &run.wakeups)
            .map(|t| t.first_token_ns - t.ready_ns)
            .collect();
        samples.sort_unstable();
        let row = |rank: Option<u64>| CdfRow {
            policy: policy.clone(),
            wakeups: samples.len() as u64,
            runs: own().count() as u64,
            rank,
            wakeup_ns: rank.map(|r| samples[r as usize - 1]),
        };
        if samples.is_empty() {
            rows.push(row(None));
        }
        rows.extend(
            ranks(samples.len() as u64)
                .into_iter()
                .map(|rank| row(Some(rank))),
        );
    }
    rows
}

/// Which of `n` ranks are kept: even steps of the distribution, and of its complement on a log scale.
fn ranks(n: u64) -> Vec<u64> {
    if n <= STEPS {
        return (1..=n).collect();
    }
    let mut ranks: Vec<u64> = (1..=STEPS)
        .map(|k| (u128::from(n) * u128::from(k)).div_ceil(u128::from(STEPS)) as u64)
        .collect();
    let mut above = 0;
    while above < n / 2 {
        ranks.push(n - above);
        above += above / 40 + 1;
    }
    ranks.push(1);
    ranks.sort_unstable();
    ranks.dedup();
    ranks
}

/// Draws the table; the SVG.
pub fn svg(rows: &[CdfRow]) -> String {
    let mut policies: Vec<String> = Vec::new();
    for row in rows {
        if policies.last() != Some(&row.policy) {
            policies.push(row.policy.clone());
        }
    }
    let styles = policy_styles(&policies);
    let curves: Vec<Curve> = policies
        .iter()
        .zip(&styles)
        .enumerate()
        .map(|(index, (policy, style))| {
            Curve::new(rows, policy, *style, index as f64 / policies.len() as f64)
        })
        .collect();
    // One count for all is said once, which leaves room for two columns.
    let n = |c: &Curve| format!("n = {}", grouped(c.count as f64, 0));
    let same = curves.len() > 1 && curves.iter().all(|c| c.count == curves[0].count);
    let entry = |c: &Curve| {
        let text = if same {
            c.policy.to_owned()
        } else {
            format!("{} ({})", c.policy, n(c))
        };
        (Key::Policy(c.style), text)
    };
    let x_title = if same {
        format!("wake-up latency x [s] ({} each)", n(&curves[0]))
    } else {
        "wake-up latency x [s]".to_owned()
    };
    let legend = Legend::new(curves.iter().map(entry).collect(), COLUMN - 4.0);

    let x = Axis::log(curves.iter().flat_map(|c| &c.samples).map(|s| s.seconds));
    let most = curves.iter().map(|c| c.count).max().unwrap_or(1).max(10);
    // One wake-up in 10,000 is as deep as a tail of some thousand samples can be read.
    let deepest = (1.0 / most as f64).max(1e-4);
    let below = Axis::linear(0.0, 1.0, 4);
    let above = Axis::log_range(deepest, 1.0);
    let label_width = below.label_width().max(above.label_width());
    let (left, right) = (left_margin(label_width), COLUMN - 8.0);
    let top = legend.height() + 8.0;
    let (cdf, tail) = (110.0, 86.0);
    let second = top + cdf + 12.0;
    let height = second + tail + TICK_ROW + TITLE_ROW + 3.0;

    draw(COLUMN, height, |canvas| {
        legend.draw(canvas, 2.0, COLUMN - 2.0, 2.0);
        let rect = Rect {
            left,
            top,
            right,
            bottom: top + cdf,
        };
        let panel = Panel {
            rect,
            x: x.clone(),
            y: below,
        };
        panel.grid(canvas, true);
        for curve in &curves {
            curve.draw(canvas, &panel, false, deepest);
        }
        panel.frame(
            canvas,
            Labels {
                y: Some("share ≤ x"),
                ..Labels::default()
            },
            label_width,
        );

        let rect = Rect {
            left,
            top: second,
            right,
            bottom: second + tail,
        };
        let panel = Panel { rect, x, y: above };
        panel.grid(canvas, true);
        for curve in &curves {
            curve.draw(canvas, &panel, true, deepest);
        }
        let labels = Labels {
            x: Some(&x_title),
            y: Some("share ≥ x"),
            ..Labels::default()
        };
        panel.frame(canvas, labels, label_width);
    })
}

struct Sample {
    seconds: f64,
    at_most: f64,
    at_least: f64,
}

struct Curve<'a> {
    policy: &'a str,
    style: Style,
    count: u64,
    samples: Vec<Sample>,
    /// Place of the policy among all, from 0 to 1: its markers are shifted by it, so that curves that
    /// coincide can be told apart.
    phase: f64,
}

impl<'a> Curve<'a> {
    fn new(rows: &[CdfRow], policy: &'a str, style: Style, phase: f64) -> Self {
        let own: Vec<&CdfRow> = rows.iter().filter(|row| row.policy == policy).collect();
        let sample = |row: &&CdfRow| {
            let (rank, ns) = (row.rank?, row.wakeup_ns?);
            let count = row.wakeups as f64;
            Some(Sample {
                seconds: ns as f64 / 1e9,
                at_most: rank as f64 / count,
                at_least: (row.wakeups - rank + 1) as f64 / count,
            })
        };
        let count = own.first().map_or(0, |row| row.wakeups);
        Self {
            policy,
            style,
            count,
            samples: own.iter().filter_map(sample).collect(),
            phase,
        }
    }

    fn draw(
        &self,
        canvas: &mut crate::canvas::Canvas<'_>,
        panel: &Panel,
        tail: bool,
        deepest: f64,
    ) {
        let share = |s: &Sample| if tail { s.at_least } else { s.at_most };
        let low = panel.x.range().0;
        // P(X <= x) rises at a sample; P(X >= x) is 1 up to the first one and falls just after each.
        let mut points: Vec<Point> = Vec::new();
        let (mut x, mut level) = (low, 0.0);
        for sample in &self.samples {
            let next = sample.seconds.max(low);
            if tail && sample.at_least < deepest * (1.0 - 1e-9) {
                break;
            }
            let through = if tail {
                (x, share(sample))
            } else {
                (next, level)
            };
            points.extend([through, (next, share(sample))]);
            (x, level) = (next, share(sample));
        }
        if tail && !points.is_empty() {
            points.push((x, deepest));
        }
        let stroke = Stroke {
            color: self.style.color,
            width: LINE,
            dash: self.style.dash,
        };
        panel.line(canvas, &points, stroke);
        for mark in self.marks(tail) {
            let reached = |s: &&Sample| {
                if tail {
                    s.at_least <= mark
                } else {
                    s.at_most >= mark
                }
            };
            let found = self.samples.iter().find(reached);
            if let Some(sample) = found.filter(|s| !tail || s.at_least > 1.5 * deepest) {
                let at = panel.at(sample.seconds.max(low), share(sample));
                canvas.marker(at, self.style.marker, MARKER, self.style.color, false);
            }
        }
    }

    /// Shares at which a marker is put.
    fn marks(&self, tail: bool) -> Vec<f64> {
        if tail {
            (0..8)
                .map(|k| 10f64.powf(-(f64::from(k) + 0.25 + self.phase) / 1.5))
                .collect()
        } else {
            (0..4)
                .map(|k| (f64::from(k) + 0.25 + 0.7 * self.phase) / 4.0)
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::testing::run;

    #[test]
    fn wake_ups_of_all_seeds_of_a_policy_are_pooled_and_sorted() {
        let runs = [
            run("djinn", 1, &[30, 10]),
            run("djinn", 2, &[20]),
            run("vllm-recompute", 1, &[5]),
        ];
        let rows = table(&runs);
        let of = |policy: &str| -> Vec<_> {
            rows.iter()
                .filter(|r| r.policy == policy)
                .map(|r| (r.rank, r.wakeup_ns))
                .collect()
        };
        assert_eq!(
            of("djinn"),
            [
                (Some(1), Some(10)),
                (Some(2), Some(20)),
                (Some(3), Some(30))
            ]
        );
        assert_eq!(of("vllm-recompute"), [(Some(1), Some(5))]);
        assert_eq!(
            (rows[0].policy.as_str(), rows[1].runs, rows[1].wakeups),
            ("vllm-recompute", 2, 3)
        );
    }

    #[test]
    fn a_policy_without_wake_ups_is_listed_and_has_no_curve() {
        let rows = table(&[run("djinn", 1, &[]), run("keep-always", 1, &[1_000_000])]);
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[1].wakeups, rows[1].rank), (0, None));
        assert!(svg(&rows).contains("djinn (n = 0)"));
    }

    #[test]
    fn many_samples_are_thinned_but_the_extremes_stay() {
        let kept = ranks(1_000_000);
        assert!(kept.len() < 1_000, "{}", kept.len());
        assert_eq!((kept[0], *kept.last().unwrap()), (1, 1_000_000));
        // The 2,500 slowest are 0.25 %: without more ranks there the tail would end at one step.
        assert!(kept.iter().filter(|&&rank| rank > 997_500).count() > 50);
        assert!(kept.windows(2).all(|pair| pair[1] - pair[0] <= 2_500));
        assert!(kept.contains(&990_000) && kept.contains(&500_000));
    }
}
