//! `djinn-replay check`: the contract, the faults, and a short run with integrity on, on this GPU.

use crate::{Failure, GpuArgs};
use devices::StepCost;
use engine::device::DeviceError;
use kernels::gpu::{DeviceBuffer, Error, Gpu, HostPool};
use kernels::kv::KvLayout;
use lab::Setup;
use lab::run::RunOptions;
use replay::CudaDevice;
use replay::check::{BLOCK_BYTES, BLOCKS, DEFECTS, Finding, audited, contract, faults, judge};
use replay::cuda::{Compute, CudaBackend, CudaOptions, Method, order};
use replay::device::{DeviceOptions, ReplayDevice};
use replay::run::{Replayed, cuda_device, device_info, record};
use replay::soak::soak;
use results::spec::{Layers, RunSpec};
use std::process::ExitCode;

/// Check this GPU: the device contract, a short run with integrity on, and that injected faults are caught
#[derive(Clone, Copy, clap::Args)]
pub struct Args {
    /// Move so many GB in each direction as well, every block verified on the GPU (1000 take half a minute, 8 GiB of HBM and of host
    /// memory)
    #[arg(long, value_name = "GB", default_value_t = 0)]
    soak_gb: u64,
    #[command(flatten)]
    gpu: GpuArgs,
}

/// Eight agents whose KV (8 times some 50 blocks of 8 MiB) does not fit into 160 blocks.
const SHORT_RUN: &str = "model = \"llama-2-7b\"\nhardware = \"h200\"\npolicy = \"swap-on-demand\"\n\
    [engine]\ncheck = true\n[memory]\nhbm_blocks = 160\nhost_blocks = 600\n\
    [workload]\ngen = \"closed-loop-agents\"\nsessions = 8\n[workload.params]\n\
    ramp_s = 0.2\nturns = 3\nfirst_prompt = 512\nappend = 64\noutput = 16\n\
    gap_s = { uniform = { min = 0.3, max = 0.6 } }\n";

pub fn run(args: Args) -> Result<ExitCode, Failure> {
    let gpu = args.gpu.open()?;
    println!("{}, driver {}", gpu.info().name, gpu.info().driver);
    let failed = |error: DeviceError| Failure::Failed(error.to_string());
    let mut good = true;
    let mut tell = |findings: Vec<Finding>| {
        for Finding { name, outcome } in findings {
            good &= outcome.is_ok();
            let (mark, text) = match outcome {
                Ok(text) => ("ok  ", text),
                Err(text) => ("FAIL", text),
            };
            println!("{mark} {name}: {text}");
        }
    };
    for method in METHODS {
        let make = |options: DeviceOptions| small_device(&gpu, method, options);
        let named = |findings: Vec<Finding>| {
            let name = |finding: Finding| Finding {
                name: format!("{method:?}, {}", finding.name).to_lowercase(),
                ..finding
            };
            findings.into_iter().map(name).collect()
        };
        tell(named(contract(&make).map_err(failed)?));
        tell(named(faults(&make).map_err(failed)?));
    }
    tell(defects(&gpu));
    tell(refusals(&gpu));
    tell(vec![Finding {
        name: "a short run with integrity on".to_owned(),
        outcome: short_run(&gpu),
    }]);
    if args.soak_gb > 0 {
        tell(vec![Finding {
            name: "blocks that leave and return, over and over".to_owned(),
            outcome: soaked(&gpu, args.soak_gb),
        }]);
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Blocks of Llama-2-7B in the pools of a soak.
const SOAK_BLOCKS: u32 = 1_024;

fn soaked(gpu: &Gpu, gigabytes: u64) -> Result<String, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let layers = Layers {
        set: vec![
            format!("memory.hbm_blocks={SOAK_BLOCKS}"),
            format!("memory.host_blocks={SOAK_BLOCKS}"),
            "replay.compute=\"spin\"".to_owned(),
        ],
        ..Layers::of_text("soak", SHORT_RUN)
    };
    let spec = RunSpec::load(&layers).map_err(|error| text(&error))?;
    let setup = Setup::new(&spec).map_err(|error| text(&error))?;
    let mut device = cuda_device(&setup, gpu, &mut |_| ()).map_err(|error| text(&error))?;
    device.start_clock();
    let (block, chunk) = (setup.engine.block_bytes, setup.engine.chunk_blocks);
    let mut told = 0;
    let moved = soak(
        &mut device,
        block,
        chunk,
        gigabytes * 1_000_000_000,
        &mut |[out, back]| {
            if out / 100_000_000_000 > told {
                told = out / 100_000_000_000;
                eprintln!(
                    "     soak: {:.0} GB out, {:.0} GB back",
                    out as f64 / 1e9,
                    back as f64 / 1e9
                );
            }
        },
    )
    .map_err(|error| text(&error))?;
    let [out, back] = moved.moved.map(|bytes| bytes as f64 / 1e12);
    let seconds = moved.nanos as f64 / 1e9;
    Ok(format!(
        "{out:.3} TB out and {back:.3} TB back in {seconds:.1} s ({:.1} GB/s in sum), every block intact",
        (out + back) * 1e3 / seconds
    ))
}

/// Every way over the link.
const METHODS: [Method; 5] = [
    Method::Contiguous,
    Method::Memcpy,
    Method::Batch,
    Method::Gather,
    Method::Staged,
];

fn small_device(
    gpu: &Gpu,
    method: Method,
    options: DeviceOptions,
) -> Result<CudaDevice, DeviceError> {
    // Llama-3.1-8B: 64 pieces of 8 heads * 16 tokens * 128 * 2 B make 2 MiB.
    let layout = KvLayout {
        order: order(method),
        block_count: BLOCKS,
        layers: 32,
        kv_heads: 8,
        block_tokens: 16,
        head_dim: 128,
    };
    debug_assert_eq!(layout.block_bytes(), BLOCK_BYTES);
    let pools = CudaOptions {
        layout,
        host_blocks: BLOCKS,
        method,
        chunk_blocks: BLOCKS,
        // Steps of 200 us.
        compute: Compute::Spin(Box::new(StepCost::linear(200_000_000, 0, 0, 0))),
        integrity: true,
        lane_depth: options.lane_depth,
    };
    let backend = CudaBackend::new(gpu, pools, &mut |_| ())
        .map_err(|error| DeviceError(error.to_string()))?;
    ReplayDevice::new(backend, options)
}

/// The five defects of the original implementation, and a run without any.
fn defects(gpu: &Gpu) -> Vec<Finding> {
    let make = |setup: &Setup| cuda_device(setup, gpu, &mut |_| ());
    let scratch = std::env::temp_dir().join(format!("djinn-replay-defects-{}", std::process::id()));
    let findings = DEFECTS.map(|(defect, checker)| match audited(defect, &make, &scratch) {
        Ok(found) => judge(defect, checker, &found),
        Err(error) => Finding {
            name: format!("defect {defect:?}"),
            outcome: Err(error.to_string()),
        },
    });
    // The folders were only there to be looked at.
    let _ = std::fs::remove_dir_all(&scratch);
    findings.into()
}

/// Pools that no machine has.
fn refusals(gpu: &Gpu) -> Vec<Finding> {
    const TOO_MUCH: u64 = 1 << 50;
    let expect = |name: &str, error: Option<Error>, is_it: fn(&Error) -> bool| Finding {
        name: format!("{name} is an error"),
        outcome: match error {
            Some(error) if is_it(&error) => Ok(error.to_string()),
            Some(error) => Err(format!("another error: {error}")),
            None => Err("1 PiB was granted".to_owned()),
        },
    };
    let hbm = DeviceBuffer::new(gpu, TOO_MUCH).err();
    let host = HostPool::new(gpu, u64::MAX / 4, 1, &mut |_| ()).err();
    vec![
        expect("HBM out of memory", hbm, |error| {
            matches!(error, Error::OutOfMemory { .. })
        }),
        expect("a refused host pool", host, |error| {
            matches!(error, Error::HostMap { .. } | Error::HostPin { .. })
        }),
    ]
}

fn short_run(gpu: &Gpu) -> Result<String, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let spec =
        RunSpec::load(&Layers::of_text("short run", SHORT_RUN)).map_err(|error| text(&error))?;
    let setup = Setup::new(&spec).map_err(|error| text(&error))?;
    let mut device = cuda_device(&setup, gpu, &mut |_| ()).map_err(|error| text(&error))?;
    let folder = std::env::temp_dir().join(format!("djinn-replay-check-{}", std::process::id()));
    let info = device_info(gpu, &device);
    let ran = record(
        &setup,
        &mut device,
        &info,
        &folder,
        &RunOptions::default(),
        |_| (),
    );
    // The folder was only to show that one can be written.
    let _ = std::fs::remove_dir_all(&folder);
    match ran.map_err(|error| text(&error))? {
        Replayed::Before(_) => Err(format!("{} was there before; remove it", folder.display())),
        Replayed::Now(finished, ..) => {
            let m = &finished.metrics;
            if m.h2d_bytes == 0 {
                return Err("nothing was restored, so nothing was checked".to_owned());
            }
            Ok(format!(
                "{} turns, {:.2} GB out and {:.2} GB back, every block intact",
                m.turns,
                m.d2h_bytes as f64 / 1e9,
                m.h2d_bytes as f64 / 1e9
            ))
        }
    }
}
