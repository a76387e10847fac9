//! Measures a machine, and writes the profile that the simulator reads.
//!
//! ```text
//!   timed (through the device, as a run times) ──► lanes, step_fit (robust, held-out points) ─┐
//!   measure (beneath it: memcpys, allocations, latencies) ──► fit ────────────────────────────┴─► profile (TOML), CSV
//! ```
//!
//! What a run's operations are predicted from is fitted to operations that went the same way: chunks, marks, polling and all.
//! The single memcpys beneath are kept beside it: their distance is what the harness and the chunks cost.
//!
//! **Absent on purpose:** other models than the one that was timed. Their steps keep the base profile's formula.

mod attended;
mod bursts;
mod decode_fit;
mod fit;
mod idle;
mod jitter;
mod lane_fit;
mod lanes;
mod measure;
mod planned;
mod prefill_fit;
mod profile;
mod refit;
mod remarks;
mod settle;
mod split_fit;
mod stairs;
mod step_fit;
mod steps;
mod throttle;
mod timed;

pub use bursts::{RanStep, csv as bursts_csv};
pub use fit::{Line, Point};
pub use idle::{IdlePoint, csv as idle_csv};
pub use lane_fit::{LaneFit, csv as copies_csv};
pub use lanes::LaneTimes;
pub use profile::{Origin, toml};
pub use refit::{Others, Refit, RefitError, refit};
pub use remarks::disturbed;
pub use step_fit::{StepPoint, TimedKernels, csv as steps_csv};

use crate::backend::Backend;
use crate::cuda::model::{ROWS, SEQUENCES};
use crate::run::{ComputeKind, ReplayError, cuda_device};
use devices::StepCost;
use engine::device::{DeviceError, PrefillChunk, StepShape};
use kernels::gpu::Gpu;
use kernels::prefill_attention::{QUERY_TILE, SPLIT_FROM};
use lab::Setup;
use measure::{Bench, allocation, host_pool};
use model::Direction;
use planned::{Planned, Planner};
use results::spec::{CopyMethod, Layers, RunSpec};
use std::num::NonZeroU32;
use steps::Limits;
use timed::{Timed, TimedSteps};

/// What is to be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The model whose steps are timed, and whose blocks are copied.
    pub model: String,
    /// What its steps compute.
    pub compute: ComputeKind,
    /// The profile whose formula stays for other models.
    pub base: String,
}

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// What was asked for.
    pub plan: Plan,
    /// Multiprocessors of the GPU.
    pub multiprocessors: u32,
    /// Blocks as they were copied.
    pub blocks: BlockShape,
    /// D2H and H2D, through the device.
    pub lanes: [LaneTimes; 2],
    /// What was fitted to them.
    pub fits: [LaneFit; 2],
    /// Steps, through the device.
    pub steps: Vec<StepPoint>,
    /// Steps behind pauses.
    pub idle: Vec<IdlePoint>,
    /// Bursts of prompts, and steps behind them.
    pub bursts: Vec<RanStep>,
    /// What was fitted to all three.
    pub cost: StepCost,
    /// Single memcpys by size, D2H and H2D, and the line through them.
    pub sweeps: [(Vec<Point>, Line); 2],
    /// 8 MiB behind 512 MiB \[ns\].
    pub head_of_line_ns: [u64; 2],
    /// From submission to completion seen, P50 and P99: an empty kernel, a copy of 4 KiB \[ns\].
    pub latency_ns: [[u64; 2]; 2],
    /// Bytes of HBM, and the time to take and to give them back \[ns\].
    pub allocation_ns: Vec<(u64, [u64; 2])>,
    /// Pinned host memory: GiB, and the time of each.
    pub host_pool_s_per_gib: Vec<(u64, f64)>,
}

impl Measured {
    /// What the fit of a direction says of a copy of `blocks` blocks by a method, in the order of [`METHODS`] \[ns\].
    fn copy_ns(&self, side: usize, method: usize, blocks: u32) -> f64 {
        lane_fit::predict(&self.fits[side], method, blocks, self.blocks)
    }
}

/// How KV was cut up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockShape {
    /// Bytes of a block.
    pub bytes: u64,
    /// Blocks of a chunk.
    pub chunk_blocks: u32,
    /// Pieces of a block in a layer-major pool.
    pub pieces: u32,
}

impl BlockShape {
    fn of(setup: &Setup) -> Self {
        Self {
            bytes: setup.engine.block_bytes.0,
            chunk_blocks: setup.engine.chunk_blocks,
            pieces: setup.model.pieces_per_block(),
        }
    }
}

/// Methods in the order of [`LaneTimes::methods`].
const METHODS: [CopyMethod; 5] = [
    CopyMethod::Contiguous,
    CopyMethod::Memcpy,
    CopyMethod::Batch,
    CopyMethod::Gather,
    CopyMethod::Staged,
];
/// Blocks of the host pool, and of an HBM pool for copies alone.
const COPY_BLOCKS: u32 = 512;
/// The most blocks of the HBM pool that steps read: 32 GiB of Llama-3.1-8B, two contexts of 98,500 tokens.
const STEP_BLOCKS_MAX: u64 = 16_384;

/// Measures; `progress` hears what is next.
///
/// # Errors
/// If the GPU or the host has too little memory, the driver refuses a call, or the model or the base profile is unknown.
pub fn measure(
    gpu: &Gpu,
    plan: &Plan,
    progress: &mut dyn FnMut(&str),
) -> Result<Measured, ReplayError> {
    let device_error = |what: String| ReplayError::Device(DeviceError(what));
    progress("allocations");
    let sizes = [2_u64 << 20, 1 << 30, 8 << 30];
    let allocation_ns = sizes
        .into_iter()
        .map(|bytes| Ok((bytes, allocation(gpu, bytes)?)))
        .collect::<Result<_, ReplayError>>()?;
    let host_pool_s_per_gib = [1_u64, 4]
        .into_iter()
        .map(|gibs| Ok((gibs, host_pool(gpu, gibs << 30)? as f64 / 1e9 / gibs as f64)))
        .collect::<Result<_, ReplayError>>()?;
    let (latency_ns, sweeps, head_of_line_ns) = beneath(gpu, progress)?;

    let setup = setup_for(plan, CopyMethod::Contiguous, step_blocks(gpu, plan)?)?;
    let blocks = BlockShape::of(&setup);
    let mut contiguous = Direction::LINK.map(|_| Vec::new());
    progress("pools");
    let mut device = cuda_device(&setup, gpu, &mut |_| ())?;
    device.start_clock();
    let mut timed = Timed::new(&mut device, blocks.chunk_blocks, setup.engine.block_bytes);
    let limits = limits(&setup);
    link_round(&mut timed, limits, &mut contiguous, progress).map_err(device_error)?;
    let mut points = steps::time(&mut timed, limits, progress, &mut |timed, progress| {
        link_round(timed, limits, &mut contiguous, progress)
    })
    .map_err(device_error)?;
    progress("steps behind pauses");
    let idle = idle::time(&mut timed, &idle::PAUSES_US).map_err(device_error)?;
    progress("bursts of prompts");
    let bursts = bursts::time(&mut timed, limits, bursts::Pace::GPU).map_err(device_error)?;
    let multiprocessors = gpu.info().multiprocessors;
    let kernels = timed_kernels(plan.compute, &setup, NonZeroU32::new(multiprocessors));
    let cost = StepCost {
        idle: idle::fit(&idle),
        ..cost(&mut points, &bursts, kernels).map_err(device_error)?
    };
    link_round(&mut timed, limits, &mut contiguous, progress).map_err(device_error)?;
    drop(device);
    let mut by_method = Vec::new();
    for method in METHODS.into_iter().skip(1) {
        let plan = Plan {
            compute: ComputeKind::Spin,
            ..plan.clone()
        };
        let setup = setup_for(&plan, method, COPY_BLOCKS)?;
        let mut device = cuda_device(&setup, gpu, &mut |_| ())?;
        device.start_clock();
        progress(&format!("copies by {}", device.backend().method()));
        let mut timed = Timed::new(&mut device, blocks.chunk_blocks, setup.engine.block_bytes);
        let sizes = Direction::LINK.map(|direction| lanes::sizes(&mut timed, direction));
        let [d2h, h2d] = sizes;
        by_method.push([d2h.map_err(device_error)?, h2d.map_err(device_error)?]);
    }
    let lane = |side: usize| -> Result<LaneTimes, ReplayError> {
        let (own, beside) = lanes::settled(&contiguous[side]).map_err(device_error)?;
        let all: Vec<_> = std::iter::once(own)
            .chain(by_method.iter().map(|times| times[side].clone()))
            .collect();
        let methods = all
            .try_into()
            .map_err(|_| device_error("a method was not timed".to_owned()))?;
        Ok(LaneTimes { methods, beside })
    };
    let lanes = [lane(0)?, lane(1)?];
    let fits = lane_fit::fit(&lanes, sweeps.each_ref().map(|(_, line)| *line), blocks);
    Ok(Measured {
        plan: plan.clone(),
        multiprocessors,
        blocks,
        lanes,
        fits,
        steps: points,
        idle,
        bursts,
        cost,
        sweeps,
        head_of_line_ns,
        latency_ns,
        allocation_ns,
        host_pool_s_per_gib,
    })
}

/// Times each direction once more.
fn link_round<B: Backend>(
    timed: &mut Timed<'_, B>,
    limits: Limits,
    rounds: &mut [Vec<lanes::Round>; 2],
    progress: &mut dyn FnMut(&str),
) -> Result<(), String> {
    let (decode, prefill) = neighbours(limits);
    for direction in Direction::LINK {
        progress(&format!("{direction}, and what is beside it"));
        rounds[direction.index()].push((
            lanes::sizes(timed, direction)?,
            lanes::beside(timed, direction, &decode, &prefill)?,
        ));
    }
    Ok(())
}

// Steps are recorded by tiles of the engine's size.
const _: () = assert!(QUERY_TILE == engine::device::QUERY_TILE);

/// What is known of the kernels that compute, on so many multiprocessors. Calibrations from before these were told are all of H200s, and of kernels
/// that cut all tiles into even parts.
fn timed_kernels(
    compute: ComputeKind,
    setup: &Setup,
    multiprocessors: Option<NonZeroU32>,
) -> TimedKernels {
    let (multiprocessors, planner) = match multiprocessors {
        Some(told) => (told.get(), Planner::Today),
        None => (132, Planner::EvenParts),
    };
    match compute {
        ComputeKind::Model => TimedKernels {
            rows: &ROWS,
            sequences: &SEQUENCES,
            split_from: SPLIT_FROM,
            planned: Some(Planned {
                q_heads: setup.model.q_heads.get(),
                multiprocessors,
                planner,
            }),
        },
        ComputeKind::Touch | ComputeKind::Spin => TimedKernels::default(),
    }
}

/// The cost of steps on a rested card, how load slows them down, and what equal ones differ by; says of `points` how much of their time was load.
///
/// # Errors
/// If there are too few points of a kind.
fn cost(
    points: &mut [StepPoint],
    bursts: &[RanStep],
    kernels: TimedKernels,
) -> Result<StepCost, String> {
    // Which steps cost what is known well enough to see how equal ones differ.
    let throttle = throttle::fit(bursts, &step_fit::fit(points, kernels)?);
    settle::settle(points, &throttle);
    let rested = step_fit::fit(points, kernels)?;
    let jitter = jitter::jitter(bursts, &rested, &throttle);
    Ok(StepCost {
        throttle,
        jitter,
        ..rested
    })
}

type Beneath = ([[u64; 2]; 2], [(Vec<Point>, Line); 2], [u64; 2]);

/// Single memcpys, without the device.
fn beneath(gpu: &Gpu, progress: &mut dyn FnMut(&str)) -> Result<Beneath, ReplayError> {
    let bench = Bench::new(gpu)?;
    progress("latencies");
    let latency_ns = bench.latencies()?;
    let sweep = |direction| -> Result<(Vec<Point>, Line), ReplayError> {
        let points = bench.sweep(direction)?;
        let line = fit::line(&points).ok_or_else(|| {
            ReplayError::Device(DeviceError(format!(
                "{direction}: the sweep has no large copies"
            )))
        })?;
        Ok((points, line))
    };
    progress("memcpys by size");
    let sweeps = [sweep(Direction::D2h)?, sweep(Direction::H2d)?];
    let head_of_line_ns = [
        bench.head_of_line(Direction::D2h)?,
        bench.head_of_line(Direction::H2d)?,
    ];
    Ok((latency_ns, sweeps, head_of_line_ns))
}

/// Blocks of an HBM pool beside the weights, with a fifth of the memory left over.
fn step_blocks(gpu: &Gpu, plan: &Plan) -> Result<u32, ReplayError> {
    let model = devices::model(&plan.model).map_err(lab::LabError::from)?;
    let left = (gpu.info().memory_bytes / 5 * 4).saturating_sub(model.weight_bytes().0);
    let blocks = left / model.block_bytes(16).0;
    Ok(u32::try_from(blocks.clamp(u64::from(COPY_BLOCKS), STEP_BLOCKS_MAX)).unwrap_or(COPY_BLOCKS))
}

fn limits(setup: &Setup) -> Limits {
    let memory = &setup.engine.memory;
    Limits {
        kv_tokens: u64::from(memory.hbm_blocks) * u64::from(memory.block_tokens),
        context: setup.model.max_context.get(),
        step_tokens: setup.spec.engine.max_batched_tokens,
    }
}

/// Steps that copies are timed beside: a decode batch that reads some KV, and a prompt of middling length.
fn neighbours(limits: Limits) -> (TimedSteps, TimedSteps) {
    let decode = StepShape {
        decode_seqs: 16,
        decode_kv_tokens: 16 * 1_024,
        ..StepShape::default()
    };
    let prefill = StepShape {
        prefill: vec![PrefillChunk {
            tokens: limits.context.min(limits.step_tokens).min(2_048),
            context: 0,
        }],
        ..StepShape::default()
    };
    let steps = |shape, count| TimedSteps { shape, count };
    (steps(decode, 8), steps(prefill, 1))
}

/// A setup with these pools. Nothing of its workload is run.
fn setup_for(plan: &Plan, method: CopyMethod, hbm_blocks: u32) -> Result<Setup, ReplayError> {
    let text = |value: &str| toml::Value::from(value).to_string();
    let layers = Layers {
        set: vec![
            format!("model={}", text(&plan.model)),
            format!("hardware={}", text(&plan.base)),
            format!("memory.hbm_blocks={hbm_blocks}"),
            format!("memory.host_blocks={COPY_BLOCKS}"),
            "workload.gen=closed-loop-agents".to_owned(),
            "workload.sessions=1".to_owned(),
            "workload.params.turns=1".to_owned(),
            "replay.integrity=false".to_owned(),
        ],
        ..Layers::of_text("calibration", "")
    };
    let mut spec = RunSpec::load(&layers).map_err(lab::LabError::from)?;
    spec.memory.copy_method = method;
    spec.replay.compute = Some(plan.compute);
    Ok(Setup::new(&spec)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_becomes_pools_of_its_model() {
        let plan = Plan {
            model: "llama-2-7b".to_owned(),
            compute: ComputeKind::Touch,
            base: "h200".to_owned(),
        };
        let setup = setup_for(&plan, CopyMethod::Staged, 600).unwrap();
        assert_eq!(setup.engine.memory.hbm_blocks, 600);
        assert_eq!(setup.engine.memory.host_blocks, COPY_BLOCKS);
        // 32 MiB in blocks of 8 MiB.
        assert_eq!(setup.engine.chunk_blocks, 4);
        assert_eq!(limits(&setup).kv_tokens, 9_600);
        let unknown = Plan {
            model: "no-such".to_owned(),
            ..plan
        };
        assert!(setup_for(&unknown, CopyMethod::Staged, 600).is_err());
    }
}
