//! One run, from its setup to its rows.

use crate::row_thread::write_apart;
use crate::rows::{FolderSink, Progress, RowRecorder, Sink, Wants};
use crate::{LabError, Setup, playback};
use devices::SimDevice;
use devices::playback::Recording;
use engine::device::Device;
use engine::{Driver, RunSummary, Truth};
use policy::Needs;
use results::folder::{Opened, RunFolder, RunWriter, WAKES};
use results::manifest::{Counts, DeviceInfo, Manifest, SCHEMA, Wall};
use results::metrics::{Collector, Measure, RunMetrics};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// What a run writes beside its turns and sessions, and what goes into its manifest.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Optional files.
    pub wants: Wants,
    /// The command that repeats the run.
    pub command: String,
    /// Commit of the program, if known.
    pub commit: Option<String>,
    /// When the run was started, for the manifest.
    pub started: String,
    /// For a run on the wall clock: rows are written by a thread of their own, and what the device says is kept for playback.
    pub live: bool,
    /// A folder that holds this run as it came of other inputs gives way, once this one is finished.
    pub replace: bool,
    /// The run ends early, marked as partial, once this is true.
    pub stop: Option<Arc<AtomicBool>>,
}

/// A finished run.
#[derive(Debug)]
pub struct Finished {
    /// Its folder.
    pub folder: RunFolder,
    /// What it came to.
    pub metrics: RunMetrics,
    /// What the engine counted.
    pub summary: RunSummary,
}

/// What came of asking for a run folder.
#[derive(Debug)]
pub enum Ran {
    /// It ran now.
    Now(Box<Finished>),
    /// The folder held this very run already, made from the same inputs.
    Before(RunFolder),
}

/// Runs `setup` on `device`; rows go to `sink`.
///
/// # Errors
/// If the run fails or a row cannot be written.
pub fn execute<D: Device, S: Sink>(
    setup: &Setup,
    device: &mut D,
    sink: &mut S,
    progress: impl FnMut(Progress<'_>),
) -> Result<RunSummary, LabError> {
    execute_until(setup, device, sink, progress, None)
}

/// The same, until `stop` becomes true.
fn execute_until<D: Device, S: Sink>(
    setup: &Setup,
    device: &mut D,
    sink: &mut S,
    progress: impl FnMut(Progress<'_>),
    stop: Option<Arc<AtomicBool>>,
) -> Result<RunSummary, LabError> {
    let (entry, _) = policy::find(&setup.spec.policy)?;
    let truth = (entry.needs == Needs::Oracle).then(|| Arc::new(Truth::default()));
    let oracle = truth.clone().map(|truth| truth as Arc<dyn model::Oracle>);
    let policy = policy::build(&setup.spec.policy, oracle)?;
    let mut config = setup.engine.clone();
    config.sample_every = sink.wants().samples;
    if device.places_blocks() {
        config.memory.first_place = Some(0);
    }
    let mut workload = setup.workload();
    let pieces = setup.model.pieces_per_block();
    let mut recorder =
        RowRecorder::new(sink, setup.engine.block_bytes.0, pieces).with_progress(progress);
    let driver = Driver::new(
        config,
        device,
        policy,
        entry.listens,
        &mut workload,
        &mut recorder,
        truth,
    );
    let summary = driver.stoppable(stop).run()?;
    recorder.finish()?;
    Ok(summary)
}

/// The simulated device of a setup.
pub fn sim_device(setup: &Setup) -> SimDevice {
    SimDevice::new(
        setup.steps.clone(),
        &setup.link,
        u32::from(setup.engine.batching.ahead),
    )
    .with_disk(setup.disk)
    .with_jitter(setup.spec.engine.jitter)
}

/// Metrics of a simulated run; nothing is written.
///
/// # Errors
/// As [`execute`].
pub fn measure(setup: &Setup) -> Result<(RunMetrics, RunSummary), LabError> {
    let mut collector = Collector::new(Measure::of(&setup.spec));
    let summary = execute(setup, &mut sim_device(setup), &mut collector, |_| ())?;
    Ok((collector.finish(), summary))
}

/// Simulates `setup` into the folder `target`. A folder that holds this very run is left as it is.
///
/// # Errors
/// If the folder cannot be written or holds something else, this run from other inputs included, or the run fails; nothing half-written is left that
/// could be taken for a result.
pub fn simulate(
    setup: &Setup,
    target: &Path,
    options: &RunOptions,
    progress: impl FnMut(Progress<'_>),
) -> Result<Ran, LabError> {
    let device = DeviceInfo {
        kind: "sim".to_owned(),
        ..DeviceInfo::default()
    };
    record(
        setup,
        &mut sim_device(setup),
        &device,
        target,
        options,
        progress,
    )
}

/// Runs `setup` on any device into the folder `target`.
///
/// # Errors
/// As [`simulate`].
pub fn record<D: Device>(
    setup: &Setup,
    device: &mut D,
    info: &DeviceInfo,
    target: &Path,
    options: &RunOptions,
    progress: impl FnMut(Progress<'_>),
) -> Result<Ran, LabError> {
    let run_id = setup.spec.run_id();
    let begin = if options.replace {
        RunWriter::replace
    } else {
        RunWriter::create
    };
    let writer = match begin(target, &run_id, &setup.inputs)? {
        Opened::AlreadyThere(folder) => return Ok(Ran::Before(folder)),
        Opened::New(writer) => writer,
    };
    let collector = Collector::new(Measure::of(&setup.spec));
    let mut sink = FolderSink::new(writer, collector, options.wants);
    let clock = Instant::now();
    let stop = options.stop.clone();
    let (summary, mut sink, wakes) = if options.live {
        let mut recording = Recording::new(device);
        let (ran, sink) = write_apart(sink, |rows| {
            execute_until(setup, &mut recording, rows, progress, stop)
        });
        (ran?, sink?, Some(recording.into_log()))
    } else {
        let summary = execute_until(setup, device, &mut sink, progress, stop)?;
        (summary, sink, None)
    };
    let seconds = clock.elapsed().as_secs_f64();
    if let Some(log) = wakes {
        let text = playback::log_text(setup, options.wants.samples, &log);
        sink.file(WAKES, text.as_bytes())?;
    }
    let mut warnings = setup.warnings.clone();
    warnings.extend(setup.forecast().warnings());
    if let Some(at) = summary.stopped {
        warnings.push(format!(
            "partial: the run was stopped at {at} s, after {} of {} turns",
            summary.turns, setup.counts.turns
        ));
    }
    let manifest = Manifest {
        schema: SCHEMA,
        run_id,
        partial: summary.stopped.is_some(),
        spec: setup.spec.clone(),
        trace: setup.trace.clone(),
        policy: setup.policy_info()?,
        device: info.clone(),
        hardware: setup.hardware_info(),
        model: setup.model_info(),
        seed: setup.spec.seed,
        counts: Counts {
            disk_written_blocks: summary.disk_moved[0],
            disk_read_blocks: summary.disk_moved[1],
            ..setup.counts
        },
        warnings,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: options.commit.clone(),
        inputs: Some(setup.inputs.clone()),
        command: options.command.clone(),
        wall: Wall {
            started: options.started.clone(),
            seconds,
            events_per_s: summary.wakes as f64 / seconds.max(1e-9),
            rss_peak_bytes: peak_rss_bytes(),
        },
    };
    let (writer, collector) = sink.into_parts();
    let folder = writer.finish(&manifest)?;
    Ok(Ran::Now(Box::new(Finished {
        folder,
        metrics: collector.finish(),
        summary,
    })))
}

/// Most memory that this process has held, where the system tells; 0 elsewhere.
pub fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
