//! Figure: how many agents one GPU carries before wake-ups become slow, by policy.
//!
//! Runs:   `runs.csv` of a sweep over agents (or load), policies, seeds and draws
//! Output: `wakeup_vs_agents.{svg,pdf,png}`, `wakeup_vs_agents.csv`
//! Shows:  P50 and P99 of each run; the line is the median over the stable runs, the band reaches
//!         from their smallest to their largest. Each saturated run is an open marker of its own: the
//!         latency of a queue that never settles is a matter of when one stopped looking, so it enters
//!         no median. A P99 that rests on fewer than 1,000 wake-ups in any of its runs has a white dot.

use crate::FigureError;
use crate::axis::Axis;
use crate::canvas::{Canvas, Rect, Stroke, draw};
use crate::legend::{Key, Legend};
use crate::panel::{Labels, Panel, TICK_ROW, TITLE_ROW, left_margin};
use crate::render::write_with_table;
use crate::runs;
use crate::sweep::{self, RunPoint};
use crate::theme::{INK, LINE, MARKER, Marker, PAGE, Rgb, Style, policy_styles, sort_policies};
use results::stats::Quantile;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name of the figure and stem of its files.
pub const NAME: &str = "wakeup_vs_agents";
/// What it is made from.
pub const NEEDS: &str = "a `runs.csv` of a sweep over a number such as `workload.sessions`";

/// Makes the figure from `runs.csv` in `folder`: one for each setting of what else was varied.
///
/// # Errors
/// If there is no such file, it varies no number, or a file cannot be read or written.
pub fn make(folder: &Path, out: &Path) -> Result<Vec<PathBuf>, FigureError> {
    let sweep = sweep::read(NAME, NEEDS, folder)?;
    let mut files = Vec::new();
    for (label, points) in &sweep.groups {
        let rows = table(points);
        let stem = runs::stem(NAME, label);
        files.extend(write_with_table(
            out,
            &stem,
            &svg(&rows, &sweep.load_title),
            &rows,
        )?);
    }
    Ok(files)
}

/// One quantile of one policy at one load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadRow {
    /// Policy.
    pub policy: String,
    /// Number of agents, or load.
    pub load: f64,
    /// `p50` or `p99`.
    pub quantile: &'static str,
    /// Runs that were stable and had wake-ups.
    pub stable_runs: u64,
    /// Smallest value among the stable runs \[ns\].
    pub wakeup_ns_min: Option<u64>,
    /// Median of the stable runs \[ns\] (nearest rank).
    pub wakeup_ns_median: Option<u64>,
    /// Largest value among the stable runs \[ns\].
    pub wakeup_ns_max: Option<u64>,
    /// Runs that were saturated.
    pub saturated_runs: u64,
    /// Their values, upwards, separated by `;` \[ns\].
    pub saturated_ns: String,
    /// Stable runs whose value rests on fewer than 1,000 wake-ups; of P99 only.
    pub marked_runs: u64,
}

/// The table behind the figure: by quantile, policy and load.
pub fn table(points: &[RunPoint]) -> Vec<LoadRow> {
    let mut policies: Vec<String> = points.iter().map(|p| p.policy.clone()).collect();
    sort_policies(&mut policies);
    policies.dedup();
    let mut rows = Vec::new();
    for quantile in ["p50", "p99"] {
        for policy in &policies {
            let mut by_load: BTreeMap<Load, Vec<&RunPoint>> = BTreeMap::new();
            for point in points.iter().filter(|p| p.policy == *policy) {
                by_load.entry(Load(point.load)).or_default().push(point);
            }
            rows.extend(
                by_load
                    .into_iter()
                    .map(|(load, runs)| row(policy, load.0, quantile, &runs)),
            );
        }
    }
    rows
}

fn row(policy: &str, load: f64, quantile: &'static str, runs: &[&RunPoint]) -> LoadRow {
    let value = |p: &&&RunPoint| {
        if quantile == "p50" {
            p.p50_ns
        } else {
            p.p99_ns
        }
    };
    let values = |saturated: bool| -> Vec<u64> {
        let mut values: Vec<u64> = runs
            .iter()
            .filter(|p| p.saturated == saturated)
            .filter_map(|p| value(&p))
            .collect();
        values.sort_unstable();
        values
    };
    let (stable, saturated) = (values(false), values(true));
    LoadRow {
        policy: policy.to_owned(),
        load,
        quantile,
        stable_runs: stable.len() as u64,
        wakeup_ns_min: stable.first().copied(),
        wakeup_ns_median: Quantile::P50.of_sorted(&stable),
        wakeup_ns_max: stable.last().copied(),
        saturated_runs: saturated.len() as u64,
        saturated_ns: saturated
            .iter()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join(";"),
        marked_runs: runs
            .iter()
            .filter(|p| quantile == "p99" && p.p99_marked && !p.saturated)
            .count() as u64,
    }
}

/// A load as a key: ordered as numbers are.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Load(f64);

impl Eq for Load {}

impl PartialOrd for Load {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Load {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Draws the table; the SVG. `load_title` names the x axis and its unit.
pub fn svg(rows: &[LoadRow], load_title: &str) -> String {
    let mut policies: Vec<String> = rows.iter().map(|r| r.policy.clone()).collect();
    sort_policies(&mut policies);
    policies.dedup();
    let styles = policy_styles(&policies);
    let mut entries: Vec<(Key, String)> = policies
        .iter()
        .zip(&styles)
        .map(|(p, s)| (Key::Policy(*s), p.clone()))
        .collect();
    if rows.iter().any(|r| r.saturated_runs > 0) {
        entries.push((
            Key::Point(Marker::Circle, INK, true),
            "open: saturated run".to_owned(),
        ));
    }
    if rows.iter().any(|r| r.marked_runs > 0) {
        entries.push((
            Key::Dotted(Marker::Circle, INK),
            "dot: of fewer than 1,000 wake-ups".to_owned(),
        ));
    }
    let legend = Legend::new(entries, PAGE - 8.0);

    let y = Axis::log(rows.iter().flat_map(values_of));
    let mut loads: Vec<f64> = rows.iter().map(|r| r.load).collect();
    loads.sort_by(f64::total_cmp);
    loads.dedup();
    let x = load_axis(&loads);

    let label_width = y.label_width();
    let left = left_margin(label_width) + 2.0;
    let (middle, depth) = (14.0, 130.0);
    let width = (PAGE - left - middle - 8.0) / 2.0;
    let top = legend.height() + 22.0;
    let height = top + depth + TICK_ROW + TITLE_ROW + 3.0;

    draw(PAGE, height, |canvas| {
        legend.draw(canvas, 2.0, PAGE - 2.0, 2.0);
        for (index, (quantile, title)) in [("p50", "P50"), ("p99", "P99")].into_iter().enumerate() {
            let start = left + index as f64 * (width + middle);
            let rect = Rect {
                left: start,
                top,
                right: start + width,
                bottom: top + depth,
            };
            let panel = Panel {
                rect,
                x: x.clone(),
                y: y.clone(),
            };
            panel.grid(canvas, false);
            // Markers of all policies side by side take at most half the room between two loads.
            let places = loads
                .windows(2)
                .map(|pair| panel.x_at(pair[1]) - panel.x_at(pair[0]));
            let step = (places.fold(width, f64::min) / 2.0 / policies.len().max(1) as f64).min(3.4);
            let series = |policy: &String| -> Vec<&LoadRow> {
                rows.iter()
                    .filter(|r| r.quantile == quantile && r.policy == *policy)
                    .collect()
            };
            for (policy, style) in policies.iter().zip(&styles) {
                draw_band(canvas, &panel, &series(policy), style.color);
            }
            for (policy, style) in policies.iter().zip(&styles) {
                draw_edges(canvas, &panel, &series(policy), style.color);
            }
            for (index, (policy, style)) in policies.iter().zip(&styles).enumerate() {
                let aside = (index as f64 - (policies.len() - 1) as f64 / 2.0) * step;
                draw_saturated(canvas, &panel, &series(policy), *style, aside);
            }
            for (policy, style) in policies.iter().zip(&styles) {
                draw_line(canvas, &panel, &series(policy), *style);
            }
            let labels = Labels {
                x: Some(load_title),
                y: (index == 0).then_some("wake-up latency [s]"),
                no_y_ticks: index > 0,
                title: Some(title),
                ..Labels::default()
            };
            panel.frame(canvas, labels, label_width);
        }
    })
}

/// An axis that shows the loads themselves where they are few, logarithmic where they span a decade.
fn load_axis(loads: &[f64]) -> Axis {
    let (low, high) = (
        loads.first().copied().unwrap_or(0.0),
        loads.last().copied().unwrap_or(1.0),
    );
    let axis = if low > 0.0 && high / low >= 8.0 {
        let edge = (high / low).powf(0.04);
        Axis::log_range(low / edge, high * edge)
    } else {
        let edge = if high > low {
            (high - low) * 0.05
        } else {
            high.abs().max(1.0) * 0.5
        };
        Axis::linear(low - edge, high + edge, 6)
    };
    if loads.len() <= 12 {
        axis.with_ticks(loads)
    } else {
        axis
    }
}

fn saturated(row: &LoadRow) -> impl Iterator<Item = f64> + '_ {
    row.saturated_ns
        .split(';')
        .filter_map(|ns| ns.parse::<f64>().ok())
        .map(|ns| ns / 1e9)
}

fn values_of(row: &LoadRow) -> Vec<f64> {
    let stable = [row.wakeup_ns_min, row.wakeup_ns_max]
        .into_iter()
        .flatten()
        .map(|ns| ns as f64 / 1e9);
    stable.chain(saturated(row)).collect()
}

fn seconds(ns: Option<u64>) -> Option<f64> {
    ns.map(|ns| ns as f64 / 1e9)
}

fn draw_band(canvas: &mut Canvas<'_>, panel: &Panel, rows: &[&LoadRow], color: Rgb) {
    let edge = |r: &&LoadRow| Some((r.load, seconds(r.wakeup_ns_min)?, seconds(r.wakeup_ns_max)?));
    let points: Vec<(f64, f64, f64)> = rows.iter().filter_map(edge).collect();
    if points.len() > 1 {
        panel.band(canvas, &points, color.pale(0.16));
    } else if let [(load, low, high)] = points[..] {
        panel.line(
            canvas,
            &[(load, low), (load, high)],
            Stroke::solid(color, 0.8),
        );
    }
}

/// The edges of a band, drawn after all bands: they show where one lies under another.
fn draw_edges(canvas: &mut Canvas<'_>, panel: &Panel, rows: &[&LoadRow], color: Rgb) {
    for edge in [|r: &LoadRow| r.wakeup_ns_min, |r: &LoadRow| r.wakeup_ns_max] {
        let points: Vec<_> = rows
            .iter()
            .filter_map(|r| Some((r.load, seconds(edge(r))?)))
            .collect();
        panel.line(canvas, &points, Stroke::solid(color.pale(0.45), 0.4));
    }
}

fn draw_line(canvas: &mut Canvas<'_>, panel: &Panel, rows: &[&LoadRow], style: Style) {
    let median = |r: &&LoadRow| Some((r.load, seconds(r.wakeup_ns_median)?));
    let points: Vec<(f64, f64)> = rows.iter().filter_map(median).collect();
    let marked = rows.iter().filter(|r| r.marked_runs > 0);
    let dots: Vec<(f64, f64)> = marked.filter_map(median).collect();
    let stroke = Stroke {
        color: style.color,
        width: LINE,
        dash: style.dash,
    };
    panel.line(canvas, &points, stroke);
    for (load, value) in points {
        canvas.marker(
            panel.at(load, value),
            style.marker,
            MARKER,
            style.color,
            false,
        );
    }
    for (load, value) in dots {
        canvas.dot(panel.at(load, value));
    }
}

/// Saturated runs as open markers, set `aside` of their load so that those of other policies are seen.
fn draw_saturated(
    canvas: &mut Canvas<'_>,
    panel: &Panel,
    rows: &[&LoadRow],
    style: Style,
    aside: f64,
) {
    for (load, value) in rows.iter().flat_map(|r| saturated(r).map(|v| (r.load, v))) {
        let (x, y) = panel.at(load, value);
        canvas.marker(
            (x + aside, y),
            style.marker,
            MARKER - 1.0,
            style.color,
            true,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(policy: &str, load: f64, p99_ns: u64, saturated: bool) -> RunPoint {
        let p50_ns = Some(p99_ns / 10);
        RunPoint {
            policy: policy.into(),
            load,
            p50_ns,
            p99_ns: Some(p99_ns),
            p99_marked: false,
            saturated,
        }
    }

    #[test]
    fn seeds_give_a_median_between_their_extremes() {
        let rows = table(&[
            point("djinn", 20.0, 300, false),
            point("djinn", 20.0, 100, false),
            point("djinn", 20.0, 200, false),
        ]);
        let p99 = rows.iter().find(|r| r.quantile == "p99").unwrap();
        let shown = (p99.wakeup_ns_min, p99.wakeup_ns_median, p99.wakeup_ns_max);
        assert_eq!(shown, (Some(100), Some(200), Some(300)));
        assert_eq!((p99.stable_runs, p99.saturated_runs), (3, 0));
    }

    #[test]
    fn a_saturated_run_enters_no_median_and_is_shown_for_itself() {
        let rows = table(&[
            point("djinn", 20.0, 100, false),
            point("djinn", 20.0, 9_000_000, true),
            point("djinn", 40.0, 8_000_000, true),
        ]);
        let p99: Vec<_> = rows.iter().filter(|r| r.quantile == "p99").collect();
        assert_eq!(
            (p99[0].wakeup_ns_median, p99[0].saturated_ns.as_str()),
            (Some(100), "9000000")
        );
        assert_eq!((p99[1].wakeup_ns_median, p99[1].stable_runs), (None, 0));
        assert!(svg(&rows, "agents").contains("saturated run"));
    }

    #[test]
    fn a_p99_of_few_samples_is_marked_in_table_and_drawing() {
        let few = RunPoint {
            p99_marked: true,
            ..point("djinn", 20.0, 100, false)
        };
        let rows = table(&[few, point("djinn", 40.0, 100, false)]);
        let marked: Vec<_> = rows.iter().map(|r| (r.quantile, r.marked_runs)).collect();
        assert_eq!(marked, [("p50", 0), ("p50", 0), ("p99", 1), ("p99", 0)]);
        assert!(svg(&rows, "agents").contains("fewer than 1,000 wake-ups"));
        assert!(!svg(&rows[..2], "agents").contains("fewer than 1,000 wake-ups"));
    }

    #[test]
    fn a_run_without_wake_ups_leaves_its_point_empty() {
        let none = RunPoint {
            p50_ns: None,
            p99_ns: None,
            ..point("djinn", 1.0, 10, false)
        };
        let rows = table(&[none]);
        assert!(
            rows.iter()
                .all(|r| r.wakeup_ns_median.is_none() && r.stable_runs == 0)
        );
        assert!(svg(&rows, "agents").contains("djinn"));
    }

    #[test]
    fn loads_are_ordered_as_numbers() {
        let rows = table(&[10.0, 9.0, 100.0].map(|load| point("djinn", load, 10, false)));
        let loads: Vec<f64> = rows.iter().take(3).map(|r| r.load).collect();
        assert_eq!(loads, [9.0, 10.0, 100.0]);
    }
}
