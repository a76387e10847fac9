//! P99 wake-up: what is judged, of runs pooled, and what is left of the rest.

use super::super::closed::{MISSED, Pair, Quantity, ends, latencies, verdict};
use super::super::rows::{ClosedLoopRow, ErrorSummary};
use super::{Summary, by_kernels, emphasised, heading, signed};
use crate::stats::{P99_SAMPLES_MIN, Quantile};
use std::fmt::Write as _;

/// The P99 of the wake-ups of all repeats of a policy.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    policy: String,
    wakeups: usize,
    simulated: f64,
    measured: f64,
    /// The least and the most of single runs.
    runs: (f64, f64),
    error: f64,
    target: f64,
    verdict: &'static str,
}

impl Tail {
    /// `None` of fewer wake-ups than a P99 is judged by.
    pub(super) fn of(pair: &Pair) -> Option<Self> {
        let quantity = Quantity::WakeupP99;
        let pooled = latencies(&pair.measured);
        let target = quantity.target(pooled.len() as u64)?;
        let simulated = Quantile::P99.of_sorted(&latencies(pair.judged()))? as f64;
        let measured = Quantile::P99.of_sorted(&pooled)? as f64;
        let error = simulated / measured.max(1.0) - 1.0;
        let runs = ends(&quantity.of_each(&pair.measured));
        let off = simulated - measured;
        Some(Self {
            policy: pair.policy.clone(),
            wakeups: pooled.len(),
            simulated,
            measured,
            runs,
            error,
            target,
            verdict: verdict(Some(error), target, off, runs.1 - runs.0),
        })
    }
}

/// The P99s that are judged.
pub(super) fn tails(text: &mut String, recordings: &[Summary]) {
    text.push_str("\n## P99 wake-up\n");
    let mut all = recordings.iter().flat_map(|recording| &recording.tails);
    let Some(first) = all.next() else {
        return;
    };
    let _ = write!(
        text,
        "\nPooled runs with {P99_SAMPLES_MIN} wake-ups and more; {:.0} % is aimed at.\n\n",
        first.target * 100.0
    );
    let cells = [
        "recording",
        "policy",
        "wake-ups",
        "simulated, ms",
        "measured, ms",
        "of single runs, ms",
        "error",
    ];
    heading(text, &cells);
    for recording in recordings {
        for tail in &recording.tails {
            let [simulated, measured, least, most] =
                [tail.simulated, tail.measured, tail.runs.0, tail.runs.1].map(|ns| ns / 1e6);
            let error = format!("{} %", signed(tail.error));
            let error = emphasised(error, tail.verdict == MISSED);
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {simulated:.1} | {measured:.1} | {least:.1} to {most:.1} | {error} |",
                recording.name, tail.policy, tail.wakeups
            );
        }
    }
}

/// The P99s at which nothing is aimed: what is left of them.
pub(super) fn short_tails(text: &mut String, recordings: &[Summary]) {
    let _ = writeln!(
        text,
        "\nA pair of a policy and a recording with fewer wake-ups has nothing to aim at: of two hundred, P99 is the second or third longest. Errors \
         of the median of the draws, and the pairs whose mean of the GPU lies among the draws:\n"
    );
    heading(
        text,
        &[
            "kernels",
            "pairs",
            "median error",
            "beyond 5 %",
            "beyond 10 %",
            "largest",
            "among the draws",
        ],
    );
    for group in by_kernels(recordings) {
        let short = |recording: &'_ Summary, row: &ClosedLoopRow| {
            let judged = recording.tails.iter().any(|tail| tail.policy == row.policy);
            row.error.is_some() && !judged
        };
        let rows: Vec<&ClosedLoopRow> = group
            .iter()
            .flat_map(|recording| {
                let rows = recording.rows(Quantity::WakeupP99.name());
                rows.filter(move |row| short(recording, row))
            })
            .collect();
        let errors = || rows.iter().filter_map(|row| row.error);
        let Some(summary) = ErrorSummary::of(errors()) else {
            continue;
        };
        let beyond = |share: f64| errors().filter(|error| error.abs() > share).count();
        let largest = errors().map(f64::abs).fold(0.0, f64::max);
        let among = rows
            .iter()
            .filter(|row| row.among_draws() == Some(true))
            .count();
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} % | {} | {} | {:.0} % | {among} |",
            group[0].kernels,
            rows.len(),
            summary.p50 * 100.0,
            beyond(0.05),
            beyond(0.1),
            largest * 100.0,
        );
    }
}
