//! The tables of a validation.

use crate::stats::Quantile;
use serde::{Deserialize, Serialize};

/// Rows of [`OpenLoopRow`].
pub const OPEN_LOOP: &str = "open_loop.csv";
/// Rows of [`ClosedLoopRow`].
pub const CLOSED_LOOP: &str = "closed_loop.csv";
/// Rows of [`WakeupPairRow`].
pub const WAKEUPS: &str = "wakeups.csv";
/// Rows of [`super::RankRow`].
pub const RANKING: &str = "ranking.csv";
/// Rows of [`PolicyRow`].
pub const POLICY_ROWS: &str = "policies.csv";
/// Rows of [`OperationsRow`].
pub const OPERATIONS: &str = "operations.csv";

/// One operation of a measured run, and what the cost model expects of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenLoopRow {
    /// Policy of the run.
    pub policy: String,
    /// Which of the repeated runs, from 0.
    pub repeat: u32,
    /// Number of the operation in its run.
    pub op: u64,
    /// `prefill`, `decode`, `mixed`, `d2h` or `h2d`.
    pub kind: String,
    /// When it began \[ns\].
    pub start_ns: u64,
    /// Steps of a run; 1 for a copy.
    pub steps: u32,
    /// Prefill tokens of the first step.
    pub prefill_tokens: u32,
    /// Decoding sequences.
    pub decode_seqs: u32,
    /// KV tokens that the first step reads.
    pub kv_tokens: u64,
    /// Bytes copied.
    pub bytes: u64,
    /// From start to end, as measured.
    pub measured_ns: u64,
    /// The same, as the model has it.
    pub predicted_ns: u64,
}

impl OpenLoopRow {
    /// `predicted / measured - 1`.
    pub fn error(&self) -> f64 {
        self.predicted_ns as f64 / self.measured_ns.max(1) as f64 - 1.0
    }
}

/// Absolute relative errors of some operations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorSummary {
    /// How many.
    pub count: u64,
    /// Median of the signed errors: the bias.
    pub bias: f64,
    /// Median of the absolute errors.
    pub p50: f64,
    /// 99 % quantile of the absolute errors.
    pub p99: f64,
}

impl ErrorSummary {
    /// Of relative errors; `None` of none.
    pub fn of(errors: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut signed: Vec<f64> = errors.into_iter().collect();
        signed.sort_by(f64::total_cmp);
        let mut absolute: Vec<f64> = signed.iter().map(|error| error.abs()).collect();
        absolute.sort_by(f64::total_cmp);
        Some(Self {
            count: signed.len() as u64,
            bias: Quantile::P50.of_sorted(&signed)?,
            p50: Quantile::P50.of_sorted(&absolute)?,
            p99: Quantile::P99.of_sorted(&absolute)?,
        })
    }
}

/// The relative errors of all operations of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OperationsRow {
    /// As [`OpenLoopRow::kind`].
    pub kind: String,
    /// How many.
    pub count: u64,
    /// Median of the signed errors.
    pub bias: f64,
    /// Median of the absolute errors.
    pub p50: f64,
    /// 99 % quantile of the absolute errors.
    pub p99: f64,
}

impl OperationsRow {
    /// The kinds of operations, in the order of tables.
    pub const KINDS: [&str; 5] = ["decode", "mixed", "prefill", "d2h", "h2d"];

    /// One for each kind that `operations` have.
    pub fn of(operations: &[OpenLoopRow]) -> Vec<Self> {
        let summary = |kind: &&str| {
            let own = operations.iter().filter(|row| row.kind == *kind);
            let errors = ErrorSummary::of(own.map(OpenLoopRow::error))?;
            Some(Self {
                kind: (*kind).to_owned(),
                count: errors.count,
                bias: errors.bias,
                p50: errors.p50,
                p99: errors.p99,
            })
        };
        Self::KINDS.iter().filter_map(summary).collect()
    }
}

/// One quantity of one policy's runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClosedLoopRow {
    /// Policy of the runs.
    pub policy: String,
    /// What, for example `wakeup_ns_p50`.
    pub quantity: String,
    /// Samples in the simulated run that it rests on.
    pub samples: u64,
    /// Simulated: the median of the draws of the jitter (the lower of the middle two of an even number), or without jitter if there are none.
    pub simulated: f64,
    /// Draws.
    pub draws: u64,
    /// The smallest of them.
    pub drawn_min: Option<f64>,
    /// The largest of them.
    pub drawn_max: Option<f64>,
    /// Simulated without jitter.
    pub without_jitter: Option<f64>,
    /// The smallest of all simulations of this spec: by every draw, and with calibrations of like machines.
    pub simulated_min: f64,
    /// The largest of them.
    pub simulated_max: f64,
    /// Measured: the mean over repeats.
    pub measured: f64,
    /// Repeats.
    pub repeats: u64,
    /// The smallest of them.
    pub measured_min: f64,
    /// The largest of them.
    pub measured_max: f64,
    /// `simulated / measured - 1`; empty where nothing was measured. For a part of the wake-up, relative to the mean wake-up.
    pub error: Option<f64>,
    /// 95 % interval of `simulated - measured` (without jitter, first repeat) over sessions.
    pub difference_low: Option<f64>,
    /// Its upper end.
    pub difference_high: Option<f64>,
    /// The error that is aimed at; empty for none.
    pub target: Option<f64>,
    /// `ok`, `ok-within-spread` (of repeats), `missed`, or empty where nothing is aimed at.
    pub verdict: String,
}

impl ClosedLoopRow {
    /// Whether something is aimed at, and met: within the target, or nearer to the mean of the measured runs than these are to each other.
    pub fn met(&self) -> bool {
        self.verdict.starts_with("ok")
    }

    /// Whether the mean of the measured runs lies among the draws; `None` if there are none.
    pub fn among_draws(&self) -> Option<bool> {
        let (least, most) = self.drawn_min.zip(self.drawn_max)?;
        Some((least..=most).contains(&self.measured))
    }
}

/// One quantity of one policy in one of several recordings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyRow {
    /// What ran: recordings of one load have the same.
    pub load: String,
    /// The recording.
    pub recording: String,
    /// Policy of the runs.
    pub policy: String,
    /// As [`ClosedLoopRow::quantity`].
    pub quantity: String,
    /// As there, and so are the others.
    pub simulated: f64,
    /// The smallest draw.
    pub drawn_min: Option<f64>,
    /// The largest.
    pub drawn_max: Option<f64>,
    /// The mean of the measured runs.
    pub measured: f64,
    /// Measured runs.
    pub repeats: u64,
    /// The smallest of them.
    pub measured_min: f64,
    /// The largest.
    pub measured_max: f64,
    /// The error that is aimed at.
    pub target: Option<f64>,
    /// Whether that is [met](ClosedLoopRow::met).
    pub met: bool,
}

impl PolicyRow {
    /// Of a row of the recording `recording`, which ran `load`.
    pub fn of(load: &str, recording: &str, row: &ClosedLoopRow) -> Self {
        Self {
            load: load.to_owned(),
            recording: recording.to_owned(),
            policy: row.policy.clone(),
            quantity: row.quantity.clone(),
            simulated: row.simulated,
            drawn_min: row.drawn_min,
            drawn_max: row.drawn_max,
            measured: row.measured,
            repeats: row.repeats,
            measured_min: row.measured_min,
            measured_max: row.measured_max,
            target: row.target,
            met: row.met(),
        }
    }
}

/// One wake-up in both runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WakeupPairRow {
    /// Policy of the runs.
    pub policy: String,
    /// Which of the repeated runs, from 0.
    pub repeat: u32,
    /// Whose.
    pub session: u32,
    /// Which turn.
    pub turn: u32,
    /// Measured wake-up latency.
    pub measured_ns: u64,
    /// Simulated wake-up latency.
    pub simulated_ns: u64,
    /// Of the measured: `COMPUTE` not delivered or session held.
    pub measured_signal_hold_ns: u64,
    /// Of the measured: its own restore.
    pub measured_copy_ns: u64,
    /// Of the measured: queue, or no block.
    pub measured_queue_ns: u64,
    /// Of the measured: steps.
    pub measured_step_ns: u64,
    /// Of the simulated, as above.
    pub simulated_signal_hold_ns: u64,
    /// Of the simulated: its own restore.
    pub simulated_copy_ns: u64,
    /// Of the simulated: queue, or no block.
    pub simulated_queue_ns: u64,
    /// Of the simulated: steps.
    pub simulated_step_ns: u64,
}
