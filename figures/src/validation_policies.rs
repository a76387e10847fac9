//! Figure: what the simulator says of a policy is what the GPU measures.
//!
//! Runs:   `policies.csv` of `djinn revalidate`, or of `djinn reproduce` from the committed tables
//! Output: `validation_policies.{svg,pdf,png}`, `validation_policies.csv`
//! Shows:  simulated over measured, against measured, a point for each policy in each recording: left the median wake-up latency, right the mean completion
//!         time of sessions. Upright bars: least to most of the draws of the jitter, cut off where no point is; level ones: of the runs of the GPU. Shaded:
//!         the error that is aimed at; open points are beyond it, and beyond what runs of the GPU differ by

use crate::FigureError;
use crate::axis::Axis;
use crate::canvas::{Canvas, Rect, Stroke, draw};
use crate::legend::{Key, Legend};
use crate::panel::{Labels, Panel, TICK_ROW, TITLE_ROW, side_by_side};
use crate::render::write_with_table;
use crate::theme::{GRID, INK, PAGE, Rgb, Style, series_styles};
use results::folder::read_table;
use results::validation::{POLICY_ROWS, PolicyRow, Quantity};
use std::path::{Path, PathBuf};

/// Name of the figure and stem of its files.
pub const NAME: &str = "validation_policies";
/// What it is made from.
pub const NEEDS: &str = "`policies.csv`, which `djinn revalidate` writes";

/// A quantity, its unit \[ns\], and the title of its axis.
const PANELS: [(Quantity, f64, &str); 2] = [
    (Quantity::WakeupP50, 1e6, "measured P50 wake-up [ms]"),
    (Quantity::JctMean, 1e9, "measured mean completion time [s]"),
];
/// Colours of loads, by turns: told apart in grey as well.
const COLORS: [Rgb; 4] = [Rgb::BLUE, Rgb::ORANGE, Rgb::BLACK, Rgb::GREEN];
/// Height of the panels \[pt\].
const DEPTH: f64 = 150.0;
/// Size of a point \[pt\].
const POINT: f64 = 3.2;

/// Makes the figure from the table in `folder`.
///
/// # Errors
/// If the table is missing or empty, or a file cannot be written.
pub fn make(folder: &Path, out: &Path) -> Result<Vec<PathBuf>, FigureError> {
    let path = folder.join(POLICY_ROWS);
    if !path.is_file() {
        return Err(FigureError::Missing {
            figure: NAME,
            needs: NEEDS,
            folder: folder.to_owned(),
            remedy: "`djinn revalidate DIR --out OUT` writes it into OUT",
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
    let loads = styled(rows);
    let entries = loads.iter().map(|(load, style)| {
        let own = of(rows, PANELS[0].0).filter(|row| row.load == *load);
        let (points, runs) = own.fold((0, 0), |(n, runs), row| (n + 1, runs + row.repeats));
        let name = format!("{load} (n = {points}; {runs} runs)");
        (Key::Point(style.marker, style.color, false), name)
    });
    let legend = Legend::new(entries.collect(), PAGE - 8.0);
    let axes = PANELS.map(|(quantity, unit, _)| axes(rows, quantity, unit));
    let label_width = axes.iter().map(|(_, y)| y.label_width());
    let label_width = label_width.fold(0.0, f64::max);
    let top = legend.height() + 10.0;
    let height = top + DEPTH + TICK_ROW + TITLE_ROW + 3.0;
    let rects = side_by_side(label_width, top, DEPTH);

    draw(PAGE, height, |canvas| {
        legend.draw(canvas, 2.0, PAGE - 2.0, 2.0);
        let panels = rects.into_iter().zip(axes);
        for ((rect, (x, y)), (quantity, unit, title)) in panels.zip(PANELS) {
            let panel = Panel { rect, x, y };
            aim(canvas, &panel, rows, quantity);
            panel.grid(canvas, true);
            let (low, high) = panel.x.range();
            panel.line(canvas, &[(low, 1.0), (high, 1.0)], Stroke::solid(INK, 0.5));
            let points = || {
                let style = |load: &str| loads.iter().find(|(name, _)| *name == load);
                of(rows, quantity).filter_map(move |row| Some((row, style(&row.load)?.1)))
            };
            for (row, style) in points() {
                bars(canvas, &panel, row, unit, style);
            }
            for (row, style) in points() {
                let at = panel.at(row.measured / unit, row.simulated / row.measured);
                let open = row.target.is_some() && !row.met;
                canvas.marker(at, style.marker, POINT, style.color, open);
            }
            let labels = Labels {
                x: Some(title),
                y: Some("simulated / measured"),
                ..Labels::default()
            };
            panel.frame(canvas, labels, label_width);
        }
    })
}

fn of(rows: &[PolicyRow], quantity: Quantity) -> impl Iterator<Item = &PolicyRow> {
    rows.iter()
        .filter(move |row| row.quantity == quantity.name())
}

/// The loads, in the order of the table, and how each is drawn.
fn styled(rows: &[PolicyRow]) -> Vec<(&str, Style)> {
    let mut loads: Vec<&str> = Vec::new();
    for row in rows {
        if !loads.contains(&row.load.as_str()) {
            loads.push(&row.load);
        }
    }
    let styles = series_styles(loads.len()).into_iter();
    let colored = styles.zip(COLORS.into_iter().cycle());
    let styles = colored.map(|(style, color)| Style { color, ..style });
    loads.into_iter().zip(styles).collect()
}

/// Measured, and simulated over it, as far as any point is drawn: one draw that goes another way must not flatten all others.
fn axes(rows: &[PolicyRow], quantity: Quantity, unit: f64) -> (Axis, Axis) {
    let measured = of(rows, quantity).flat_map(|row| [row.measured_min, row.measured_max]);
    let shares = of(rows, quantity).map(|row| row.simulated / row.measured);
    let (low, high) = shares.fold((1.0_f64, 1.0_f64), |(low, high), share| {
        (low.min(share), high.max(share))
    });
    // To the tenth, no point on the frame.
    let low = ((low - 0.02) * 10.0).floor() / 10.0;
    let high = ((high + 0.02) * 10.0).ceil() / 10.0;
    (
        Axis::log(measured.map(|value| value / unit)),
        Axis::linear(low, high, 6),
    )
}

/// The error that is aimed at, as a band.
fn aim(canvas: &mut Canvas<'_>, panel: &Panel, rows: &[PolicyRow], quantity: Quantity) {
    let Some(target) = of(rows, quantity).find_map(|row| row.target) else {
        return;
    };
    let band = Rect {
        top: panel.y_at(1.0 + target),
        bottom: panel.y_at(1.0 - target),
        ..panel.rect
    };
    canvas.fill(&band, GRID);
}

fn bars(canvas: &mut Canvas<'_>, panel: &Panel, row: &PolicyRow, unit: f64, style: Style) {
    let stroke = Stroke::solid(style.color.pale(0.45), 0.7);
    let (x, y) = (row.measured / unit, row.simulated / row.measured);
    if let Some((least, most)) = row.drawn_min.zip(row.drawn_max) {
        let (low, high) = panel.y.range();
        let ends = [least, most].map(|end| (x, (end / row.measured).clamp(low, high)));
        panel.line(canvas, &ends, stroke);
    }
    let ends = [row.measured_min, row.measured_max].map(|end| (end / unit, y));
    panel.line(canvas, &ends, stroke);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(load: &str, quantity: &str, repeats: u64) -> PolicyRow {
        PolicyRow {
            load: load.to_owned(),
            quantity: quantity.to_owned(),
            simulated: 2e7,
            drawn_min: Some(1.3e7),
            drawn_max: Some(2.2e7),
            measured: 2e7,
            repeats,
            measured_min: 1.9e7,
            measured_max: 2.1e7,
            target: Some(0.03),
            ..PolicyRow::default()
        }
    }

    #[test]
    fn the_legend_counts_points_and_runs_of_each_load() {
        let rows = table(&[
            row("few", "wakeup_ns_p50", 3),
            row("few", "wakeup_ns_p50", 1),
            row("few", "jct_ns_mean", 1),
            row("few", "swaps", 1),
            row("many", "wakeup_ns_p50", 1),
        ]);
        assert_eq!(rows.len(), 4);
        let text = svg(&rows);
        assert!(text.contains("few (n = 2; 4 runs)") && text.contains("many (n = 1; 1 runs)"));
    }

    #[test]
    fn an_axis_of_shares_holds_all_points_and_a_tenth_about_1() {
        let far = PolicyRow {
            simulated: 2.9e7,
            drawn_max: Some(2e8),
            ..row("few", "wakeup_ns_p50", 1)
        };
        let rows = [row("few", "wakeup_ns_p50", 1), far];
        let (_, y) = axes(&rows, Quantity::WakeupP50, 1e6);
        assert_eq!(y.range(), (0.9, 1.5));
    }

    #[test]
    fn a_folder_without_recordings_says_who_collects_them() {
        let folder = tempfile::tempdir().unwrap();
        let error = make(folder.path(), folder.path()).unwrap_err();
        assert!(matches!(error, FigureError::Missing { figure: NAME, .. }));
    }
}
