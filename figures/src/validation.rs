//! Figure: the simulator's times are those of the GPU, operation by operation and wake-up by wake-up.
//!
//! Runs:   `open_loop.csv` and `wakeups.csv` of `djinn validate`
//! Output: `validation.{svg,pdf,png}`, `validation.csv`
//! Shows:  left, predicted against measured time of each operation of the GPU runs; right, the share of operations (and of
//!         wake-ups) whose absolute relative error is at most so large, with 2 % marked

use crate::FigureError;
use crate::axis::Axis;
use crate::canvas::{Point, Stroke, draw};
use crate::format::grouped;
use crate::legend::{Key, Legend};
use crate::panel::{Labels, Panel, TICK_ROW, TITLE_ROW, side_by_side};
use crate::render::write_with_table;
use crate::theme::{INK, LINE, PAGE, Style, series_styles};
use results::folder::read_table;
use results::validation::{OPEN_LOOP, OpenLoopRow, WAKEUPS, WakeupPairRow};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Name of the figure and stem of its files.
pub const NAME: &str = "validation";
/// What it is made from.
pub const NEEDS: &str = "`open_loop.csv` and `wakeups.csv`, which `djinn validate` writes";

/// What is drawn with one colour, in the order of the legend.
const KINDS: [(&str, &str); 6] = [
    ("prefill", "prefill steps"),
    ("decode", "decode runs"),
    ("mixed", "mixed steps"),
    ("d2h", "copies D2H"),
    ("h2d", "copies H2D"),
    ("wakeup", "wake-ups (closed loop)"),
];
/// Points of a kind in the scatter, and steps of a curve.
const POINTS_MAX: usize = 400;
/// The error that is aimed at for single operations.
const AIM: f64 = 0.02;

/// One time, predicted and measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ErrorRow {
    /// What.
    pub kind: String,
    /// Measured \[ns\].
    pub measured_ns: u64,
    /// Predicted \[ns\].
    pub predicted_ns: u64,
    /// `|predicted / measured - 1|`.
    pub error: f64,
    /// Share of its kind whose error is at most this.
    pub share: f64,
}

/// Makes the figure from the tables in `folder`.
///
/// # Errors
/// If the tables are missing or empty, or a file cannot be written.
pub fn make(folder: &Path, out: &Path) -> Result<Vec<PathBuf>, FigureError> {
    let path = folder.join(OPEN_LOOP);
    if !path.is_file() || !folder.join(WAKEUPS).is_file() {
        return Err(FigureError::Missing {
            figure: NAME,
            needs: NEEDS,
            folder: folder.to_owned(),
            remedy: "`djinn validate SIM GPU --out DIR` writes them",
        });
    }
    let rows = table(&read_table(&path)?, &read_table(&folder.join(WAKEUPS))?);
    if rows.is_empty() {
        return Err(FigureError::nothing_measured(NAME, path));
    }
    write_with_table(out, NAME, &svg(&rows), &rows)
}

/// The table behind the figure: per kind its times in order of their error.
pub fn table(operations: &[OpenLoopRow], wakeups: &[WakeupPairRow]) -> Vec<ErrorRow> {
    let mut rows = Vec::new();
    for (kind, _) in KINDS {
        let operations = operations
            .iter()
            .filter(|row| row.kind == kind)
            .map(|row| (row.measured_ns, row.predicted_ns));
        let wakeups = wakeups
            .iter()
            .filter(|_| kind == "wakeup")
            .map(|row| (row.measured_ns, row.simulated_ns));
        let mut own: Vec<ErrorRow> = operations
            .chain(wakeups)
            .filter(|(measured, _)| *measured > 0)
            .map(|(measured_ns, predicted_ns)| ErrorRow {
                kind: kind.to_owned(),
                measured_ns,
                predicted_ns,
                error: (predicted_ns as f64 / measured_ns as f64 - 1.0).abs(),
                share: 0.0,
            })
            .collect();
        own.sort_by(|a, b| a.error.total_cmp(&b.error));
        let count = own.len() as f64;
        for (row, rank) in own.iter_mut().zip(1_u32..) {
            row.share = f64::from(rank) / count;
        }
        rows.extend(own);
    }
    rows
}

/// Draws the table; the SVG.
pub fn svg(rows: &[ErrorRow]) -> String {
    let kinds: Vec<(&str, String)> = KINDS
        .iter()
        .map(|(kind, name)| {
            let count = rows.iter().filter(|row| row.kind == *kind).count();
            (*kind, format!("{name} (n = {})", grouped(count as f64, 0)))
        })
        .filter(|(kind, _)| rows.iter().any(|row| row.kind == *kind))
        .collect();
    let styles = series_styles(kinds.len());
    let entries = styles
        .iter()
        .zip(&kinds)
        .map(|(style, (_, name))| (Key::Policy(*style), name.clone()))
        .collect();
    let legend = Legend::new(entries, PAGE - 8.0);

    let milliseconds = |ns: u64| ns.max(1) as f64 / 1e6;
    let times = Axis::log(rows.iter().flat_map(|row| {
        [
            milliseconds(row.measured_ns),
            milliseconds(row.predicted_ns),
        ]
    }));
    let largest = rows.iter().map(|row| row.error).fold(0.1, f64::max);
    let errors = Axis::log_range(1e-2, (largest * 100.0).max(10.0));
    let shares = Axis::linear(0.0, 1.0, 4);
    let label_width = times.label_width().max(shares.label_width());
    let top = legend.height() + 10.0;
    let depth = 140.0;
    let height = top + depth + TICK_ROW + TITLE_ROW + 3.0;
    let [left, right] = side_by_side(label_width, top, depth);

    draw(PAGE, height, |canvas| {
        legend.draw(canvas, 2.0, PAGE - 2.0, 2.0);
        let scatter = Panel {
            rect: left,
            x: times.clone(),
            y: times.clone(),
        };
        scatter.grid(canvas, true);
        let (low, high) = times.range();
        scatter.line(canvas, &[(low, low), (high, high)], Stroke::solid(INK, 0.5));
        let cdf = Panel {
            rect: right,
            x: errors.clone(),
            y: shares,
        };
        cdf.grid(canvas, true);
        cdf.line(
            canvas,
            &[(AIM * 100.0, 0.0), (AIM * 100.0, 1.0)],
            Stroke::solid(INK, 0.5),
        );
        for ((kind, _), style) in kinds.iter().zip(&styles) {
            let own: Vec<&ErrorRow> = rows.iter().filter(|row| row.kind == *kind).collect();
            let shown = own.iter().step_by(own.len().div_ceil(POINTS_MAX).max(1));
            for row in shown {
                let at = scatter.at(
                    milliseconds(row.measured_ns),
                    milliseconds(row.predicted_ns),
                );
                canvas.marker(at, style.marker, 2.4, style.color, true);
            }
            curve(canvas, &cdf, &own, *style);
        }
        scatter.frame(
            canvas,
            Labels {
                x: Some("measured time [ms]"),
                y: Some("predicted time [ms]"),
                ..Labels::default()
            },
            label_width,
        );
        cdf.frame(
            canvas,
            Labels {
                x: Some("absolute error x [%]"),
                y: Some("share ≤ x"),
                ..Labels::default()
            },
            label_width,
        );
    })
}

/// The distribution of the errors of one kind.
fn curve(canvas: &mut crate::canvas::Canvas<'_>, panel: &Panel, own: &[&ErrorRow], style: Style) {
    let (low, high) = panel.x.range();
    let mut points: Vec<Point> = vec![(low, 0.0)];
    let mut level = 0.0;
    for row in own {
        let x = (row.error * 100.0).clamp(low, high);
        points.extend([(x, level), (x, row.share)]);
        level = row.share;
    }
    points.push((high, level));
    let stroke = Stroke {
        color: style.color,
        width: LINE,
        dash: style.dash,
    };
    panel.line(canvas, &points, stroke);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(kind: &str, measured_ns: u64, predicted_ns: u64) -> OpenLoopRow {
        OpenLoopRow {
            kind: kind.to_owned(),
            measured_ns,
            predicted_ns,
            ..OpenLoopRow::default()
        }
    }

    #[test]
    fn the_table_has_each_kind_in_order_of_its_errors() {
        let operations = [
            operation("h2d", 100, 104),
            operation("h2d", 100, 99),
            operation("decode", 200, 200),
        ];
        let wakeups = [WakeupPairRow {
            measured_ns: 1_000,
            simulated_ns: 1_100,
            ..WakeupPairRow::default()
        }];
        let rows = table(&operations, &wakeups);
        let seen: Vec<(&str, f64)> = rows
            .iter()
            .map(|row| (row.kind.as_str(), row.share))
            .collect();
        assert_eq!(
            seen,
            [("decode", 1.0), ("h2d", 0.5), ("h2d", 1.0), ("wakeup", 1.0)]
        );
        assert!((rows[1].error - 0.01).abs() < 1e-12 && (rows[3].error - 0.1).abs() < 1e-12);
    }

    #[test]
    fn a_kind_without_operations_has_no_entry() {
        let text = svg(&table(&[operation("d2h", 5_000, 5_100)], &[]));
        assert!(text.contains("copies D2H (n = 1)"));
        assert!(!text.contains("prefill"));
    }

    #[test]
    fn a_folder_without_a_validation_says_how_to_make_one() {
        let folder = tempfile::tempdir().unwrap();
        let error = make(folder.path(), folder.path()).unwrap_err();
        assert!(matches!(error, FigureError::Missing { figure: NAME, .. }));
    }
}
