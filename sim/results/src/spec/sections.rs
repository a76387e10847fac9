//! The sections of a run spec, with their defaults.
//!
//! A key that is left out takes the value that `Default` shows. An `Option` that stays empty means what
//! its comment says.

use serde::{Deserialize, Serialize};

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }
    };
}

/// `[engine]`: how turns become steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// How turns share the GPU.
    pub batching: Batching,
    /// The next step is scheduled while one runs, as vLLM does by default.
    #[serde(rename = "async")]
    pub asynchronous: bool,
    /// Tokens of one step, prefill and decode together.
    pub max_batched_tokens: u32,
    /// Turns in the running batch.
    pub max_seqs: u32,
    /// A turn is admitted only if its whole prompt fits (vLLM's `scheduler_reserve_full_isl`).
    pub reserve_full: bool,
    /// Share of HBM that admissions leave free, 0 to 1.
    pub watermark: f64,
    /// Prefill tokens of one long prompt in one step; 0 for no limit of its own.
    pub long_prefill_token_threshold: u32,
    /// Number of a draw of what steps of the same cost differ by, as measured on the card; 0 for none. Simulations only.
    #[serde(skip_serializing_if = "is_zero")]
    pub jitter: u32,
    /// Submit decode runs one step at a time: slower, with identical results (where nothing is drawn).
    pub stepwise: bool,
    /// Check every invariant after every action.
    pub check: bool,
}

choice! {
    /// How turns share the GPU.
    Batching {
        /// Continuous batching, as vLLM v1.
        #[default]
        Continuous,
        /// One turn at a time, from prefill to its last token, as the original evaluation.
        Serial,
    }
}

/// Runs without draws are named as they were before there were any.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            batching: Batching::Continuous,
            asynchronous: true,
            max_batched_tokens: 8_192,
            max_seqs: 1_024,
            reserve_full: true,
            watermark: 0.0,
            long_prefill_token_threshold: 0,
            jitter: 0,
            stepwise: false,
            check: false,
        }
    }
}

/// `[memory]`: the pools and the link between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// HBM of the GPU \[GiB\]; empty for what the hardware profile says. Excludes `hbm_blocks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hbm_gib: Option<f64>,
    /// Share of HBM that weights and KV may fill; not used with `hbm_blocks`.
    pub utilisation: f64,
    /// Usable KV blocks of HBM, from a real run where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hbm_blocks: Option<u32>,
    /// Pinned host memory \[GiB\]; 0 for none. 100 unless `host_blocks` is given, which it excludes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_gib: Option<f64>,
    /// Usable KV blocks of host memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_blocks: Option<u32>,
    /// Disk behind host memory \[GiB\]; empty, or 0, for none. Only policies that know of it write there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_gib: Option<f64>,
    /// Whether HBM keeps a copy of what the host holds.
    pub host: HostMode,
    /// Tokens of one KV block.
    pub block_tokens: u32,
    /// Size of the chunks that copies are cut into \[MiB\].
    pub chunk_mib: u32,
    /// Chunks that are in a lane of the link at once.
    pub lane_depth: u32,
    /// How scattered pieces are copied.
    pub copy_method: CopyMethod,
}

impl Memory {
    /// Host memory \[GiB\] where nothing is said.
    pub const HOST_GIB: f64 = 100.0;
}

choice! {
    /// Whether HBM keeps a copy of what the host holds.
    HostMode {
        /// What was copied out stays hittable in HBM until overwritten.
        #[default]
        Inclusive,
        /// What was copied out is gone from HBM.
        Exclusive,
    }
}

choice! {
    /// How scattered KV pieces are copied over the link.
    CopyMethod {
        /// One memcpy for each piece.
        Memcpy,
        /// One batched memcpy for all pieces of a chunk.
        Batch,
        /// Batched memcpys of a layout in which a block of all layers is one piece (vLLM since 0.12).
        #[default]
        Contiguous,
        /// A kernel gathers and scatters through mapped host memory.
        Gather,
        /// A kernel gathers into, or scatters from, a buffer in HBM; a memcpy for each block crosses the link.
        Staged,
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            hbm_gib: None,
            utilisation: 0.9,
            hbm_blocks: None,
            host_gib: None,
            host_blocks: None,
            disk_gib: None,
            host: HostMode::Inclusive,
            block_tokens: 16,
            chunk_mib: 32,
            lane_depth: 2,
            copy_method: CopyMethod::default(),
        }
    }
}

/// `[workload]`: what the agents do. Exactly one of `trace` and `gen` is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workload {
    /// A session trace; relative to the working folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// A generator by name.
    #[serde(rename = "gen", skip_serializing_if = "Option::is_none")]
    pub generator: Option<String>,
    /// Sessions to run; empty for all of a trace, and for what a generator makes by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// Arrivals of sessions per second; empty for those of the trace or generator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// When a turn follows its predecessor.
    pub timing: Timing,
    /// With `timing = "api-scaled"`: what recorded service times are multiplied by; empty for 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_scale: Option<f64>,
    /// Waits longer than this are cut to it \[s\]; empty for no cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_cap_s: Option<f64>,
    /// Tokens that a turn may have, prompt and output; empty for what the model and HBM allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_context: Option<u32>,
    /// What becomes of a session with a longer turn.
    pub too_long: TooLong,
    /// Parameters of the generator, which parses them.
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    pub params: toml::Table,
}

choice! {
    /// When a turn of a trace follows its predecessor.
    Timing {
        /// After the recorded wait, counted from the simulated end of the predecessor.
        #[default]
        ThinkOnly,
        /// At its recorded time, or when the predecessor ends if that is later.
        Original,
        /// The same for a server that takes `api_scale` times as long for each call as the recorded one.
        ApiScaled,
    }
}

choice! {
    /// What becomes of a session with a turn that is too long.
    TooLong {
        /// The run does not start.
        #[default]
        Error,
        /// The session ends before that turn.
        TruncateSession,
        /// The session is left out.
        SkipSession,
    }
}

/// `[hints]`: what a policy hears of the waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hints {
    /// Where hints come from.
    pub kind: HintKind,
    /// How they are distorted.
    pub noise: Noise,
    /// How a policy learns that a session is over.
    pub end: EndSignal,
    /// Idle time after which a session is taken to be over \[s\]; with `end = "timeout"` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_timeout_s: Option<f64>,
}

choice! {
    /// Where hints come from.
    HintKind {
        /// The true length of the wait.
        #[default]
        Oracle,
        /// There are none.
        None,
        /// Quantiles of past waits of the same tool class, learned in the run.
        History,
    }
}

choice! {
    /// How a policy learns that a session is over.
    EndSignal {
        /// The client says so.
        #[default]
        Told,
        /// It does not: the session looks idle until its KV is evicted.
        Never,
        /// It is guessed after a time without a turn.
        Timeout,
    }
}

/// `hints.noise`: how hints and signals are distorted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Noise {
    /// Factor on every hinted length; 1 for none.
    pub bias: f64,
    /// Standard deviation of the logarithm of a further, random factor; 0 for none.
    pub sigma: f64,
    /// Share of the hints that are lost, 0 to 1.
    pub drop: f64,
    /// Delay of every signal \[ms\].
    pub delay_ms: f64,
}

impl Default for Noise {
    fn default() -> Self {
        Self {
            bias: 1.0,
            sigma: 0.0,
            drop: 0.0,
            delay_ms: 0.0,
        }
    }
}

/// `[measure]`: what counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Measure {
    /// Turns that begin earlier do not count \[s\].
    pub warmup_s: f64,
    /// Turns that begin at this time or later do not count \[s\]; empty for no end. Leaves out the drain, in which the load falls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_s: Option<f64>,
    /// Go on after the last arrival until every session is over.
    pub drain: bool,
    /// A turn whose first token comes later than this misses its SLO \[ms\].
    pub slo_wakeup_ms: f64,
}

impl Default for Measure {
    fn default() -> Self {
        Self {
            warmup_s: 0.0,
            until_s: None,
            drain: true,
            slo_wakeup_ms: 2_000.0,
        }
    }
}

/// `[replay]`: what only a run on a GPU has. A simulation is the same whatever it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Replay {
    /// What steps compute; empty in a spec that was not replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute: Option<Compute>,
    /// Stamp KV blocks and verify them on the GPU.
    pub integrity: bool,
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            compute: None,
            integrity: true,
        }
    }
}

impl Replay {
    /// Whether nothing was said.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

choice! {
    /// What steps compute on a GPU.
    Compute {
        /// Read as many bytes as weights and KV have.
        #[default]
        Touch,
        /// Pass the time that the cost model says.
        Spin,
        /// The forward pass of a transformer with random weights.
        Model,
    }
}

/// `[faults]`: defects to be injected, by name; the harness must catch each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Names of the defects.
    pub inject: Vec<String>,
}
