//! Latencies, and where a wake-up goes.

use crate::format::{count, percent, plural, span, span_or_dash};
use crate::table::Table;
use results::metrics::RunMetrics;
use results::parts;
use results::stats::P99_SAMPLES_MIN;
use std::fmt::Write as _;

/// Percentiles with their counts.
pub(super) fn latencies(metrics: &RunMetrics) -> String {
    let heading = [
        "latency", "samples", "mean", "p50", "p90", "p99", "p99.9", "max",
    ];
    let mut table = Table::new(&heading);
    let m = metrics;
    let mut row = |name: &str, samples: u64, values: [Option<u64>; 6], marked: bool| {
        let mut cells = vec![name.to_owned(), count(samples)];
        cells.extend(values.map(span_or_dash));
        if marked {
            cells[5].push('*');
        }
        table.row(cells);
    };
    let wakeup = [
        m.wakeup_ns_mean,
        m.wakeup_ns_p50,
        m.wakeup_ns_p90,
        m.wakeup_ns_p99,
        m.wakeup_ns_p999,
        m.wakeup_ns_max,
    ];
    row("wake-up", m.wakeups, wakeup, m.wakeup_p99_marked);
    let ttft = [
        m.ttft_ns_mean,
        m.ttft_ns_p50,
        m.ttft_ns_p90,
        m.ttft_ns_p99,
        None,
        m.ttft_ns_max,
    ];
    row("TTFT without a wait", m.ttft_count, ttft, m.ttft_p99_marked);
    let turn = [
        m.turn_ns_mean,
        m.turn_ns_p50,
        m.turn_ns_p90,
        m.turn_ns_p99,
        None,
        m.turn_ns_max,
    ];
    row("turn, to last token", m.turns, turn, m.turn_p99_marked);
    let few = |samples: u64| samples > 0 && samples < P99_SAMPLES_MIN as u64;
    let tpot = [None, m.tpot_ns_p50, None, m.tpot_ns_p99, None, None];
    row(
        "time per output token",
        m.tpot_count,
        tpot,
        few(m.tpot_count),
    );
    let jct = [m.jct_ns_mean, m.jct_ns_p50, None, m.jct_ns_p99, None, None];
    row("session completion", m.jct_count, jct, few(m.jct_count));
    let mut text = format!("\n{}", table.render());
    if text.contains('*') {
        let _ = writeln!(
            text,
            "  * from fewer than {} samples",
            count(P99_SAMPLES_MIN as u64)
        );
    }
    if m.turns_outside > 0 {
        let _ = writeln!(
            text,
            "  {} outside the measured time do not count",
            plural(m.turns_outside, "turn")
        );
    }
    text
}

/// What each part of a wake-up means, in the order of [`parts::NAMES`].
const MEANING: [&str; 7] = [
    "COMPUTE not yet delivered",
    "held by the policy",
    "waiting for its own restore",
    "admitted, without a block to go on",
    "in the queue",
    "computing what had KV before",
    "computing what is new",
];

/// The seven parts of a wake-up, and what was hidden before it.
pub(super) fn breakdown(m: &RunMetrics) -> String {
    let Some(mean) = m.wakeup_ns_mean else {
        return "\n  no turn followed a wait: there are no wake-ups\n".to_owned();
    };
    let means = [
        m.wake_signal_ns_mean,
        m.wake_hold_ns_mean,
        m.wake_copy_ns_mean,
        m.wake_stall_ns_mean,
        m.wake_queue_ns_mean,
        m.wake_recompute_ns_mean,
        m.wake_prefill_ns_mean,
    ];
    let mut table = Table::new(&["wake-up, by part", "mean", "share", ""]).words_last();
    for ((name, part), meaning) in parts::NAMES.into_iter().zip(means).zip(MEANING) {
        let part = part.unwrap_or(0);
        let share = percent(part as f64, mean as f64);
        table.row([name.to_owned(), span(part), share, meaning.to_owned()]);
    }
    if let Some(hidden) = m.hidden_copy_ns_mean.filter(|&hidden| hidden > 0) {
        let meaning = "copied before the wait was over".to_owned();
        table.row([
            "(hidden copy)".to_owned(),
            span(hidden),
            String::new(),
            meaning,
        ]);
    }
    format!("\n{}", table.render())
}
