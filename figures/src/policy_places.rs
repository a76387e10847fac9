//! Figure: the table of places. Few policies are in front in more than one workload, and many share their place.
//!
//! Runs:   `ranking.csv` and `differences.csv` of `djinn rank`
//! Output: `policy_places.{svg,pdf,png}`, `policy_places.csv`
//! Shows:  the place of each policy in each workload at each load: by mean wake-up with its defaults, the same with tuned parameters, by session
//!         completion time with its defaults. Policies that cannot be told apart share a place. The darker, the nearer to the front; hatched:
//!         saturated on so many shards that it has no place.

use crate::FigureError;
use crate::canvas::{Align, draw};
use crate::matrix::{CELL_SIZE, Column, Matrix, hatched, inset};
use crate::policy_heat::{columns, order, read};
use crate::render::write_with_table;
use crate::theme::{INK, PAGE, Rgb};
use results::folder::read_table;
use results::ranking::{DifferenceRow, PlaceRow};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Name of the figure and stem of its files.
pub const NAME: &str = "policy_places";
/// What it is made from.
pub const NEEDS: &str = "`ranking.csv` and `differences.csv`, which `djinn rank` writes";
/// The table of places.
const FILE: &str = "ranking.csv";

/// Blocks: metric, setting, title.
const BLOCKS: [(&str, &str, &str); 3] = [
    ("wakeup_mean", "default", "mean wake-up"),
    ("wakeup_mean", "tuned", "mean wake-up, tuned"),
    ("jct_mean", "default", "session completion"),
];
/// Places up to this are shaded.
const SHADED: f64 = 12.0;

/// One place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CellRow {
    /// Which block: 0, 1, …
    pub block: usize,
    /// What policies are placed by.
    pub metric: String,
    /// `default` or `tuned`.
    pub setting: String,
    /// The policy.
    pub policy: String,
    /// The workload.
    pub workload: String,
    /// The load.
    pub load: String,
    /// Place; empty where the policy has none.
    pub place: Option<u64>,
    /// Policies that share it.
    pub tied: u64,
}

/// Makes the figure from the tables in `folder`.
///
/// # Errors
/// If a table is missing or empty, or a file cannot be written.
pub fn make(folder: &Path, out: &Path) -> Result<Vec<PathBuf>, FigureError> {
    let differences = read(NAME, NEEDS, folder)?;
    let places: Vec<PlaceRow> = read_table(&folder.join(FILE))?;
    let rows = table(&differences, &places);
    write_with_table(out, NAME, &svg(&rows), &rows)
}

/// The table behind the figure, policies in the order of the heat map. Without tuned runs that block is left out.
pub fn table(differences: &[DifferenceRow], places: &[PlaceRow]) -> Vec<CellRow> {
    let mut rows = Vec::new();
    let there = BLOCKS.iter().filter(|(metric, setting, _)| {
        places
            .iter()
            .any(|row| row.metric == *metric && row.setting == *setting)
    });
    for (block, (metric, setting, _)) in there.enumerate() {
        for policy in order(differences) {
            let mine = places.iter().filter(|row| {
                row.metric == *metric && row.setting == *setting && row.policy == policy
            });
            rows.extend(mine.map(|row| CellRow {
                block,
                metric: row.metric.clone(),
                setting: row.setting.clone(),
                policy: policy.clone(),
                workload: row.workload.clone(),
                load: row.load.clone(),
                place: row.place,
                tied: row.tied,
            }));
        }
    }
    rows
}

/// Draws the table; the SVG.
pub fn svg(rows: &[CellRow]) -> String {
    let columns = columns(
        rows.iter()
            .map(|row| (row.workload.as_str(), row.load.as_str())),
    );
    let mut policies: Vec<String> = Vec::new();
    let mut titles: Vec<&str> = Vec::new();
    for row in rows {
        if !policies.contains(&row.policy) {
            policies.push(row.policy.clone());
        }
        if row.block == titles.len() {
            let title = BLOCKS
                .iter()
                .find(|(m, s, _)| row.metric == *m && row.setting == *s);
            titles.push(title.map_or("", |(_, _, title)| title));
        }
    }
    let matrix = Matrix::new(policies.clone(), columns, titles.len().max(1), PAGE, 1.0);
    draw(PAGE, matrix.bottom() + 4.0, |canvas| {
        matrix.frame(canvas, &titles, |_, _| false);
        for row in rows {
            let at = |column: &Column| column.workload == row.workload && column.load == row.load;
            let column = matrix.columns.iter().position(at);
            let policy = policies.iter().position(|policy| *policy == row.policy);
            let Some((policy, column)) = policy.zip(column) else {
                continue;
            };
            let cell = matrix.cell(row.block, policy, column);
            let Some(place) = row.place else {
                hatched(canvas, &cell);
                continue;
            };
            let share = (1.0 - (place as f64 - 1.0) / SHADED).max(0.0);
            canvas.fill(&inset(&cell), Rgb::BLUE.pale(0.85 * share));
            let ink = if share > 0.55 { Rgb::WHITE } else { INK };
            let text = format!("{place}{}", if row.tied > 1 { "=" } else { "" });
            let middle = (
                cell.left.midpoint(cell.right),
                cell.top.midpoint(cell.bottom),
            );
            canvas.text(&text, middle, Align::Center, CELL_SIZE, ink);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(policy: &str, setting: &str, place: Option<u64>, tied: u64) -> PlaceRow {
        PlaceRow {
            workload: "weka".into(),
            load: "knee".into(),
            metric: "wakeup_mean".into(),
            setting: setting.into(),
            policy: policy.into(),
            place,
            tied,
            ..PlaceRow::default()
        }
    }

    fn difference(policy: &str, ratio: f64) -> DifferenceRow {
        DifferenceRow {
            workload: "weka".into(),
            load: "knee".into(),
            metric: "wakeup_mean".into(),
            setting: "default".into(),
            policy: policy.into(),
            ratio: Some(ratio),
            ..DifferenceRow::default()
        }
    }

    #[test]
    fn places_stand_in_the_order_of_the_heat_map_and_ties_are_marked() {
        let differences = [difference("b", 2.0), difference("a", 0.5)];
        let places = [
            place("a", "default", Some(1), 2),
            place("b", "default", Some(1), 2),
            place("a", "tuned", Some(1), 1),
            place("b", "tuned", None, 1),
        ];
        let rows = table(&differences, &places);
        let shown: Vec<_> = rows
            .iter()
            .map(|r| (r.block, r.policy.as_str(), r.place))
            .collect();
        let expected = [
            (0, "a", Some(1)),
            (0, "b", Some(1)),
            (1, "a", Some(1)),
            (1, "b", None),
        ];
        assert_eq!(shown, expected);
        let svg = svg(&rows);
        assert!(svg.contains("1=") && svg.contains("tuned"));
    }

    #[test]
    fn without_tuned_runs_there_is_no_block_of_them() {
        let rows = table(
            &[difference("a", 0.5)],
            &[place("a", "default", Some(1), 1)],
        );
        assert!(!svg(&rows).contains("tuned"));
    }
}
