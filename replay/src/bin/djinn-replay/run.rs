//! `djinn-replay run`: one run on a GPU, from its config to its folder.

use crate::progress::ProgressLine;
use crate::{Failure, GpuArgs, Kind, command, pool_progress};
use lab::run::RunOptions;
use lab::{Setup, Wants};
use model::Nanos;
use replay::device::Timing;
use replay::harness::Harness;
use replay::run::{PROGRAM_SHA256, Replayed, caution, cuda_device, device_info, record};
use results::folder::{Opened, RunWriter};
use results::metrics::RunMetrics;
use results::spec::{Layers, RunSpec, split_policies};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Replay one run and write its folder
///
/// A folder that holds this run already, made by this program from the same hardware profile, model and trace, is left as it is; one that was made from
/// others ends the command, which says what differs.
#[derive(clap::Args)]
pub struct Args {
    /// Config in TOML, as for `djinn run`; none: all defaults
    #[arg(value_name = "CONFIG")]
    file: Option<PathBuf>,
    /// Set a key of the config, `memory.host_gib=16`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Policy and its parameters, `djinn[margin_ms=20]`
    #[arg(long)]
    policy: Option<String>,
    /// Folder of the run [default: results/RUN_ID-gpu]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What steps do: read weights and KV, or pass modelled time; as `--set replay.compute=KIND` [default: touch]
    #[arg(long, value_enum)]
    compute: Option<Kind>,
    /// HBM in all, to emulate a smaller card: as `--set memory.hbm_gib=N`
    #[arg(long, value_name = "GIB")]
    hbm_gib: Option<f64>,
    /// Pinned host memory: as `--set memory.host_gib=N`
    #[arg(long, value_name = "GIB")]
    host_gib: Option<f64>,
    /// Neither stamp nor verify blocks: as `--set replay.integrity=false`
    #[arg(long)]
    no_integrity: bool,
    #[command(flatten)]
    gpu: GpuArgs,
}

impl Args {
    fn spec(&self) -> Result<RunSpec, Failure> {
        let failed = |error: results::spec::SpecError| Failure::Failed(error.to_string());
        let mut layers = match &self.file {
            None => Layers::of_text("defaults", ""),
            Some(file) => Layers::of_file(file).map_err(failed)?,
        };
        layers.set.clone_from(&self.set);
        layers
            .set
            .extend(self.hbm_gib.map(|gib| format!("memory.hbm_gib={gib:?}")));
        layers
            .set
            .extend(self.host_gib.map(|gib| format!("memory.host_gib={gib:?}")));
        if self.no_integrity {
            layers.set.push("replay.integrity=false".to_owned());
        }
        layers.policies = self
            .policy
            .as_deref()
            .map(split_policies)
            .unwrap_or_default();
        let mut spec = RunSpec::load(&layers).map_err(failed)?;
        // Written down, so that the run is named after it.
        let given = self.compute.map(Kind::into);
        spec.replay.compute = given
            .or(spec.replay.compute)
            .or(Some(Kind::default().into()));
        Ok(spec)
    }
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let spec = args.spec()?;
    let mut setup = Setup::new(&spec).map_err(|error| failed(&error))?;
    PROGRAM_SHA256.clone_into(&mut setup.inputs.program_sha256);
    let name = format!("{}-gpu", spec.run_id());
    let target = args
        .out
        .clone()
        .unwrap_or_else(|| Path::new("results").join(name));
    // Looked at before the pools are taken; dropped, it takes back what it made.
    if let Opened::AlreadyThere(_) =
        RunWriter::create(&target, &spec.run_id(), &setup.inputs).map_err(|error| failed(&error))?
    {
        eprintln!("{} holds this run already; nothing to do", target.display());
        return Ok(ExitCode::SUCCESS);
    }
    let gpu = args.gpu.open()?;
    let compute = spec.replay.compute.unwrap_or_default();
    setup.warnings.push(caution(compute).to_owned());
    if !spec.replay.integrity {
        let caution = "blocks were neither stamped nor verified";
        setup.warnings.push(caution.to_owned());
    }
    for warning in setup.warnings.iter().chain(&setup.forecast().warnings()) {
        eprintln!("warning: {warning}");
    }
    let begun = Instant::now();
    let mut device = cuda_device(&setup, &gpu, &mut pool_progress)?;
    eprintln!(
        "{}: pools taken in {:.1} s",
        gpu.info().name,
        begun.elapsed().as_secs_f64()
    );
    let options = RunOptions {
        wants: Wants {
            ops: true,
            samples: Some(SAMPLES),
            decisions: true,
        },
        command: command(),
        commit: option_env!("DJINN_COMMIT").map(str::to_owned),
        started: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
        live: true,
        replace: false,
        stop: Some(stop_on_signal().map_err(|error| failed(&error))?),
    };
    let line = ProgressLine::start(&setup, device.gauges());
    let board = line.board();
    let info = device_info(&gpu, &device);
    let ran = record(&setup, &mut device, &info, &target, &options, |progress| {
        board.note(progress);
    });
    line.stop();
    match ran? {
        Replayed::Before(_) => {
            eprintln!("{} holds this run already; nothing to do", target.display());
        }
        Replayed::Now(finished, timings, harness) => {
            let text = summary(&spec.policy, &finished.metrics, &timings, &harness);
            print!("{text}");
            if let Some(at) = finished.summary.stopped {
                eprintln!(
                    "stopped at {at} s: the results are those up to then, and are marked as partial"
                );
            }
            eprintln!("results in {}", target.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn summary(policy: &str, m: &RunMetrics, timings: &[Timing], harness: &Harness) -> String {
    let ms = |nanos: Option<u64>| {
        nanos.map_or("-".to_owned(), |nanos| format!("{:.2}", nanos as f64 / 1e6))
    };
    let of = |value: &dyn Fn(&Timing) -> Option<u64>| {
        let mut values: Vec<u64> = timings.iter().filter_map(value).collect();
        values.sort_unstable();
        let at = |share: f64| {
            values.get(((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1)))
        };
        [
            at(0.5).copied().unwrap_or(0),
            at(0.99).copied().unwrap_or(0),
        ]
    };
    let rate = |kind: &str| {
        let nanos: u64 = timings
            .iter()
            .filter(|timing| timing.kind == kind)
            .map(|timing| timing.gpu_ns)
            .sum();
        let bytes = if kind == "d2h" {
            m.d2h_bytes
        } else {
            m.h2d_bytes
        };
        format!(
            "{:.2} GB at {:.1} GB/s",
            bytes as f64 / 1e9,
            bytes as f64 / nanos.max(1) as f64
        )
    };
    let us = |nanos: u64| nanos as f64 / 1e3;
    let (told, decision) = (harness.told, harness.decision);
    let [check, check_99] = of(&|timing| (timing.kind == "h2d").then_some(timing.check_ns));
    format!(
        "{policy}: {} turns, {} sessions finished\n\
         wake-up ms      mean {} p50 {} p99 {} of {}\n\
         session s       mean {}\n\
         swaps {} restores {}; D2H {}, H2D {} (GPU time)\n\
         harness us      p50 {:.1} p99 {:.1} from the end of an operation to the driver; p50 {:.1} p99 {:.1} to decide and hand over;\n\
         {:16}at most {:.2} % of the wake-ups' time\n\
         H2D checks us   p50 {:.1} p99 {:.1} over the chunks of a copy\n",
        m.turns,
        m.finished,
        ms(m.wakeup_ns_mean),
        ms(m.wakeup_ns_p50),
        ms(m.wakeup_ns_p99),
        m.wakeups,
        m.jct_ns_mean
            .map_or("-".to_owned(), |nanos| format!("{:.3}", nanos as f64 / 1e9)),
        m.swaps,
        m.restores,
        rate("d2h"),
        rate("h2d"),
        us(told.p50_ns),
        us(told.p99_ns),
        us(decision.p50_ns),
        us(decision.p99_ns),
        "",
        harness.wakeup_share * 100.0,
        us(check),
        us(check_99),
    )
}

/// Period of the levels in samples.csv.
const SAMPLES: Nanos = Nanos(250_000_000);

/// Becomes true at the first SIGINT or SIGTERM; the second one ends the program at once.
fn stop_on_signal() -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
