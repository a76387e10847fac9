//! Figure: which numbers of the original evaluation follow from its own rules, over many seeds.
//!
//! Runs:   the seed study; input `seed_table.csv`, written from its runs
//! Output: `seed_table.{svg,pdf,png}`, `seed_table.tex` (the body of a tabular of six columns)
//! Shows:  per number the range of the simulated seeds from 5 to 95 % with its median, and the reported
//!         value as a dot, filled where it lies within; each row divided by its simulated median
//!
//! A row whose median is 0, or that was not simulated, has no place on such an axis and is given in words.

use crate::FigureError;
use crate::axis::Axis;
use crate::canvas::{Align, Canvas, Rect, Stroke, draw};
use crate::font;
use crate::format::{alike, as_given, tex_escaped};
use crate::legend::{Key, Legend};
use crate::panel::{Labels, Panel, TICK_ROW, TITLE_ROW};
use crate::render::{write, write_all};
use crate::theme::{INK, Marker, PAGE, Rgb, SOFT, TICK_SIZE};
use results::folder::read_table;
use results::rows::SeedRow;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Name of the figure and stem of its files.
pub const NAME: &str = "seed_table";
/// What it is made from.
pub const NEEDS: &str = "`seed_table.csv`";

/// Makes figure and tabular from `seed_table.csv` in `folder`.
///
/// # Errors
/// If there is no such file, it has no rows, or a file cannot be read or written.
pub fn make(folder: &Path, out: &Path) -> Result<Vec<PathBuf>, FigureError> {
    let path = folder.join("seed_table.csv");
    if !path.is_file() {
        let remedy = "`djinn reproduce` writes it";
        return Err(FigureError::Missing {
            figure: NAME,
            needs: NEEDS,
            folder: folder.into(),
            remedy,
        });
    }
    let rows: Vec<SeedRow> = read_table(&path)?;
    if rows.is_empty() {
        return Err(FigureError::Empty {
            figure: NAME,
            why: "there is no row",
            path,
        });
    }
    let mut files = write_all(out, NAME, &svg(&rows))?;
    files.push(write(
        &out.join(format!("{NAME}.tex")),
        tex(&rows).as_bytes(),
    )?);
    Ok(files)
}

/// How a row is written in a table and placed on the axis.
trait Cells {
    /// The simulated range and the reported value, divided by the simulated median.
    fn normalised(&self) -> Option<Place>;
    fn label(&self) -> String;
    fn range(&self) -> String;
    fn reported(&self) -> String;
}

impl Cells for SeedRow {
    fn normalised(&self) -> Option<Place> {
        let median = self.sim_p50.filter(|median| *median > 0.0)?;
        Some(Place {
            low: self.sim_p5? / median,
            high: self.sim_p95? / median,
            seed: self.seed_value.map(|value| value / median),
        })
    }

    fn label(&self) -> String {
        if self.unit.is_empty() {
            self.quantity.clone()
        } else {
            format!("{} [{}]", self.quantity, self.unit)
        }
    }

    fn range(&self) -> String {
        match (self.sim_p5, self.sim_p50, self.sim_p95) {
            (Some(low), Some(mid), Some(high)) => alike([low, mid, high]).join(" – "),
            _ => "not simulated".to_owned(),
        }
    }

    fn reported(&self) -> String {
        self.seed_value.map_or_else(|| "–".to_owned(), as_given)
    }
}

/// A row on the axis of the figure; the median is at 1.
struct Place {
    low: f64,
    high: f64,
    seed: Option<f64>,
}

/// Ratios beyond these are drawn at the edge, as arrows.
const FURTHEST: f64 = 20.0;

/// The body of a LaTeX tabular: quantity, scale, reported, simulated, runs, verdict. A rule separates scales.
pub fn tex(rows: &[SeedRow]) -> String {
    let mut body = String::new();
    let mut scale = rows.first().map(|row| row.scale.as_str());
    for row in rows {
        if scale != Some(row.scale.as_str()) {
            body.push_str("\\midrule\n");
            scale = Some(&row.scale);
        }
        let cells = [
            row.label(),
            row.scale.clone(),
            row.reported(),
            row.range(),
            row.runs.to_string(),
            row.verdict.clone(),
        ];
        let cells = cells.map(|cell| tex_escaped(&cell));
        writeln!(body, "{} \\\\", cells.join(" & ")).expect("writing to a string");
    }
    body
}

const ROW: f64 = 12.5;

/// Draws the table; the SVG.
pub fn svg(rows: &[SeedRow]) -> String {
    let widest = |text: &dyn Fn(&SeedRow) -> String, head: &str, most: f64| {
        let widths = rows.iter().map(|row| font::width(&text(row), TICK_SIZE));
        widths
            .fold(font::width(head, TICK_SIZE), f64::max)
            .min(most)
    };
    let quantity = widest(&Cells::label, "Reported number", 130.0);
    let reported = widest(&Cells::reported, "Reported", 60.0);
    let range = widest(&Cells::range, "Simulated 5–50–95 %", 120.0);
    let verdict = widest(&|row| row.verdict.clone(), "Verdict", 70.0);
    let gap = 9.0;
    let right_columns = reported + range + verdict + 3.0 * gap;
    let (left, right) = (quantity + gap + 4.0, PAGE - right_columns - 6.0);

    let groups = groups(rows);
    let legend = Legend::new(
        vec![
            (
                Key::Line(Stroke::solid(Rgb::BLUE, RANGE)),
                "simulated seeds, 5 to 95 %".to_owned(),
            ),
            (
                Key::Point(Marker::Circle, Rgb::VERMILION, false),
                "reported, within".to_owned(),
            ),
            (
                Key::Point(Marker::Circle, Rgb::VERMILION, true),
                "reported, outside".to_owned(),
            ),
        ],
        PAGE - 8.0,
    );
    let top = legend.height() + 8.0 + ROW;
    let depth = (rows.len() + groups.len()) as f64 * ROW + 3.0;
    let height = top + depth + TICK_ROW + TITLE_ROW + 3.0;
    let x = ratio_axis(rows);

    draw(PAGE, height, |canvas| {
        legend.draw(canvas, 2.0, PAGE - 2.0, 2.0);
        let columns = Columns {
            quantity,
            left,
            reported: right + gap + reported,
            range: right + 2.0 * gap + reported + range,
            verdict: right + 3.0 * gap + reported + range,
            verdict_room: verdict,
        };
        columns.head(canvas, top - ROW / 2.0 - 1.0);
        let rect = Rect {
            left,
            top,
            right,
            bottom: top + depth,
        };
        let panel = Panel {
            rect,
            x,
            y: Axis::linear(0.0, 1.0, 1).with_ticks(&[]),
        };
        panel.grid(canvas, true);
        let one = panel.x_at(1.0);
        canvas.line(&[(one, top), (one, top + depth)], Stroke::solid(SOFT, 0.6));
        let mut y = top + ROW / 2.0 + 1.0;
        for (scale, members) in groups {
            let strip = Rect {
                left: 2.0,
                top: y - 5.5,
                right: PAGE - 2.0,
                bottom: y + 5.5,
            };
            canvas.fill(&strip, STRIP);
            canvas.text(
                &font::fit(scale, TICK_SIZE, PAGE - 8.0),
                (5.0, y),
                Align::Left,
                TICK_SIZE,
                INK,
            );
            y += ROW;
            for row in members {
                columns.row(canvas, row, y);
                draw_place(canvas, &panel, row, y);
                y += ROW;
            }
        }
        let labels = Labels {
            x: Some("value / simulated median"),
            no_y_ticks: true,
            ..Labels::default()
        };
        panel.frame(canvas, labels, 0.0);
    })
}

/// Behind the name of an experiment.
const STRIP: Rgb = Rgb(240, 240, 240);

/// Thickness of a range.
const RANGE: f64 = 2.4;

/// Rows by scale, in order; a scale that comes again is a new group.
fn groups(rows: &[SeedRow]) -> Vec<(&str, Vec<&SeedRow>)> {
    let mut groups: Vec<(&str, Vec<&SeedRow>)> = Vec::new();
    for row in rows {
        match groups.last_mut() {
            Some((scale, members)) if *scale == row.scale => members.push(row),
            _ => groups.push((&row.scale, vec![row])),
        }
    }
    groups
}

/// Ratios of all rows, cut at [`FURTHEST`], with 1 inside.
fn ratio_axis(rows: &[SeedRow]) -> Axis {
    let (mut low, mut high) = (0.8f64, 1.25f64);
    for place in rows.iter().filter_map(Cells::normalised) {
        for ratio in [Some(place.low), Some(place.high), place.seed]
            .into_iter()
            .flatten()
        {
            low = low.min(ratio.max(1.0 / FURTHEST));
            high = high.max(ratio.min(FURTHEST));
        }
    }
    let axis = Axis::log_range(low / 1.12, high * 1.12);
    let round = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0];
    let fine = [0.6, 0.8, 1.0, 1.25, 1.5, 2.0];
    let inside = |values: &[f64]| -> Vec<f64> {
        values
            .iter()
            .copied()
            .filter(|v| *v >= low / 1.12 && *v <= high * 1.12)
            .collect()
    };
    let coarse = inside(&round);
    if coarse.len() >= 3 {
        axis.with_ticks(&coarse)
    } else {
        axis.with_ticks(&inside(&fine))
    }
}

/// Where the columns of text stand.
struct Columns {
    quantity: f64,
    left: f64,
    reported: f64,
    range: f64,
    verdict: f64,
    verdict_room: f64,
}

impl Columns {
    fn head(&self, canvas: &mut Canvas<'_>, y: f64) {
        canvas.text(
            "Reported number",
            (self.left - 6.0, y),
            Align::Right,
            TICK_SIZE,
            INK,
        );
        canvas.text("Reported", (self.reported, y), Align::Right, TICK_SIZE, INK);
        canvas.text(
            "Simulated 5–50–95 %",
            (self.range, y),
            Align::Right,
            TICK_SIZE,
            INK,
        );
        canvas.text("Verdict", (self.verdict, y), Align::Left, TICK_SIZE, INK);
    }

    fn row(&self, canvas: &mut Canvas<'_>, row: &SeedRow, y: f64) {
        let label = font::fit(&row.label(), TICK_SIZE, self.quantity);
        canvas.text(&label, (self.left - 6.0, y), Align::Right, TICK_SIZE, INK);
        canvas.text(
            &row.reported(),
            (self.reported, y),
            Align::Right,
            TICK_SIZE,
            INK,
        );
        let range = font::fit(&row.range(), TICK_SIZE, 120.0);
        canvas.text(&range, (self.range, y), Align::Right, TICK_SIZE, INK);
        let verdict = font::fit(&row.verdict, TICK_SIZE, self.verdict_room);
        canvas.text(&verdict, (self.verdict, y), Align::Left, TICK_SIZE, INK);
    }
}

fn draw_place(canvas: &mut Canvas<'_>, panel: &Panel, row: &SeedRow, y: f64) {
    let Some(place) = row.normalised() else {
        return;
    };
    let (low, high) = (panel.x_at(place.low), panel.x_at(place.high));
    canvas.line(
        &[(low, y), (high.max(low + 1.0), y)],
        Stroke::solid(Rgb::BLUE, RANGE),
    );
    let median = panel.x_at(1.0);
    canvas.line(
        &[(median, y - 3.2), (median, y + 3.2)],
        Stroke::solid(Rgb::BLUE, 1.4),
    );
    let Some(seed) = place.seed else { return };
    let open = row.within() != Some(true);
    let (first, last) = panel.x.range();
    let x = panel.x_at(seed);
    if (first..=last).contains(&seed) {
        canvas.marker((x, y), Marker::Circle, 5.4, Rgb::VERMILION, open);
    } else {
        // Beyond the axis: an arrow head at its edge, pointing outwards.
        let out = if seed < first { -1.0 } else { 1.0 };
        let tip = x - out * 1.0;
        let arrow = [
            (tip, y),
            (tip - out * 6.0, y - 3.4),
            (tip - out * 6.0, y + 3.4),
        ];
        canvas.area(&arrow, Rgb::VERMILION);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seed: Option<f64>, sim: [f64; 3]) -> SeedRow {
        SeedRow {
            quantity: "P99 latency".into(),
            scale: "N=80".into(),
            unit: "ms".into(),
            seed_value: seed,
            sim_p5: Some(sim[0]),
            sim_p50: Some(sim[1]),
            sim_p95: Some(sim[2]),
            runs: 200,
            verdict: "reproduced".into(),
            sentence: "It lies within.".into(),
        }
    }

    #[test]
    fn a_row_is_divided_by_its_median() {
        let place = row(Some(5_200.0), [3_250.0, 6_500.0, 13_000.0])
            .normalised()
            .unwrap();
        assert!((place.low - 0.5).abs() < 1e-12 && (place.high - 2.0).abs() < 1e-12);
        assert!((place.seed.unwrap() - 0.8).abs() < 1e-12);
    }

    #[test]
    fn within_counts_the_ends_and_needs_both_sides() {
        assert_eq!(row(Some(1.0), [1.0, 2.0, 3.0]).within(), Some(true));
        assert_eq!(row(Some(3.1), [1.0, 2.0, 3.0]).within(), Some(false));
        assert_eq!(row(None, [1.0, 2.0, 3.0]).within(), None);
    }

    #[test]
    fn a_median_of_zero_has_no_place_but_is_listed() {
        let zero = row(Some(924.0), [0.0, 0.0, 0.0]);
        assert!(zero.normalised().is_none());
        let drawn = svg(&[zero]);
        assert!(drawn.contains("924") && drawn.contains("0 – 0 – 0"));
    }

    #[test]
    fn the_tabular_escapes_what_tex_would_act_on_and_rules_off_scales() {
        let second = SeedRow {
            scale: "N=20".into(),
            quantity: "ops_ok".into(),
            unit: "%".into(),
            ..row(None, [1.0, 2.0, 3.0])
        };
        let body = tex(&[row(Some(5_183.0), [4_700.0, 6_500.0, 10_600.0]), second]);
        assert_eq!(
            body,
            "P99 latency [ms] & N=80 & 5,183 & 4,700 -- 6,500 -- 10,600 & 200 & reproduced \\\\\n\
             \\midrule\n\
             ops\\_ok [\\%] & N=20 & -- & 1 -- 2 -- 3 & 200 & reproduced \\\\\n"
        );
    }

    #[test]
    fn a_value_far_outside_stays_on_the_page() {
        let far = row(Some(1e6), [0.9, 1.0, 1.1]);
        assert!(ratio_axis(std::slice::from_ref(&far)).range().1 <= FURTHEST * 1.2);
        assert!(svg(&[far]).contains("1,000,000"));
    }
}
