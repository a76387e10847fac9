//! `djinn oracle`: this engine in the place of vLLM's scheduler, with the flags, the trace format and the
//! output files of the reference harness, so that the two are compared byte for byte.
//!
//! vLLM 0.32.0, v1 scheduler, one GPU, with or without its CPU offload tier. Step times and copy times are the harness's: linear, in
//! integer picoseconds; a fixed cost and a rate per direction, in integer nanoseconds.
//! `steps.csv` needs every step, so runs of one step are used; `turns.csv` is the same without them, which is a test.

mod args;
mod decimal;
mod output;
mod trace;

pub use args::OracleArgs;
pub use output::OracleOutput;

use devices::{SimDevice, StepCost};
use engine::record::{Recorder, StepRecord, TurnRecord};
use engine::{
    Batching, Driver, EndSignal, EngineConfig, Faults, HintConfig, HintKind, HintNoise,
    LedgerConfig, RunError, RunSummary,
};
use model::{Bytes, CopyEstimate, PrefillEstimate};
use std::path::PathBuf;

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub enum OracleError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The trace is malformed.
    #[error("{path}:{line}: {what}")]
    Trace {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// An argument is out of range.
    #[error("--{flag}: {what}")]
    Argument {
        /// Which.
        flag: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The run failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// What the engine reported.
#[derive(Default)]
struct Recorded {
    turns: Vec<TurnRecord>,
    steps: Vec<StepRecord>,
    queue: bool,
}

impl Recorder for Recorded {
    fn turn(&mut self, turn: &TurnRecord) {
        self.turns.push(turn.clone());
    }

    fn step(&mut self, step: &StepRecord) {
        self.steps.push(step.clone());
    }

    fn wants_queue(&self) -> bool {
        self.queue
    }
}

/// Runs the trace. With `stepwise` off, `steps.csv` stays empty and everything else is the same.
///
/// # Errors
/// If the trace or an argument is bad, or the run fails.
pub fn run(args: &OracleArgs, stepwise: bool) -> Result<OracleOutput, OracleError> {
    args.check()?;
    let trace = trace::read(&args.trace, args)?;
    let config = config(args, stepwise)?;
    let [a, b, c, d] = args.coefficients()?;
    let ahead = u32::from(args.async_scheduling);
    let mut device = SimDevice::new(StepCost::linear(a, b, c, d), &args.link()?, ahead);
    let policy = policy::build(&args.policy(), None).expect("it is registered");
    let mut recorded = Recorded {
        queue: args.freeq_crc,
        ..Recorded::default()
    };
    let mut workload = trace.workload();
    let driver = Driver::new(
        config,
        &mut device,
        policy,
        false,
        &mut workload,
        &mut recorded,
        None,
    );
    let summary: RunSummary = driver.run()?;
    Ok(OracleOutput::new(
        args,
        &trace,
        recorded.turns,
        &recorded.steps,
        summary,
    ))
}

fn config(args: &OracleArgs, stepwise: bool) -> Result<EngineConfig, OracleError> {
    let estimate = CopyEstimate {
        bytes_per_s: 1,
        ..CopyEstimate::default()
    };
    Ok(EngineConfig {
        batching: Batching {
            serial: false,
            ahead: args.async_scheduling,
            max_batched_tokens: args.max_num_batched_tokens,
            max_seqs: args.max_num_seqs,
            reserve_full: !args.no_reserve_full_isl,
            watermark_blocks: (args.watermark * f64::from(args.gpu_blocks)) as u32,
            long_prefill_tokens: args.long_prefill_token_threshold,
            idle_poll: args.idle_poll()?,
        },
        memory: LedgerConfig {
            block_tokens: args.block_size,
            // Block 0 is vLLM's null block.
            hbm_blocks: args.gpu_blocks - 1,
            host_blocks: args.cpu_blocks,
            disk_blocks: 0,
            inclusive: true,
            caching: !args.no_prefix_caching,
            leak_on_swap_out: false,
            first_place: args.freeq_crc.then_some(1),
        },
        block_bytes: Bytes(args.block_bytes()),
        // A job is copied as a whole.
        chunk_blocks: u32::MAX,
        disk: [CopyEstimate::default(); 2],
        link: [estimate; 2],
        prefill: PrefillEstimate::default(),
        hints: HintConfig {
            kind: HintKind::None,
            noise: HintNoise::default(),
            seed: 0,
        },
        end: EndSignal::Never,
        stepwise,
        check: false,
        preload: true,
        sample_every: None,
        faults: Faults::default(),
    })
}
