//! Figure: where the time of a wake-up goes, on average and among the slowest.
//!
//! Runs:   every run below the folder that kept `turns.csv`
//! Output: `wakeup_breakdown.{svg,pdf,png}`, `wakeup_breakdown.csv`
//! Shows:  per policy the mean of each of the seven parts of the wake-up latency, wake-ups of all seeds and draws
//!         pooled; left over all wake-ups, right over the slowest 1 % (at least one)
//!
//! **Invariant:** the parts of a bar sum to its mean exactly; a row that does not sum is refused.
//! Where the longest bar would reduce others to nothing (50 times as long), bars show shares instead.

use crate::FigureError;
use crate::axis::Axis;
use crate::canvas::{Align, Canvas, Rect, Stroke, draw};
use crate::font;
use crate::format::{duration, grouped};
use crate::legend::{Key, Legend, swatch};
use crate::panel::{Labels, Panel, TICK_ROW, TITLE_ROW};
use crate::render::write_with_table;
use crate::runs::{self, RunTurns, policies_of};
use crate::theme::{GRID, INK, PAGE, Rgb, SOFT, TICK_SIZE};
use model::{SessionId, TurnIndex};
use results::parts;
use results::rows::TurnRow;
use serde::Serialize;
use std::cmp::Reverse;
use std::path::{Path, PathBuf};

/// Name of the figure and stem of its files.
pub const NAME: &str = "wakeup_breakdown";
/// What it is made from.
pub const NEEDS: &str = "a run folder with `turns.csv`";

/// Makes the figure from the runs at or below `folder`: one for each setting that they were run in.
///
/// # Errors
/// If there is no run, none has a wake-up, the parts of a turn do not sum, or a file cannot be read or
/// written.
pub fn make(folder: &Path, out: &Path) -> Result<Vec<PathBuf>, FigureError> {
    let groups = runs::read_for(NAME, NEEDS, folder)?;
    let mut files = Vec::new();
    for (label, runs) in groups {
        let rows = table(&runs)?;
        let stem = runs::stem(NAME, &label);
        files.extend(write_with_table(out, &stem, &svg(&rows), &rows)?);
    }
    Ok(files)
}

/// Colour of each part and whether it is hatched, in the order of [`parts::NAMES`]; neighbours differ in
/// lightness or hatching.
const FILLS: [(Rgb, bool); 7] = [
    (Rgb(60, 60, 60), false),
    (Rgb::PURPLE, true),
    (Rgb::BLUE, false),
    (Rgb::YELLOW, false),
    (Rgb::SKY, false),
    (Rgb::VERMILION, true),
    (Rgb::GREEN, false),
];

/// Bars longer than the shortest by this factor are drawn as shares.
const SHARES_FROM: f64 = 50.0;

/// One bar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BreakdownRow {
    /// Whose wake-ups.
    pub policy: String,
    /// `all`, or `slowest 1 %`.
    pub among: &'static str,
    /// Wake-ups behind the bar.
    pub wakeups: u64,
    /// Sum of their latencies \[ns\]; divided by `wakeups` it is the mean.
    pub wakeup_ns_total: u128,
    /// Sums of their parts \[ns\].
    pub wake_signal_ns_total: u128,
    /// As above.
    pub wake_hold_ns_total: u128,
    /// As above.
    pub wake_copy_ns_total: u128,
    /// As above.
    pub wake_stall_ns_total: u128,
    /// As above.
    pub wake_queue_ns_total: u128,
    /// As above.
    pub wake_recompute_ns_total: u128,
    /// As above.
    pub wake_prefill_ns_total: u128,
}

impl BreakdownRow {
    fn new(policy: &str, among: &'static str, turns: &[&TurnRow]) -> Self {
        let mut totals = [0u128; 7];
        for turn in turns {
            for (total, part) in totals.iter_mut().zip(parts::of(turn)) {
                *total += u128::from(part);
            }
        }
        let [signal, hold, copy, stall, queue, recompute, prefill] = totals;
        Self {
            policy: policy.to_owned(),
            among,
            wakeups: turns.len() as u64,
            wakeup_ns_total: turns.iter().map(|t| u128::from(latency(t))).sum(),
            wake_signal_ns_total: signal,
            wake_hold_ns_total: hold,
            wake_copy_ns_total: copy,
            wake_stall_ns_total: stall,
            wake_queue_ns_total: queue,
            wake_recompute_ns_total: recompute,
            wake_prefill_ns_total: prefill,
        }
    }

    /// Sums of the parts \[ns\], in the order of [`parts::NAMES`].
    pub fn parts(&self) -> [u128; 7] {
        [
            self.wake_signal_ns_total,
            self.wake_hold_ns_total,
            self.wake_copy_ns_total,
            self.wake_stall_ns_total,
            self.wake_queue_ns_total,
            self.wake_recompute_ns_total,
            self.wake_prefill_ns_total,
        ]
    }

    /// Mean latency in seconds; 0 of none.
    pub fn mean_s(&self) -> f64 {
        self.wakeup_ns_total as f64 / 1e9 / self.wakeups.max(1) as f64
    }
}

fn latency(turn: &TurnRow) -> u64 {
    turn.first_token_ns - turn.ready_ns
}

/// The table behind the figure: two bars per policy.
///
/// # Errors
/// If a turn's parts do not sum to its latency.
pub fn table(runs: &[RunTurns]) -> Result<Vec<BreakdownRow>, FigureError> {
    for run in runs {
        parts::check_all(&run.wakeups).map_err(|fault| FigureError::Row {
            run: run.name.clone(),
            fault: fault.to_string(),
        })?;
    }
    let mut rows = Vec::new();
    for policy in policies_of(runs) {
        let own = runs.iter().filter(|run| run.policy == policy);
        let mut turns: Vec<((u64, u32), &TurnRow)> = own
            .flat_map(|run| run.wakeups.iter().map(|turn| (run.repeat, turn)))
            .collect();
        // Slowest first; among equals the earlier seed, draw, session, turn.
        turns.sort_by_key(|(repeat, t)| {
            (
                Reverse(latency(t)),
                *repeat,
                SessionId(t.session),
                TurnIndex(t.turn),
            )
        });
        let turns: Vec<&TurnRow> = turns.into_iter().map(|(_, turn)| turn).collect();
        let slowest = &turns[..turns.len().div_ceil(100)];
        rows.push(BreakdownRow::new(&policy, "all", &turns));
        rows.push(BreakdownRow::new(&policy, "slowest 1 %", slowest));
    }
    Ok(rows)
}

/// Draws the table; the SVG.
pub fn svg(rows: &[BreakdownRow]) -> String {
    let among = |what: &str| {
        rows.iter()
            .filter(|row| row.among == what)
            .collect::<Vec<_>>()
    };
    let (all, slowest) = (among("all"), among("slowest 1 %"));
    let entries = parts::NAMES.iter().zip(FILLS);
    let entries =
        entries.map(|(name, (color, hatched))| (Key::Area(color, hatched), (*name).to_owned()));
    let legend = Legend::new(entries.collect(), PAGE - 8.0);

    let names: Vec<String> = all
        .iter()
        .map(|row| font::fit(&row.policy, TICK_SIZE, 120.0))
        .collect();
    let name_width = names
        .iter()
        .map(|n| font::width(n, TICK_SIZE))
        .fold(0.0, f64::max);
    let left = name_width + 10.0;
    let (bar, between) = (10.0, 6.0);
    let top = legend.height() + 22.0;
    let depth = all.len() as f64 * (bar + between) + between;
    let middle = 22.0;
    let width = (PAGE - left - middle - 8.0) / 2.0;
    let height = top + depth + TICK_ROW + TITLE_ROW + 3.0;

    draw(PAGE, height, |canvas| {
        legend.draw(canvas, 2.0, PAGE - 2.0, 2.0);
        let bars = [(all, "All wake-ups"), (slowest, "Slowest 1 % of wake-ups")];
        for (index, (rows, title)) in bars.into_iter().enumerate() {
            let start = left + index as f64 * (width + middle);
            let rect = Rect {
                left: start,
                top,
                right: start + width,
                bottom: top + depth,
            };
            let panel = Bars::new(rect, &rows);
            panel.draw(canvas, &rows, title, bar, between);
        }
        for (index, name) in names.iter().enumerate() {
            let y = top + between + index as f64 * (bar + between) + bar / 2.0;
            canvas.text(name, (left - 5.0, y), Align::Right, TICK_SIZE, INK);
        }
    })
}

/// A panel of horizontal bars.
struct Bars {
    panel: Panel,
    shares: bool,
}

impl Bars {
    fn new(rect: Rect, rows: &[&BreakdownRow]) -> Self {
        let longest = rows.iter().map(|row| row.mean_s()).fold(0.0, f64::max);
        let means = rows
            .iter()
            .map(|row| row.mean_s())
            .filter(|mean| *mean > 0.0);
        let shortest = means.fold(f64::INFINITY, f64::min);
        let shares = longest > SHARES_FROM * shortest;
        // The label of the mean stands behind the bar: the longest bar ends where its label still fits.
        let note = rows
            .iter()
            .map(|row| font::width(&note(row), TICK_SIZE))
            .fold(0.0, f64::max)
            + 8.0;
        let y = Axis::linear(0.0, 1.0, 1).with_ticks(&[]);
        if shares {
            let rect = Rect {
                right: rect.right - note,
                ..rect
            };
            return Self {
                panel: Panel {
                    rect,
                    x: Axis::linear(0.0, 100.0, 4),
                    y,
                },
                shares,
            };
        }
        let room = rect.width() / (rect.width() - note);
        let x = Axis::linear(
            0.0,
            longest.max(1e-9) * room,
            (rect.width() / 38.0) as usize,
        );
        Self {
            panel: Panel { rect, x, y },
            shares,
        }
    }

    fn draw(
        &self,
        canvas: &mut Canvas<'_>,
        rows: &[&BreakdownRow],
        title: &str,
        bar: f64,
        between: f64,
    ) {
        let top = self.panel.rect.top;
        let bottom = self.panel.rect.bottom;
        for tick in &self.panel.x.ticks {
            let x = self.panel.x_at(tick.value);
            canvas.line(&[(x, top), (x, bottom)], Stroke::solid(GRID, 0.5));
        }
        for (index, row) in rows.iter().enumerate() {
            let y = top + between + index as f64 * (bar + between);
            let scale = if self.shares {
                100.0 / row.wakeup_ns_total.max(1) as f64
            } else {
                1e-9 / row.wakeups.max(1) as f64
            };
            let mut sum = 0u128;
            for (part, (color, hatched)) in row.parts().into_iter().zip(FILLS) {
                let start = self.panel.x_at(sum as f64 * scale);
                sum += part;
                let end = self.panel.x_at(sum as f64 * scale);
                if end - start > 0.05 {
                    swatch(
                        canvas,
                        &Rect {
                            left: start,
                            top: y,
                            right: end,
                            bottom: y + bar,
                        },
                        color,
                        hatched,
                    );
                }
            }
            let (left, text) = (self.panel.x_at(sum as f64 * scale) + 4.0, note(row));
            let right = left + font::width(&text, TICK_SIZE);
            canvas.fill(
                &Rect {
                    left,
                    top: y,
                    right,
                    bottom: y + bar,
                },
                Rgb::WHITE,
            );
            canvas.text(&text, (left, y + bar / 2.0), Align::Left, TICK_SIZE, SOFT);
        }
        let x = if self.shares {
            "share of the mean [%]"
        } else {
            "mean wake-up latency [s]"
        };
        let labels = Labels {
            x: Some(x),
            title: Some(title),
            no_y_ticks: true,
            ..Labels::default()
        };
        self.panel.frame(canvas, labels, 0.0);
    }
}

/// Mean and count of a bar.
fn note(row: &BreakdownRow) -> String {
    if row.wakeups == 0 {
        return "no wake-ups".to_owned();
    }
    format!(
        "{} (n = {})",
        duration(row.mean_s()),
        grouped(row.wakeups as f64, 0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::testing::{run, turn};

    #[test]
    fn parts_sum_to_the_mean_to_the_nanosecond() {
        let runs = [
            run("djinn", 1, &[1_000_003, 77, 5]),
            run("djinn", 2, &[999]),
        ];
        let rows = table(&runs).unwrap();
        for row in &rows {
            assert_eq!(
                row.parts().iter().sum::<u128>(),
                row.wakeup_ns_total,
                "{row:?}"
            );
        }
        // 1,000,003 + 77 + 5 + 999 over four.
        assert_eq!((rows[0].wakeup_ns_total, rows[0].wakeups), (1_001_084, 4));
    }

    #[test]
    fn the_slowest_hundredth_is_rounded_up_to_at_least_one() {
        let many: Vec<u64> = (1..=250).collect();
        let rows = table(&[run("djinn", 1, &many)]).unwrap();
        // ceil(250 / 100) = 3: 250 + 249 + 248.
        assert_eq!((rows[1].wakeups, rows[1].wakeup_ns_total), (3, 747));
        let rows = table(&[run("djinn", 1, &[42])]).unwrap();
        assert_eq!((rows[1].wakeups, rows[1].wakeup_ns_total), (1, 42));
        let rows = table(&[run("djinn", 1, &[])]).unwrap();
        assert_eq!((rows[1].wakeups, rows[1].wakeup_ns_total), (0, 0));
        assert!(svg(&rows).contains("no wake-ups"));
    }

    #[test]
    fn a_row_whose_parts_do_not_sum_is_refused_by_name() {
        let mut broken = run("djinn", 7, &[]);
        broken.wakeups.push(TurnRow {
            wake_hold_ns: 1,
            ..turn(3, 2, 500)
        });
        let error = table(&[broken]).unwrap_err().to_string();
        assert!(
            error.contains("turn 2 of session 3") && error.contains("djinn-7"),
            "{error}"
        );
    }

    #[test]
    fn bars_of_very_different_length_are_drawn_as_shares() {
        let even = table(&[run("djinn", 1, &[1_000]), run("keep-always", 1, &[40_000])]).unwrap();
        assert!(svg(&even).contains("latency [s]"));
        let uneven = table(&[run("djinn", 1, &[1_000]), run("keep-always", 1, &[60_000])]).unwrap();
        assert!(svg(&uneven).contains("share of the mean"));
    }
}
