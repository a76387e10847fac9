//! Figure: most waits of a workload are short, and most of its idle time lies in the few long ones.
//!
//! Runs:   none; input `trace_stat.csv`, written by `djinn trace stat --figure`
//! Output: `trace_stat.{svg,pdf,png}`, `trace_stat.csv`
//! Shows:  above the share of waits that are longer than a time, by who is waited for, with the share of idle time in waits
//!         above a minute; below the distributions of tokens per call, from 5 to 99 %

use crate::FigureError;
use crate::axis::Axis;
use crate::canvas::{Point, Rect, Stroke, draw};
use crate::legend::{Key, Legend};
use crate::panel::{Labels, Panel, TICK_ROW, TITLE_ROW, left_margin};
use crate::render::write_with_table;
use crate::theme::{COLUMN, LINE, MARKER, Style, series_styles};
use results::folder::read_table;
use results::rows::TraceStatRow;
use std::path::{Path, PathBuf};

/// Name of the figure and stem of its files.
pub const NAME: &str = "trace_stat";
/// What it is made from.
pub const NEEDS: &str = "`trace_stat.csv`";
/// Name of that file.
pub const TABLE: &str = "trace_stat.csv";

/// Rows of waits that are drawn, and what they are called.
const WAITS: [(&str, &str); 3] = [
    ("gap_tool_or_mixed_s", "tool"),
    ("gap_human_s", "human"),
    ("gap_unknown_s", "unknown"),
];
/// Rows of tokens that are drawn, and what they are called.
const TOKENS: [(&str, &str); 4] = [
    ("input_tokens", "prompt"),
    ("output_tokens", "output"),
    ("appended_after_tool_tokens", "appended by tools"),
    ("appended_after_human_tokens", "appended by people"),
];

/// Smallest share that the upper panel shows.
const DEEPEST: f64 = 1e-3;

/// Makes the figure from `trace_stat.csv` in `folder`.
///
/// # Errors
/// If there is no such file, it has nothing to draw, or a file cannot be read or written.
pub fn make(folder: &Path, out: &Path) -> Result<Vec<PathBuf>, FigureError> {
    let path = folder.join(TABLE);
    if !path.is_file() {
        return Err(FigureError::Missing {
            figure: NAME,
            needs: NEEDS,
            folder: folder.into(),
            remedy: "`djinn trace stat --figure DIR` writes it",
        });
    }
    let rows: Vec<TraceStatRow> = read_table(&path)?;
    if curves(&rows, &TOKENS, cdf).is_empty() {
        return Err(FigureError::Empty {
            figure: NAME,
            why: "there is no row of tokens",
            path,
        });
    }
    write_with_table(out, NAME, &svg(&rows), &rows)
}

/// A line through points of one quantity.
struct Curve {
    text: String,
    points: Vec<Point>,
    style: Style,
}

/// The curves of those quantities that occur and have points.
fn curves(
    rows: &[TraceStatRow],
    names: &[(&str, &str)],
    points: fn(&TraceStatRow) -> Vec<Point>,
) -> Vec<Curve> {
    let found = names.iter().zip(series_styles(names.len()));
    found
        .filter_map(|((name, label), style)| {
            let row = rows.iter().find(|row| row.quantity == *name)?;
            let points = points(row);
            let share = row.over_60s_share.map(|share| share * 100.0);
            let text = share.map_or((*label).to_owned(), |share| {
                format!("{label}: {share:.0} % of the time in waits > 60 s")
            });
            (!points.is_empty()).then_some(Curve {
                text,
                points,
                style,
            })
        })
        .collect()
}

/// Time against the share of waits that are longer.
fn survival(row: &TraceStatRow) -> Vec<Point> {
    let shares = row.survival().into_iter().flatten();
    let points = TraceStatRow::SURVIVAL_S.into_iter().zip(shares);
    points.filter(|(_, share)| *share >= DEEPEST).collect()
}

/// Tokens against the share of calls that have at most as many.
fn cdf(row: &TraceStatRow) -> Vec<Point> {
    let values = [row.p5, row.p25, row.p50, row.p75, row.p90, row.p95, row.p99];
    let shares = [0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99];
    let points = values.into_iter().zip(shares);
    let known = points.filter_map(|(value, share)| Some((value?, share)));
    known.filter(|(value, _)| *value > 0.0).collect()
}

/// Draws the table; the SVG.
pub fn svg(rows: &[TraceStatRow]) -> String {
    let waits = curves(rows, &WAITS, survival);
    let tokens = curves(rows, &TOKENS, cdf);
    let legend = |curves: &[Curve]| {
        let entry = |curve: &Curve| (Key::Policy(curve.style), curve.text.clone());
        Legend::new(curves.iter().map(entry).collect(), COLUMN - 4.0)
    };
    let (wait_legend, token_legend) = (legend(&waits), legend(&tokens));
    let share = Axis::linear(0.0, 1.0, 4);
    let rare = Axis::log_range(DEEPEST, 1.0);
    let label_width = share.label_width().max(rare.label_width());
    let (left, right) = (left_margin(label_width), COLUMN - 8.0);
    let axis_row = TICK_ROW + TITLE_ROW;
    // Without a single wait, the lower panel stands alone.
    let upper = if waits.is_empty() { 0.0 } else { 90.0 };
    let upper_top = wait_legend.height() + 8.0;
    let lower_legend = if waits.is_empty() {
        2.0
    } else {
        upper_top + upper + axis_row + 8.0
    };
    let lower_top = lower_legend + token_legend.height() + 6.0;
    let lower = 90.0;
    let height = lower_top + lower + axis_row + 3.0;

    draw(COLUMN, height, |canvas| {
        let mut panel_of =
            |curves: &[Curve], x: Axis, y: Axis, (top, bottom), titles: (&str, &str)| {
                let rect = Rect {
                    left,
                    top,
                    right,
                    bottom,
                };
                let panel = Panel { rect, x, y };
                panel.grid(canvas, true);
                for curve in curves {
                    let stroke = Stroke {
                        color: curve.style.color,
                        width: LINE,
                        dash: curve.style.dash,
                    };
                    panel.line(canvas, &curve.points, stroke);
                    for &(x, y) in &curve.points {
                        let (marker, color) = (curve.style.marker, curve.style.color);
                        canvas.marker(panel.at(x, y), marker, MARKER, color, false);
                    }
                }
                let labels = Labels {
                    x: Some(titles.0),
                    y: Some(titles.1),
                    ..Labels::default()
                };
                panel.frame(canvas, labels, label_width);
            };
        if !waits.is_empty() {
            let x = Axis::log_range(0.3, 2_000.0);
            let place = (upper_top, upper_top + upper);
            panel_of(&waits, x, rare, place, ("wait t [s]", "share > t"));
        }
        let x = Axis::log(tokens.iter().flat_map(|c| &c.points).map(|(x, _)| *x));
        let place = (lower_top, lower_top + lower);
        panel_of(&tokens, x, share, place, ("tokens n", "share ≤ n"));
        if !waits.is_empty() {
            wait_legend.draw(canvas, 2.0, COLUMN - 2.0, 2.0);
        }
        token_legend.draw(canvas, 2.0, COLUMN - 2.0, lower_legend);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(quantity: &str, p50: f64) -> TraceStatRow {
        TraceStatRow {
            quantity: quantity.to_owned(),
            p5: Some(p50 / 10.0),
            p25: Some(p50 / 2.0),
            p50: Some(p50),
            p75: Some(p50 * 2.0),
            p90: Some(p50 * 4.0),
            p95: Some(p50 * 8.0),
            p99: Some(p50 * 16.0),
            ..TraceStatRow::default()
        }
    }

    #[test]
    fn a_curve_ends_where_fewer_than_one_wait_in_a_thousand_is_longer() {
        let mut waits = row("gap_human_s", 3.0);
        assert!(survival(&waits).is_empty(), "a row without shares");
        waits.set_survival([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.1, 0.001, 0.0004, 0.0]);
        let points = survival(&waits);
        assert_eq!(points.len(), 9);
        assert_eq!(points[8], (300.0, 0.001));
    }

    #[test]
    fn a_trace_without_waits_is_drawn_without_their_panel() {
        let tokens = [row("input_tokens", 900.0), row("output_tokens", 30.0)];
        let alone = svg(&tokens);
        assert!(alone.contains("prompt") && !alone.contains("wait t"));
        let mut waits = row("gap_tool_or_mixed_s", 3.0);
        waits.set_survival([0.5; 11]);
        waits.over_60s_share = Some(0.94);
        let both = svg(&[waits, tokens[0].clone()]);
        assert!(both.contains("wait t") && both.contains("94 % of the time"));
    }
}
