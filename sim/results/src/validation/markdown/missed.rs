//! Every target of whole runs that is missed with the latest kernels, and what the wake-ups around a missed median are made of.

use super::{
    COLUMNS, MISSED, Quantity, Summary, by_kernels, code, heading, line, never, signed, whole_cell,
};
use crate::parts;
use std::fmt::Write as _;

/// Parts that differ by less are not named \[ns\].
const PART_FROM: f64 = 1e5;
/// Most parts that are named.
const PARTS_MOST: usize = 3;

/// The section; nothing if no target is missed.
pub(super) fn missed(text: &mut String, recordings: &[Summary]) {
    let Some(latest) = by_kernels(recordings).next() else {
        return;
    };
    let rows: Vec<[String; 7]> = latest.iter().flat_map(rows).collect();
    if rows.is_empty() {
        return;
    }
    let _ = write!(
        text,
        "\n## What is missed\n\nKernels: {}. Simulated (least to most of the draws) / mean of the GPU (least to most of its runs). For a median, the parts of the wake-ups in the middle tenth by latency, mean of the draws \
         less mean of the GPU's runs, ms (the median that is judged is that of one draw, so that they need not add up to its error); at most {PARTS_MOST}, the largest first, from {:.1} on.\n\n",
        latest[0].kernels,
        PART_FROM / 1e6
    );
    heading(
        text,
        &[
            "recording",
            "policy",
            "runs",
            "simulated / measured",
            "error, %",
            "the GPU's mean is among the draws",
            "parts",
        ],
    );
    for row in rows {
        line(text, &row);
    }
}

fn rows(recording: &Summary) -> Vec<[String; 7]> {
    let mut all = Vec::new();
    for (quantity, title) in COLUMNS {
        for row in recording.rows(quantity.name()) {
            if row.verdict != MISSED || never(row) {
                continue;
            }
            let among = match row.among_draws() {
                None => "no draws",
                Some(true) => "yes",
                Some(false) => "no",
            };
            let middle = recording
                .middles
                .get(&row.policy)
                .filter(|_| quantity == Quantity::WakeupP50);
            all.push([
                code(&recording.name),
                row.policy.clone(),
                row.repeats.to_string(),
                format!("{title}: {}", whole_cell(quantity, row)),
                row.error.map_or("-".to_owned(), signed),
                among.to_owned(),
                middle.map_or(String::new(), largest),
            ]);
        }
    }
    all
}

/// The parts that differ most.
fn largest(off: &[f64; 7]) -> String {
    let mut named: Vec<(&str, f64)> = parts::NAMES
        .into_iter()
        .zip(*off)
        .filter(|(_, off)| off.abs() >= PART_FROM)
        .collect();
    named.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    named.truncate(PARTS_MOST);
    let shown = named
        .iter()
        .map(|(name, off)| format!("{name} {:+.1}", off / 1e6));
    shown.collect::<Vec<_>>().join(", ")
}
