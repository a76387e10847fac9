//! What a run comes to: every metric, derived once, from the rows of its folder.
//!
//! ```text
//!   TurnRow, SessionRow ──► Collector ──► RunMetrics ──► one row of runs.csv
//! ```
//!
//! Which rows count:
//! - **turns** that were ready before the end of the warm-up, or after the end of the measured time where one is set, are left
//!   out of every metric of turns;
//! - **sessions** that arrived before or after it are left out of `jct_*` and of the sessions within the SLO;
//! - **totals of sessions** (finished, failed, swaps, bytes) are those of the whole run, because a
//!   failure or a copy is not undone by having happened early;
//! - the **backlog** is that of all turns, because it is what says whether the run had settled.
//!
//! Percentiles are nearest ranks ([`crate::stats`]), each with the count of its samples; a P99 of fewer
//! than 1,000 is marked. What has no samples is empty, never 0. Times are integer nanoseconds.
//!
//! **Absent on purpose:** averages over runs. A row is one run; what compares runs is
//! [`crate::compare`].

mod backlog;
mod collect;

pub use backlog::{Backlog, STABLE_GROWTH, STABLE_SLACK};
pub use collect::Collector;

use crate::parts::RowFault;
use crate::rows::{SessionRow, TurnRow};
use crate::spec::RunSpec;
use serde::{Deserialize, Serialize};

/// What the metrics need to know besides the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Turns ready before this instant do not count \[ns\].
    pub warmup_ns: u64,
    /// Nor do turns ready at this instant or later \[ns\]; `u64::MAX` for no end.
    pub until_ns: u64,
    /// A turn is within its SLO if its first token comes at most this long after it was ready \[ns\].
    pub slo_ns: u64,
    /// The run went on until every session was over. If not, the backlog at its end is unknown, for a
    /// turn that was cut off has no row.
    pub drained: bool,
}

impl Measure {
    /// As the `[measure]` section of a run spec says.
    pub fn of(spec: &RunSpec) -> Self {
        Self {
            warmup_ns: model::Nanos::from_secs_f64(spec.measure.warmup_s).0,
            until_ns: spec
                .measure
                .until_s
                .map_or(u64::MAX, |until| model::Nanos::from_secs_f64(until).0),
            slo_ns: model::Nanos::from_secs_f64(spec.measure.slo_wakeup_ms / 1e3).0,
            drained: spec.measure.drain,
        }
    }

    /// Whether what begins at `instant` \[ns\] counts.
    pub fn counts(self, instant: u64) -> bool {
        (self.warmup_ns..self.until_ns).contains(&instant)
    }
}

/// The metrics of one run: a flat record, whose field names are the columns of `runs.csv`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunMetrics {
    // Counts.
    /// Sessions of the run.
    pub sessions: u64,
    /// Of those: finished.
    pub finished: u64,
    /// Of those: failed, for whatever reason.
    pub failed: u64,
    /// Turns that count: finished, and ready within the measured time.
    pub turns: u64,
    /// Turns left out because they were ready in the warm-up, or after the end of the measured time.
    pub turns_outside: u64,
    /// Of `turns`: those after a wait. The sample count of `wakeup_ns_*`, `wake_turn_ns_*` and
    /// `wake_*_ns_mean`.
    pub wakeups: u64,
    /// From the end of the warm-up (0 without one) to the last token of the run.
    pub duration_ns: u64,

    // Wake-up latency: end of the wait to first new token, turns after a wait.
    /// Mean wake-up latency.
    pub wakeup_ns_mean: Option<u64>,
    /// Median wake-up latency.
    pub wakeup_ns_p50: Option<u64>,
    /// 90 % quantile of the wake-up latency.
    pub wakeup_ns_p90: Option<u64>,
    /// 99 % quantile of the wake-up latency.
    pub wakeup_ns_p99: Option<u64>,
    /// 99.9 % quantile of the wake-up latency.
    pub wakeup_ns_p999: Option<u64>,
    /// Longest wake-up latency.
    pub wakeup_ns_max: Option<u64>,
    /// `wakeup_ns_p99` rests on fewer than 1,000 samples.
    pub wakeup_p99_marked: bool,

    // Its parts; they sum to `wakeup_ns_mean` up to the rounding of each.
    /// Mean time in which `COMPUTE` was not yet delivered.
    pub wake_signal_ns_mean: Option<u64>,
    /// Mean time held by the policy.
    pub wake_hold_ns_mean: Option<u64>,
    /// Mean time spent waiting for the turn's own restore.
    pub wake_copy_ns_mean: Option<u64>,
    /// Mean time admitted without a block to go on.
    pub wake_stall_ns_mean: Option<u64>,
    /// Mean time in the queue.
    pub wake_queue_ns_mean: Option<u64>,
    /// Mean time of prefill steps spent on tokens whose KV existed before.
    pub wake_recompute_ns_mean: Option<u64>,
    /// Mean rest of the prefill steps.
    pub wake_prefill_ns_mean: Option<u64>,
    /// Mean copy time hidden before the end of the wait (not a part of the latency).
    pub hidden_copy_ns_mean: Option<u64>,

    // Time to first token of turns without a wait.
    /// Turns without a wait: the sample count of `ttft_ns_*`.
    pub ttft_count: u64,
    /// Mean TTFT.
    pub ttft_ns_mean: Option<u64>,
    /// Median TTFT.
    pub ttft_ns_p50: Option<u64>,
    /// 90 % quantile of the TTFT.
    pub ttft_ns_p90: Option<u64>,
    /// 99 % quantile of the TTFT.
    pub ttft_ns_p99: Option<u64>,
    /// Longest TTFT.
    pub ttft_ns_max: Option<u64>,
    /// `ttft_ns_p99` rests on fewer than 1,000 samples.
    pub ttft_p99_marked: bool,

    // Turn latency: ready to last token, all turns. Sample count: `turns`.
    /// Mean turn latency.
    pub turn_ns_mean: Option<u64>,
    /// Median turn latency.
    pub turn_ns_p50: Option<u64>,
    /// 90 % quantile of the turn latency.
    pub turn_ns_p90: Option<u64>,
    /// 99 % quantile of the turn latency.
    pub turn_ns_p99: Option<u64>,
    /// Longest turn latency.
    pub turn_ns_max: Option<u64>,
    /// `turn_ns_p99` rests on fewer than 1,000 samples.
    pub turn_p99_marked: bool,
    /// Median turn latency, as the original evaluation indexed it ([`crate::stats::seed_p50`]).
    pub turn_ns_seed_p50: Option<u64>,
    /// P99 of the turn latency, as the original evaluation indexed it ([`crate::stats::seed_p99`]).
    pub turn_ns_seed_p99: Option<u64>,

    // Turn latency of turns after a wait: what the original evaluation called wake-up latency.
    /// Mean turn latency after a wait.
    pub wake_turn_ns_mean: Option<u64>,
    /// Median turn latency after a wait.
    pub wake_turn_ns_p50: Option<u64>,
    /// 99 % quantile of the turn latency after a wait.
    pub wake_turn_ns_p99: Option<u64>,
    /// Median turn latency after a wait, as the original evaluation indexed it.
    pub wake_turn_ns_seed_p50: Option<u64>,
    /// P99 of the turn latency after a wait, as the original evaluation indexed it.
    pub wake_turn_ns_seed_p99: Option<u64>,

    // Time per output token: first to last token over (tokens - 1), rounded down.
    /// Turns with two output tokens or more: the sample count of `tpot_ns_*`.
    pub tpot_count: u64,
    /// Median TPOT.
    pub tpot_ns_p50: Option<u64>,
    /// 99 % quantile of the TPOT.
    pub tpot_ns_p99: Option<u64>,

    // Session completion time: arrival to last token, waits included.
    /// Finished sessions that arrived within the measured time: the sample count of `jct_ns_*`.
    pub jct_count: u64,
    /// Mean completion time.
    pub jct_ns_mean: Option<u64>,
    /// Median completion time.
    pub jct_ns_p50: Option<u64>,
    /// 99 % quantile of the completion time.
    pub jct_ns_p99: Option<u64>,

    // Goodput and throughput over `duration_ns`, or over the measured time where that ends earlier.
    /// Turns whose first token came within the SLO, with or without a wait.
    pub slo_turns: u64,
    /// Of `jct_count`: those all of whose counted turns were within the SLO.
    pub slo_sessions: u64,
    /// `slo_turns` per second.
    pub goodput_turns_per_s: Option<f64>,
    /// `slo_sessions` per second.
    pub goodput_sessions_per_s: Option<f64>,
    /// Output tokens of the turns that count, per second.
    pub output_tokens_per_s: Option<f64>,
    /// Turns that count, per second.
    pub turns_per_s: Option<f64>,

    // KV: where it went and what that cost.
    /// Prompt tokens of the turns that count.
    pub input_tokens: u64,
    /// Output tokens of the turns that count.
    pub output_tokens: u64,
    /// Share of `input_tokens` found in HBM at admission.
    pub hit_ratio: Option<f64>,
    /// Of the tokens found: those brought back from the host.
    pub restored_tokens: u64,
    /// Tokens computed again although their KV existed before.
    pub recomputed_tokens: u64,
    /// Times a turn that counts was sent back to the queue.
    pub preemptions: u64,
    /// Turns that the policy withheld, after a wait or not.
    pub held_turns: u64,
    /// Sessions with at least one such turn.
    pub held_sessions: u64,
    /// Time in which turns were withheld, summed over them.
    pub held_ns: u64,
    /// Longest time in which one was.
    pub held_ns_max: u64,
    /// Prefetches that were complete when the turn was ready.
    pub prefetch_in_time: u64,
    /// Prefetches that were not.
    pub prefetch_late: u64,
    /// Prefetches whose KV was lost again or never used.
    pub prefetch_wasted: u64,
    /// Swap-outs begun, whole run.
    pub swaps: u64,
    /// Swap-ins completed, whole run.
    pub restores: u64,
    /// Bytes moved to the host, whole run.
    pub d2h_bytes: u64,
    /// Bytes brought back, whole run.
    pub h2d_bytes: u64,
    /// HBM held by idle sessions, whole run \[byte-milliseconds\].
    pub idle_byte_ms: u64,

    // Whether the run had settled ([`Backlog`]).
    /// Mean number of unfinished turns in the middle fifth of the arrivals.
    pub backlog_mid: Option<f64>,
    /// Mean number of unfinished turns in the last fifth of the arrivals.
    pub backlog_end: Option<f64>,
    /// The backlog did not grow; empty where that cannot be told.
    pub stable: Option<bool>,
}

impl RunMetrics {
    /// The metrics of rows that are in memory or can be walked through. For rows from a file use
    /// [`crate::folder::RunFolder::metrics`].
    ///
    /// # Errors
    /// The first row that cannot be true.
    pub fn of_rows<'a>(
        measure: Measure,
        turns: impl IntoIterator<Item = &'a TurnRow>,
        sessions: impl IntoIterator<Item = &'a SessionRow>,
    ) -> Result<Self, RowFault> {
        let mut collector = Collector::new(measure);
        for row in turns {
            collector.turn(row)?;
        }
        for row in sessions {
            collector.session(row);
        }
        Ok(collector.finish())
    }
}

#[cfg(test)]
mod tests;
