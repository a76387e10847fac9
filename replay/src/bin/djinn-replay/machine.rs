//! A GPU that runs one replay after another.
//!
//! Pools, weights and graphs are taken once for all runs that need the same: they take longer than many a run.

use crate::progress::ProgressLine;
use crate::summary::summary;
use crate::{Failure, GpuArgs, command, pool_progress};
use kernels::gpu::Gpu;
use lab::run::RunOptions;
use lab::{Setup, Wants};
use model::Nanos;
use replay::CudaDevice;
use replay::run::{PROGRAM_SHA256, Replayed, caution, cuda_device_after, device_info, record};
use results::folder::{Opened, RunWriter};
use results::spec::RunSpec;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Period of the levels in samples.csv.
const SAMPLES: Nanos = Nanos(250_000_000);

/// A GPU, opened when the first run needs it, and the device of the last run.
pub struct Machine {
    args: GpuArgs,
    gpu: Option<Gpu>,
    device: Option<CudaDevice>,
    stop: Arc<AtomicBool>,
}

impl Machine {
    /// Nothing is opened yet. SIGINT and SIGTERM stop the run from now on.
    pub fn new(args: GpuArgs) -> Result<Self, Failure> {
        Ok(Self {
            args,
            gpu: None,
            device: None,
            stop: stop_on_signal().map_err(|error| Failure::Failed(error.to_string()))?,
        })
    }

    /// The GPU, opened if it is not yet.
    fn gpu(&mut self) -> Result<Gpu, Failure> {
        match &self.gpu {
            Some(gpu) => Ok(gpu.clone()),
            None => Ok(self.gpu.insert(self.args.open()?).clone()),
        }
    }

    /// What can be known beforehand of a run: that its inputs are there, and the GPU.
    ///
    /// # Errors
    /// As [`Self::replay`].
    pub fn open_for(&mut self, spec: &RunSpec) -> Result<(), Failure> {
        Setup::new(spec).map_err(|error| Failure::Failed(error.to_string()))?;
        self.gpu().map(drop)
    }

    /// Replays `spec` into `target`, unless that holds it already, and prints what it came to. Whether `target` holds all of it: a signal stops the run.
    pub fn replay(&mut self, spec: &RunSpec, target: &Path) -> Result<bool, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
        let mut setup = Setup::new(spec).map_err(|error| failed(&error))?;
        PROGRAM_SHA256.clone_into(&mut setup.inputs.program_sha256);
        // Looked at before the pools are taken; dropped, it takes back what it made.
        let opened = RunWriter::create(target, &spec.run_id(), &setup.inputs);
        if let Opened::AlreadyThere(_) = opened.map_err(|error| failed(&error))? {
            eprintln!("{} holds this run already; nothing to do", target.display());
            return Ok(true);
        }
        let gpu = self.gpu()?;
        let compute = spec.replay.compute.unwrap_or_default();
        setup.warnings.push(caution(compute).to_owned());
        let caution = if spec.replay.integrity {
            "blocks are stamped and verified, which takes some percent of prompts and restores; not so in a simulation, nor under --no-integrity"
        } else {
            "blocks were neither stamped nor verified"
        };
        setup.warnings.push(caution.to_owned());
        for warning in setup.warnings.iter().chain(&setup.forecast().warnings()) {
            eprintln!("warning: {warning}");
        }
        let begun = Instant::now();
        let before = self.device.take();
        let mut device = cuda_device_after(before, &setup, &gpu, &mut pool_progress)?;
        eprintln!(
            "{}: ready after {:.1} s",
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
            stop: Some(Arc::clone(&self.stop)),
        };
        let line = ProgressLine::start(&setup, device.gauges());
        let board = line.board();
        let info = device_info(&gpu, &device);
        let ran = record(&setup, &mut device, &info, target, &options, |progress| {
            board.note(progress);
        });
        line.stop();
        let Replayed::Now(finished, timings, harness) = ran? else {
            return Ok(true);
        };
        let text = summary(&spec.policy, &finished.metrics, &timings, &harness);
        print!("{text}");
        if let Some(at) = finished.summary.stopped {
            eprintln!("stopped at {at} s");
            return Ok(false);
        }
        self.device = Some(device);
        Ok(true)
    }
}

/// Signals nearer than this are one: `timeout` and shells send theirs to a program and to its process group.
const ONE_STOP: Duration = Duration::from_secs(1);

/// Becomes true at the first SIGINT or SIGTERM; another one later ends the program at once.
fn stop_on_signal() -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut first = None;
            for _ in signals.forever() {
                told.store(true, Ordering::Relaxed);
                if first.get_or_insert_with(Instant::now).elapsed() > ONE_STOP {
                    std::process::exit(130);
                }
            }
        })?;
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::low_level::raise;

    #[test]
    fn a_signal_sent_twice_is_one_stop() {
        let stop = stop_on_signal().unwrap();
        assert!(!stop.load(Ordering::Relaxed));
        for _ in 0..2 {
            raise(SIGINT).unwrap();
            while !stop.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            // Long enough to be heard alone.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
