//! Figure: no policy is the best everywhere; what a policy gains depends on workload and load more than on its name.
//!
//! Runs:   `differences.csv` of `djinn rank`
//! Output: `policy_heat.{svg,pdf,png}`, `policy_heat.csv`
//! Shows:  each policy with its defaults, in each workload at each load, against the reference on the same shards: geometric mean over shards. Blue
//!         is better, orange worse, on a logarithmic scale; a dot: the 95 % interval includes "equal"; hatched: saturated on so many shards
//!         that no factor is given; a corner: some runs were saturated. Rows are in order of the mean logarithm of the first block. A `*`
//!         marks a P99 that rests on fewer than 1,000 samples a run.

use crate::FigureError;
use crate::canvas::{Align, Canvas, Rect, Stroke, draw};
use crate::format::three_digits;
use crate::matrix::{CELL_SIZE, Column, Matrix, hatched, inset};
use crate::render::write_with_table;
use crate::theme::{INK, PAGE, Rgb, SOFT};
use results::folder::read_table;
use results::ranking::DifferenceRow;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Name of the figure and stem of its files.
pub const NAME: &str = "policy_heat";
/// What it is made from.
pub const NEEDS: &str = "`differences.csv`, which `djinn rank` writes";
/// The table.
const FILE: &str = "differences.csv";

/// Blocks: metric, title, and the factor at which a colour is full.
const BLOCKS: [(&str, &str, f64); 4] = [
    ("wakeup_mean", "mean wake-up", 30.0),
    ("wakeup_p50", "P50 wake-up", 30.0),
    ("wakeup_p99", "P99 wake-up", 30.0),
    ("jct_mean", "session completion", 3.0),
];
/// Fewer samples than this leave a P99 to its ten slowest.
const SAMPLES_MIN: u64 = results::stats::P99_SAMPLES_MIN as u64;

const BETTER: Rgb = Rgb::BLUE;
const WORSE: Rgb = Rgb::VERMILION;

/// One cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeatRow {
    /// What is compared.
    pub metric: String,
    /// The policy.
    pub policy: String,
    /// The workload.
    pub workload: String,
    /// The load.
    pub load: String,
    /// Policy over reference; empty where too many shards were saturated.
    pub ratio: Option<f64>,
    /// The 95 % interval excludes 1.
    pub shown: bool,
    /// Runs that were saturated.
    pub saturated: u64,
    /// A P99 of fewer than 1,000 samples in some run.
    pub few_samples: bool,
}

/// Makes the figure from `differences.csv` in `folder`.
///
/// # Errors
/// If the table is missing or empty, or a file cannot be written.
pub fn make(folder: &Path, out: &Path) -> Result<Vec<PathBuf>, FigureError> {
    let rows = table(&read(NAME, NEEDS, folder)?);
    write_with_table(out, NAME, &svg(&rows), &rows)
}

/// The table that both figures of a ranking are made from, or why not.
pub(crate) fn read(
    figure: &'static str,
    needs: &'static str,
    folder: &Path,
) -> Result<Vec<DifferenceRow>, FigureError> {
    let path = folder.join(FILE);
    if !path.is_file() {
        return Err(FigureError::Missing {
            figure,
            needs,
            folder: folder.to_owned(),
            remedy: "`djinn rank --out DIR` writes it",
        });
    }
    let rows: Vec<DifferenceRow> = read_table(&path)?;
    if rows.is_empty() {
        let why = "nothing was compared";
        return Err(FigureError::Empty { figure, why, path });
    }
    Ok(rows)
}

/// The table behind the figure: defaults only, policies in the order in which they are drawn.
pub fn table(differences: &[DifferenceRow]) -> Vec<HeatRow> {
    let mut rows = Vec::new();
    for (metric, ..) in BLOCKS {
        for policy in order(differences) {
            let mine = differences.iter().filter(|row| {
                row.metric == metric && row.policy == policy && row.setting == "default"
            });
            rows.extend(mine.map(|row| HeatRow {
                metric: metric.to_owned(),
                policy: policy.clone(),
                workload: row.workload.clone(),
                load: row.load.clone(),
                ratio: row.ratio,
                shown: row.shown(),
                saturated: row.saturated,
                few_samples: metric == "wakeup_p99" && row.samples_min < SAMPLES_MIN,
            }));
        }
    }
    rows
}

/// Policies by the mean logarithm of the deciding metric over all cells, best first; a cell without a factor counts as the worst there.
pub(crate) fn order(differences: &[DifferenceRow]) -> Vec<String> {
    let deciding = |row: &&DifferenceRow| row.metric == BLOCKS[0].0 && row.setting == "default";
    let rows: Vec<&DifferenceRow> = differences.iter().filter(deciding).collect();
    let worst = |row: &DifferenceRow| {
        let same = rows
            .iter()
            .filter(|other| (&other.workload, &other.load) == (&row.workload, &row.load));
        same.filter_map(|other| other.ratio).fold(1.0, f64::max)
    };
    let mut policies: Vec<(String, f64, u32)> = Vec::new();
    for row in &rows {
        let log = row.ratio.unwrap_or_else(|| worst(row)).ln();
        match policies.iter_mut().find(|(name, ..)| *name == row.policy) {
            Some((_, sum, count)) => {
                *sum += log;
                *count += 1;
            }
            None => policies.push((row.policy.clone(), log, 1)),
        }
    }
    let mean = |(_, sum, count): &(String, f64, u32)| sum / f64::from(*count);
    policies.sort_by(|a, b| mean(a).total_cmp(&mean(b)));
    policies.into_iter().map(|(name, ..)| name).collect()
}

/// Cells in the order of the table, each once.
pub(crate) fn columns<'a>(cells: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for (workload, load) in cells {
        let column = Column {
            workload: workload.to_owned(),
            load: load.to_owned(),
        };
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    columns
}

/// Colour of a factor; `full` is where it is full.
fn colour(ratio: f64, full: f64) -> Rgb {
    let share = (ratio.ln() / full.ln()).clamp(-1.0, 1.0);
    // The root spreads what lies near "equal", where most factors are.
    let strength = share.abs().sqrt();
    if share < 0.0 { BETTER } else { WORSE }.pale(strength)
}

/// Draws the table; the SVG.
pub fn svg(rows: &[HeatRow]) -> String {
    let columns = columns(
        rows.iter()
            .map(|row| (row.workload.as_str(), row.load.as_str())),
    );
    let mut policies: Vec<String> = Vec::new();
    for row in rows {
        if !policies.contains(&row.policy) {
            policies.push(row.policy.clone());
        }
    }
    let matrix = Matrix::new(policies.clone(), columns, BLOCKS.len(), PAGE, 1.0);
    let height = matrix.bottom() + 42.0;
    let place = |row: &HeatRow| {
        let block = BLOCKS
            .iter()
            .position(|(metric, ..)| *metric == row.metric)?;
        let at = |column: &Column| column.workload == row.workload && column.load == row.load;
        let column = matrix.columns.iter().position(at)?;
        let policy = policies.iter().position(|policy| *policy == row.policy)?;
        Some((block, policy, column))
    };
    draw(PAGE, height, |canvas| {
        let titles = BLOCKS.map(|(_, title, _)| title);
        let marked = |block: usize, column: usize| {
            let here =
                |row: &&HeatRow| place(row).is_some_and(|(b, _, c)| (b, c) == (block, column));
            rows.iter().filter(here).any(|row| row.few_samples)
        };
        matrix.frame(canvas, &titles, marked);
        for row in rows {
            let Some((block, policy, column)) = place(row) else {
                continue;
            };
            draw_cell(
                canvas,
                &matrix.cell(block, policy, column),
                row,
                BLOCKS[block].2,
            );
        }
        for (block, (_, _, full)) in BLOCKS.iter().enumerate() {
            draw_scale(canvas, matrix.block(block), matrix.bottom() + 7.0, *full);
        }
        draw_legend(canvas, matrix.block(0).0, matrix.bottom() + 34.0);
    })
}

fn draw_cell(canvas: &mut Canvas<'_>, cell: &Rect, row: &HeatRow, full: f64) {
    let Some(ratio) = row.ratio else {
        return hatched(canvas, cell);
    };
    canvas.fill(&inset(cell), colour(ratio, full));
    if !row.shown {
        draw_dot(canvas, cell);
    }
    if row.saturated > 0 {
        draw_corner(canvas, cell);
    }
}

/// No difference is shown.
fn draw_dot(canvas: &mut Canvas<'_>, cell: &Rect) {
    let (x, y) = (
        cell.left.midpoint(cell.right),
        cell.top.midpoint(cell.bottom),
    );
    let dot = Rect {
        left: x - 0.8,
        top: y - 0.8,
        right: x + 0.8,
        bottom: y + 0.8,
    };
    canvas.fill(&dot, INK);
}

/// Some runs were saturated.
fn draw_corner(canvas: &mut Canvas<'_>, cell: &Rect) {
    let Rect { right, top, .. } = inset(cell);
    canvas.area(&[(right - 3.0, top), (right, top), (right, top + 3.0)], INK);
}

/// The scale of a block, with its ends and the middle named.
fn draw_scale(canvas: &mut Canvas<'_>, (left, right): (f64, f64), top: f64, full: f64) {
    const STEPS: u32 = 60;
    let width = right - left;
    for step in 0..STEPS {
        let at = |step: u32| left + width * f64::from(step) / f64::from(STEPS);
        let share = (f64::from(step) + 0.5) / f64::from(STEPS) * 2.0 - 1.0;
        let bar = Rect {
            left: at(step),
            top,
            right: at(step + 1) + 0.1,
            bottom: top + 6.0,
        };
        canvas.fill(&bar, colour(full.powf(share), full));
    }
    let frame = [
        (left, top),
        (right, top),
        (right, top + 6.0),
        (left, top + 6.0),
        (left, top),
    ];
    canvas.line(&frame, Stroke::solid(SOFT, 0.4));
    let y = top + 12.0;
    canvas.text(
        &format!("÷{}", three_digits(full)),
        (left, y),
        Align::Left,
        CELL_SIZE,
        INK,
    );
    canvas.text(
        "equal",
        (left.midpoint(right), y),
        Align::Center,
        CELL_SIZE,
        INK,
    );
    canvas.text(
        &format!("×{}", three_digits(full)),
        (right, y),
        Align::Right,
        CELL_SIZE,
        INK,
    );
}

fn draw_legend(canvas: &mut Canvas<'_>, left: f64, y: f64) {
    let mut x = left;
    let mut entry = |canvas: &mut Canvas<'_>, paint: fn(&mut Canvas<'_>, &Rect), text: &str| {
        let cell = Rect {
            left: x,
            top: y - 4.5,
            right: x + 10.0,
            bottom: y + 4.5,
        };
        paint(canvas, &cell);
        canvas.text(text, (x + 13.0, y), Align::Left, CELL_SIZE, INK);
        x += 13.0 + crate::font::width(text, CELL_SIZE) + 12.0;
    };
    entry(
        canvas,
        |canvas, cell| {
            canvas.fill(&inset(cell), BETTER.pale(0.25));
            draw_dot(canvas, cell);
        },
        "95 % interval includes equal",
    );
    entry(
        canvas,
        |canvas, cell| {
            canvas.fill(&inset(cell), WORSE.pale(0.35));
            draw_corner(canvas, cell);
        },
        "some runs saturated",
    );
    entry(canvas, hatched, "saturated: no factor");
    entry(canvas, |_, _| (), "* P99 of fewer than 1,000 samples a run");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(policy: &str, load: &str, metric: &str, ratio: Option<f64>) -> DifferenceRow {
        DifferenceRow {
            workload: "weka".into(),
            load: load.into(),
            metric: metric.into(),
            policy: policy.into(),
            setting: "default".into(),
            ratio,
            ratio_low: ratio.map(|ratio| ratio * 0.9),
            ratio_high: ratio.map(|ratio| ratio * 1.1),
            samples_min: 500,
            ..DifferenceRow::default()
        }
    }

    #[test]
    fn policies_are_ordered_by_mean_logarithm_and_a_missing_factor_counts_as_the_worst() {
        let rows = [
            row("ref", "light", "wakeup_mean", Some(1.0)),
            row("gone", "light", "wakeup_mean", Some(0.1)),
            row("good", "light", "wakeup_mean", Some(0.5)),
            row("ref", "knee", "wakeup_mean", Some(1.0)),
            row("gone", "knee", "wakeup_mean", None),
            row("good", "knee", "wakeup_mean", Some(0.5)),
            row("bad", "light", "wakeup_mean", Some(3.0)),
            row("bad", "knee", "wakeup_mean", Some(40.0)),
        ];
        // gone: ln 0.1 + ln 40 = 1.39 over two cells; good: ln 0.5 = -0.69.
        assert_eq!(order(&rows), ["good", "ref", "gone", "bad"]);
        assert_eq!(table(&rows).len(), 8);
    }

    #[test]
    fn what_is_uncertain_saturated_or_of_few_samples_is_told_in_the_table_and_drawn() {
        let sure = row("a", "knee", "wakeup_mean", Some(0.5));
        let unsure = row("b", "knee", "wakeup_mean", Some(1.05));
        let full = row("c", "knee", "wakeup_mean", None);
        let tail = row("a", "knee", "wakeup_p99", Some(2.0));
        let rows = table(&[sure, unsure, full, tail]);
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.shown, row.ratio.is_some(), row.few_samples))
            .collect();
        let expected = [
            (true, true, false),
            (false, true, false),
            (false, false, false),
            (true, true, true),
        ];
        assert_eq!(told, expected);
        assert!(svg(&rows).contains("knee*"));
        assert!(!svg(&rows[..3]).contains("knee*"));
    }

    #[test]
    fn colours_are_white_at_equal_and_full_at_the_ends_of_the_scale_and_beyond() {
        assert_eq!(colour(1.0, 30.0), Rgb::WHITE);
        assert_eq!(colour(30.0, 30.0), WORSE);
        assert_eq!(colour(1e-9, 30.0), BETTER);
    }
}
