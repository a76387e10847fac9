//! Figure: what the simulator says of a policy is what the GPU measures, from milliseconds to minutes.
//!
//! Runs:   `policies.csv`, of the recorded runs of GPUs; `djinn reproduce` collects it
//! Output: `validation_policies.{svg,pdf,png}`, `validation_policies.csv`
//! Shows:  simulated against measured, a point for each policy and recording: left the median wake-up latency, right the mean completion time of sessions. Bars:
//!         least to most of the draws of the jitter, and of the runs of the GPU. On the line both are alike

use crate::FigureError;
use crate::axis::Axis;
use crate::canvas::{Canvas, Stroke, draw};
use crate::legend::{Key, Legend};
use crate::panel::{Labels, Panel, TICK_ROW, TITLE_ROW, side_by_side};
use crate::render::write_with_table;
use crate::theme::{INK, PAGE, Style, series_styles};
use results::folder::read_table;
use results::validation::{POLICIES, PolicyRow, Quantity};
use std::path::{Path, PathBuf};

/// Name of the figure and stem of its files.
pub const NAME: &str = "validation_policies";
/// What it is made from.
pub const NEEDS: &str = "`policies.csv`, which `djinn reproduce` collects from recorded runs";

/// A quantity, its unit \[ns\], and the titles of its axes.
const PANELS: [(Quantity, f64, [&str; 2]); 2] = [
    (
        Quantity::WakeupP50,
        1e6,
        ["measured P50 wake-up [ms]", "simulated [ms]"],
    ),
    (
        Quantity::JctMean,
        1e9,
        ["measured mean completion time [s]", "simulated [s]"],
    ),
];
/// Height of the panels \[pt\].
const DEPTH: f64 = 170.0;

/// Makes the figure from the table in `folder`.
///
/// # Errors
/// If the table is missing or empty, or a file cannot be written.
pub fn make(folder: &Path, out: &Path) -> Result<Vec<PathBuf>, FigureError> {
    let path = folder.join(POLICIES);
    if !path.is_file() {
        return Err(FigureError::Missing {
            figure: NAME,
            needs: NEEDS,
            folder: folder.to_owned(),
            remedy: "`djinn reproduce`, in a checkout, writes it into OUT/validation",
        });
    }
    let rows = table(&read_table(&path)?);
    if rows.is_empty() {
        return Err(FigureError::nothing_measured(NAME, path));
    }
    write_with_table(out, NAME, &svg(&rows), &rows)
}

/// The table behind the figure: what is drawn.
pub fn table(rows: &[PolicyRow]) -> Vec<PolicyRow> {
    let shown = |row: &&PolicyRow| {
        let mut panels = PANELS.iter();
        panels.any(|(quantity, ..)| row.quantity == quantity.name()) && row.measured > 0.0
    };
    rows.iter().filter(shown).cloned().collect()
}

/// Draws the table; the SVG.
pub fn svg(rows: &[PolicyRow]) -> String {
    let mut loads: Vec<&str> = Vec::new();
    for row in rows {
        if !loads.contains(&row.load.as_str()) {
            loads.push(&row.load);
        }
    }
    let styles = series_styles(loads.len());
    let name = |load: &str| {
        let own = rows
            .iter()
            .filter(|row| row.load == load && row.quantity == PANELS[0].0.name());
        let (pairs, runs) = own.fold((0, 0), |(pairs, runs), row| (pairs + 1, runs + row.repeats));
        format!("{load} (n = {pairs}, of {runs} runs)")
    };
    let entries = styles.iter().zip(&loads).map(|(style, load)| {
        let key = Key::Point(style.marker, style.color, true);
        (key, name(load))
    });
    let legend = Legend::new(entries.collect(), PAGE - 8.0);
    let axes = PANELS.map(|(quantity, unit, _)| {
        let own = rows.iter().filter(|row| row.quantity == quantity.name());
        Axis::log(own.flat_map(|row| ends(row).map(|value| value / unit)))
    });
    let label_width = axes.iter().map(Axis::label_width).fold(0.0, f64::max);
    let top = legend.height() + 10.0;
    let height = top + DEPTH + TICK_ROW + TITLE_ROW + 3.0;
    let rects = side_by_side(label_width, top, DEPTH);

    draw(PAGE, height, |canvas| {
        legend.draw(canvas, 2.0, PAGE - 2.0, 2.0);
        for ((quantity, unit, [x, y]), (rect, axis)) in
            PANELS.iter().zip(rects.into_iter().zip(axes))
        {
            let (low, high) = axis.range();
            let panel = Panel {
                rect,
                x: axis.clone(),
                y: axis,
            };
            panel.grid(canvas, true);
            panel.line(canvas, &[(low, low), (high, high)], Stroke::solid(INK, 0.5));
            for (load, style) in loads.iter().zip(&styles) {
                for row in rows {
                    if row.load == *load && row.quantity == quantity.name() {
                        point(canvas, &panel, row, *unit, *style);
                    }
                }
            }
            let labels = Labels {
                x: Some(x),
                y: Some(y),
                ..Labels::default()
            };
            panel.frame(canvas, labels, label_width);
        }
    })
}

/// Everything that is drawn of a row: both values, and the ends of their bars.
fn ends(row: &PolicyRow) -> [f64; 6] {
    [
        row.simulated,
        row.drawn_min.unwrap_or(row.simulated),
        row.drawn_max.unwrap_or(row.simulated),
        row.measured,
        row.measured_min,
        row.measured_max,
    ]
}

fn point(canvas: &mut Canvas<'_>, panel: &Panel, row: &PolicyRow, unit: f64, style: Style) {
    let [
        simulated,
        drawn_min,
        drawn_max,
        measured,
        measured_min,
        measured_max,
    ] = ends(row).map(|value| value / unit);
    let bar = Stroke::solid(style.color.pale(0.5), 0.7);
    panel.line(canvas, &[(measured, drawn_min), (measured, drawn_max)], bar);
    panel.line(
        canvas,
        &[(measured_min, simulated), (measured_max, simulated)],
        bar,
    );
    canvas.marker(
        panel.at(measured, simulated),
        style.marker,
        3.0,
        style.color,
        true,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(load: &str, quantity: &str, repeats: u64) -> PolicyRow {
        PolicyRow {
            load: load.to_owned(),
            quantity: quantity.to_owned(),
            simulated: 2e7,
            measured: 2e7,
            repeats,
            measured_min: 1.9e7,
            measured_max: 2.1e7,
            ..PolicyRow::default()
        }
    }

    #[test]
    fn the_legend_counts_pairs_and_runs_of_each_load() {
        let rows = table(&[
            row("few", "wakeup_ns_p50", 3),
            row("few", "wakeup_ns_p50", 1),
            row("few", "jct_ns_mean", 1),
            row("few", "swaps", 1),
            row("many", "wakeup_ns_p50", 1),
        ]);
        assert_eq!(rows.len(), 4);
        let text = svg(&rows);
        assert!(
            text.contains("few (n = 2, of 4 runs)") && text.contains("many (n = 1, of 1 runs)")
        );
    }

    #[test]
    fn a_folder_without_recordings_says_who_collects_them() {
        let folder = tempfile::tempdir().unwrap();
        let error = make(folder.path(), folder.path()).unwrap_err();
        assert!(matches!(error, FigureError::Missing { figure: NAME, .. }));
    }
}
