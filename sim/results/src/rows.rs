//! The rows of a run folder. Field names are the column names; times are integer nanoseconds since
//! the start of the run (`_ns`), sizes are blocks, tokens or bytes as the name says. An absent value is
//! an empty cell, never 0.

use serde::{Deserialize, Serialize};

/// One row of `turns.csv`: one LLM call, with raw times from which every metric is derived.
///
/// `first_token_ns - ready_ns` is the wake-up latency of a turn that follows a wait, and the sum of
/// the seven `wake_*_ns` columns is exactly that. A turn without a wait has the same columns, and its
/// latency is called TTFT.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnRow {
    /// Number of the session in the run, from 0.
    pub session: u32,
    /// Number of the turn in the session, from 0.
    pub turn: u32,
    /// Length of the wait before this turn; empty for a first turn.
    pub wait_ns: Option<u64>,
    /// End of the wait (arrival for a first turn).
    pub ready_ns: u64,
    /// When `COMPUTE` was delivered to the scheduler.
    pub signal_ns: u64,
    /// Start of the first step that included the turn.
    pub scheduled_ns: u64,
    /// First new token out.
    pub first_token_ns: u64,
    /// Last token out.
    pub end_ns: u64,
    /// Prompt tokens, history included.
    pub input_tokens: u32,
    /// Generated tokens.
    pub output_tokens: u32,
    /// Prompt tokens whose KV was found in HBM at admission.
    pub hit_tokens: u32,
    /// Of `hit_tokens`: those brought back from the host for this turn.
    pub restored_tokens: u32,
    /// Tokens computed again although their KV existed before.
    pub recomputed_tokens: u32,
    /// Times the turn was sent back to the queue.
    pub preemptions: u32,
    /// `COMPUTE` not yet delivered.
    pub wake_signal_ns: u64,
    /// Session held by the policy.
    pub wake_hold_ns: u64,
    /// Waiting for its own restore: over the link, and from the disk before that.
    pub wake_copy_ns: u64,
    /// Admitted, but without a block to go on.
    pub wake_stall_ns: u64,
    /// In the queue.
    pub wake_queue_ns: u64,
    /// Share of its prefill steps spent on tokens whose KV existed before.
    pub wake_recompute_ns: u64,
    /// Rest of its prefill steps.
    pub wake_prefill_ns: u64,
    /// Copy time of this turn's restore that lay before `ready_ns` (hidden).
    pub hidden_copy_ns: u64,
    /// What came of a prefetch: empty, `in-time`, `late`, `wasted`.
    pub prefetch: String,
}

/// One row of `sessions.csv`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Number of the session in the run.
    pub session: u32,
    /// Its name in the trace.
    pub name: String,
    /// Arrival.
    pub start_ns: u64,
    /// Last token of the last turn; empty if it failed.
    pub end_ns: Option<u64>,
    /// Turns finished.
    pub turns: u32,
    /// `finished`, or `failed: reason`.
    pub outcome: String,
    /// Swap-outs begun.
    pub swaps: u32,
    /// Swap-ins completed.
    pub restores: u32,
    /// Swap-ins begun before the turn was ready.
    pub prefetches: u32,
    /// Bytes moved to the host.
    pub d2h_bytes: u64,
    /// Bytes brought back.
    pub h2d_bytes: u64,
    /// HBM held while idle: bytes times seconds, in byte-milliseconds.
    pub idle_byte_ms: u64,
}

/// One row of `ops.csv`: a step run or a copy, with its shape.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpRow {
    /// Number of the operation.
    pub op: u64,
    /// `steps`, `d2h`, `h2d`, `disk-write` or `disk-read`.
    pub kind: String,
    /// When it was given to the device.
    pub submit_ns: u64,
    /// When it began.
    pub start_ns: u64,
    /// When it was over.
    pub end_ns: u64,
    /// Steps of the run (0 for a copy).
    pub steps: u32,
    /// Prefill tokens of the first step.
    pub prefill_tokens: u32,
    /// Sequences that decode in each step.
    pub decode_seqs: u32,
    /// KV tokens read by the first step.
    pub kv_tokens: u64,
    /// Of these: by prefill tokens.
    pub prefill_kv_tokens: u64,
    /// Pairs of a prefill token of the first step and a token that it attends to, itself included.
    pub prefill_pairs: u64,
    /// KV tokens that tiles of 128 prompt tokens of the first step read; none in runs recorded before tiles were.
    #[serde(default)]
    pub prefill_tile_kv_tokens: Option<u64>,
    /// Bytes copied (0 for steps).
    pub bytes: u64,
    /// Copy pieces (0 for steps).
    pub pieces: u32,
    /// Whose KV was copied; empty for steps.
    pub session: Option<u32>,
    /// `demand`, `prefetch`, `write-back`; empty for steps.
    pub class: String,
}

/// One row of `samples.csv`: levels of pools, link and queue at one instant, for timelines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleRow {
    /// When.
    pub time_ns: u64,
    /// Blocks of HBM held by running turns.
    pub hbm_running_blocks: u32,
    /// Blocks of HBM held for idle sessions (pins and copies in flight).
    pub hbm_idle_blocks: u32,
    /// Free blocks of HBM that still hold content.
    pub hbm_cached_blocks: u32,
    /// Usable blocks of HBM.
    pub hbm_capacity_blocks: u32,
    /// Blocks of the host pool in use.
    pub host_used_blocks: u32,
    /// Usable blocks of the host pool.
    pub host_capacity_blocks: u32,
    /// Running turns.
    pub running: u32,
    /// Ready turns that do not run.
    pub queued: u32,
    /// Sessions between turns.
    pub idle: u32,
    /// Ready turns that the policy withholds.
    pub held: u32,
    /// Bytes copied to the host so far.
    pub d2h_bytes: u64,
    /// Bytes brought back so far.
    pub h2d_bytes: u64,
    /// Time so far in which the D2H lane was busy.
    pub d2h_busy_ns: u64,
    /// Time so far in which the H2D lane was busy.
    pub h2d_busy_ns: u64,
}

/// One row of `seed_table.csv`: one number of the original evaluation beside what
/// the simulation gives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeedRow {
    /// What was reported, e.g. `P99 latency`.
    pub quantity: String,
    /// In which experiment, e.g. `N=80`.
    pub scale: String,
    /// Unit of the values; may be empty.
    pub unit: String,
    /// The reported value, if there is one.
    pub seed_value: Option<f64>,
    /// 5 % quantile over simulated seeds.
    pub sim_p5: Option<f64>,
    /// Median over simulated seeds.
    pub sim_p50: Option<f64>,
    /// 95 % quantile over simulated seeds.
    pub sim_p95: Option<f64>,
    /// Simulated runs.
    pub runs: u64,
    /// Verdict in one word.
    pub verdict: String,
    /// Verdict in one sentence.
    pub sentence: String,
}

impl SeedRow {
    /// Whether the reported value lies within the simulated range; `None` if either is missing.
    pub fn within(&self) -> Option<bool> {
        Some((self.sim_p5?..=self.sim_p95?).contains(&self.seed_value?))
    }
}

/// One row of `trace_stat.csv`: one quantity of a trace. Times are in seconds, everything else in tokens or counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "percentiles are named as they are")]
pub struct TraceStatRow {
    /// Name of the data set.
    pub source: String,
    /// What.
    pub quantity: String,
    /// Number of values.
    pub count: u64,
    /// What there is to say of the trace as a whole: a sum, a share, a rate. Such a row has no distribution.
    pub value: Option<f64>,
    /// Arithmetic mean.
    pub mean: Option<f64>,
    pub p5: Option<f64>,
    pub p25: Option<f64>,
    pub p50: Option<f64>,
    pub p75: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    /// Largest value.
    pub max: Option<f64>,
    /// Of a lognormal through the values above 0: mean of the logarithm.
    pub lognormal_mu: Option<f64>,
    /// Standard deviation of the logarithm.
    pub lognormal_sigma: Option<f64>,
    /// Kolmogorov-Smirnov distance of the fit.
    pub lognormal_ks: Option<f64>,
    /// Share of values that are 0.
    pub zero_share: Option<f64>,
    /// Hill's tail index.
    pub tail_alpha: Option<f64>,
    /// Sum, of times.
    pub total_s: Option<f64>,
    /// Part of the sum in values above 60 s, of waits.
    pub over_60s_share: Option<f64>,
    /// Share of the waits that are longer than half a second, and so on.
    pub over_500ms: Option<f64>,
    pub over_1s: Option<f64>,
    pub over_2s: Option<f64>,
    pub over_5s: Option<f64>,
    pub over_10s: Option<f64>,
    pub over_30s: Option<f64>,
    pub over_60s: Option<f64>,
    pub over_120s: Option<f64>,
    pub over_300s: Option<f64>,
    pub over_600s: Option<f64>,
    pub over_1800s: Option<f64>,
}

impl TraceStatRow {
    /// Points of the survival function \[s\].
    pub const SURVIVAL_S: [f64; 11] = [
        0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0,
    ];

    /// Shares of the waits that are longer than [`Self::SURVIVAL_S`]; `None` where the row is not of waits.
    pub fn survival(&self) -> Option<[f64; 11]> {
        Some([
            self.over_500ms?,
            self.over_1s?,
            self.over_2s?,
            self.over_5s?,
            self.over_10s?,
            self.over_30s?,
            self.over_60s?,
            self.over_120s?,
            self.over_300s?,
            self.over_600s?,
            self.over_1800s?,
        ])
    }

    /// Sets those shares.
    pub fn set_survival(&mut self, shares: [f64; 11]) {
        let fields = [
            &mut self.over_500ms,
            &mut self.over_1s,
            &mut self.over_2s,
            &mut self.over_5s,
            &mut self.over_10s,
            &mut self.over_30s,
            &mut self.over_60s,
            &mut self.over_120s,
            &mut self.over_300s,
            &mut self.over_600s,
            &mut self.over_1800s,
        ];
        for (field, share) in fields.into_iter().zip(shares) {
            *field = Some(share);
        }
    }
}
