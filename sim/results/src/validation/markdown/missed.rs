//! Every target of whole runs that is missed, and which part of the wake-up carries it.

use super::{COLUMNS, MISSED, Quantity, Summary, code, heading, line, never, signed, whole_cell};
use crate::validation::rows::ClosedLoopRow;
use std::fmt::Write as _;

/// Parts that differ by less are not named \[ns\].
const NAMED_FROM: f64 = 1e5;
/// Most parts that are named.
const NAMED_MOST: usize = 3;

/// The section; nothing if no target is missed.
pub(super) fn missed(text: &mut String, recordings: &[Summary]) {
    let Some(first) = recordings.first() else {
        return;
    };
    let latest = recordings.iter().filter(|r| r.kernels == first.kernels);
    let rows: Vec<[String; 7]> = latest.flat_map(rows).collect();
    if rows.is_empty() {
        return;
    }
    let _ = write!(
        text,
        "\n## What is missed, and which part of the wake-up carries it\n\nKernels: {}. Simulated (least to most of the draws) / mean of the GPU (least to most of its runs). Parts of the mean wake-up, simulated - measured, ms: \
         at most {NAMED_MOST}, the largest first, from {:.1} on.\n\n",
        first.kernels,
        NAMED_FROM / 1e6
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
            "parts of the wake-up",
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
            let among = row.drawn_min.zip(row.drawn_max).map(|(least, most)| {
                let among = (least..=most).contains(&row.measured);
                if among { "yes" } else { "no" }
            });
            all.push([
                code(&recording.name),
                row.policy.clone(),
                row.repeats.to_string(),
                format!("{title}: {}", whole_cell(quantity, row)),
                row.error.map_or("-".to_owned(), signed),
                among.unwrap_or("no draws").to_owned(),
                parts(recording, &row.policy),
            ]);
        }
    }
    all
}

/// The parts of the mean wake-up of a policy that differ most.
fn parts(recording: &Summary, policy: &str) -> String {
    let off = |row: &ClosedLoopRow| row.simulated - row.measured;
    let mut parts: Vec<(&str, f64)> = Quantity::parts()
        .filter_map(|part| {
            let row = recording.row(policy, part.name())?;
            Some((part.title(), off(row)))
        })
        .filter(|(_, off)| off.abs() >= NAMED_FROM)
        .collect();
    parts.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    parts.truncate(NAMED_MOST);
    let named = parts
        .iter()
        .map(|(name, off)| format!("{name} {:+.1}", off / 1e6));
    named.collect::<Vec<_>>().join(", ")
}
