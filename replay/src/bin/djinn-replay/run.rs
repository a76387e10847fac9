//! `djinn-replay run`: one run on a GPU, from its config to its folder.

use crate::{Failure, GpuArgs, command, pool_progress};
use lab::run::RunOptions;
use lab::{Setup, Wants};
use replay::device::{Gauges, Timing};
use replay::run::{Replayed, caution, cuda_device, device_info, record};
use results::folder::{Opened, RunWriter};
use results::metrics::RunMetrics;
use results::spec::{Layers, RunSpec, split_policies};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Replay one run and write its folder
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

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    Touch,
    Spin,
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
        layers.set.extend(self.compute.map(|kind| {
            let name = match kind {
                Kind::Touch => "touch",
                Kind::Spin => "spin",
            };
            format!("replay.compute={name}")
        }));
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
        spec.replay.compute.get_or_insert_default();
        Ok(spec)
    }
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let spec = args.spec()?;
    let mut setup = Setup::new(&spec).map_err(|error| failed(&error))?;
    let name = format!("{}-gpu", spec.run_id());
    let target = args
        .out
        .clone()
        .unwrap_or_else(|| Path::new("results").join(name));
    // Looked at before the pools are taken; dropped, it takes back what it made.
    if let Opened::AlreadyThere(_) =
        RunWriter::create(&target, &spec.run_id()).map_err(|error| failed(&error))?
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
            samples: None,
            decisions: true,
        },
        command: command(),
        commit: option_env!("DJINN_COMMIT").map(str::to_owned),
        started: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
    };
    let line = ProgressLine::start(setup.counts.turns, device.gauges());
    let turns = Arc::clone(&line.turns);
    let info = device_info(&gpu, &device);
    let ran = record(&setup, &mut device, &info, &target, &options, |done| {
        turns.store(done, Ordering::Relaxed);
    });
    line.stop();
    match ran? {
        Replayed::Before(_) => {
            eprintln!("{} holds this run already; nothing to do", target.display());
        }
        Replayed::Now(finished, timings) => {
            print!("{}", summary(&spec.policy, &finished.metrics, &timings));
            eprintln!("results in {}", target.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn summary(policy: &str, m: &RunMetrics, timings: &[Timing]) -> String {
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
    let [harness, harness_99] = of(&|timing| Some(timing.harness_ns()));
    let [check, check_99] = of(&|timing| (timing.kind == "h2d").then_some(timing.check_ns));
    format!(
        "{policy}: {} turns, {} sessions finished\n\
         wake-up ms      mean {} p50 {} p99 {} of {}\n\
         session s       mean {}\n\
         swaps {} restores {}; D2H {}, H2D {} (GPU time)\n\
         harness us      p50 {:.1} p99 {:.1} from the end of an operation to the driver\n\
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
        harness as f64 / 1e3,
        harness_99 as f64 / 1e3,
        check as f64 / 1e3,
        check_99 as f64 / 1e3,
    )
}

/// A line on stderr, drawn by a thread of its own so that the driver does no I/O for it.
struct ProgressLine {
    turns: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl ProgressLine {
    fn start(total: u64, gauges: Arc<Gauges>) -> Self {
        let (turns, over) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (seen, ended) = (Arc::clone(&turns), Arc::clone(&over));
        let begun = Instant::now();
        let thread = thread::spawn(move || {
            loop {
                let last = ended.load(Ordering::Relaxed);
                let [out, back] =
                    [0, 1].map(|side| gauges.moved[side].load(Ordering::Relaxed) as f64 / 1e9);
                let lanes: u64 = gauges
                    .in_flight
                    .iter()
                    .map(|side| side.load(Ordering::Relaxed))
                    .sum();
                eprint!(
                    "\r{:6.1} s  {}/{total} turns  D2H {out:.1} GB  H2D {back:.1} GB  {lanes} chunks in flight ",
                    begun.elapsed().as_secs_f64(),
                    seen.load(Ordering::Relaxed),
                );
                if last {
                    eprintln!();
                    return;
                }
                thread::park_timeout(Duration::from_millis(500));
            }
        });
        Self {
            turns,
            over,
            thread,
        }
    }

    fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        // A panic of the thread costs the line and nothing else.
        let _ = self.thread.join();
    }
}
