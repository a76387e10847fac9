//! Many runs: every point of a sweep, in parallel, each written at once or not at all.
//!
//! ```text
//!   out/rows/<run id>.csv   one row a run, as soon as it is finished
//!   out/runs/<run id>/      the run folder, if details are kept
//!   out/runs.csv            all rows in the order of the sweep
//! ```
//!
//! An interrupted sweep goes on where it was: a run whose row is there is not repeated. Runs share nothing, so the bytes of
//! `runs.csv` do not depend on the number of threads.

use crate::run::{self, Ran, RunOptions};
use crate::{LabError, Setup, Wants};
use rayon::prelude::*;
use results::runs::{RunIdentity, RunRow, read_runs, write_runs};
use results::spec::{SweepPoint, SweepSpec};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How a sweep is carried out.
#[derive(Clone, Debug, Default)]
pub struct SweepOptions {
    /// Folder of its results.
    pub out: PathBuf,
    /// Threads; default: one per core.
    pub threads: Option<usize>,
    /// Keep the folder of every run, with these optional files.
    pub keep: Option<Wants>,
    /// The command that repeats the sweep.
    pub command: String,
    /// Commit of the program, if known.
    pub commit: Option<String>,
}

/// How far a sweep is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepProgress {
    /// Runs finished, those that were there included.
    pub done: usize,
    /// Runs that were there.
    pub skipped: usize,
    /// Runs in all.
    pub total: usize,
}

/// What a sweep came to.
#[derive(Debug)]
pub struct SweepReport {
    /// Runs carried out now.
    pub ran: usize,
    /// Runs that were there.
    pub skipped: usize,
    /// Runs that failed: id and reason. Their rows are missing.
    pub failed: Vec<(String, String)>,
    /// The table of all runs.
    pub runs_csv: PathBuf,
}

/// Carries out what is missing of `sweep`, and writes `runs.csv`. `progress` is called from the threads that run.
///
/// # Errors
/// If results cannot be written. A run that fails does not end the sweep; it is reported.
pub fn run(
    sweep: &SweepSpec,
    options: &SweepOptions,
    progress: &(dyn Fn(SweepProgress) + Sync),
) -> Result<SweepReport, LabError> {
    let carried = carry_out(sweep.points(), options, progress)?;
    let runs_csv = options.out.join("runs.csv");
    write_runs(&runs_csv, &carried.rows)?;
    Ok(SweepReport {
        ran: sweep.len() - carried.skipped - carried.failed.len(),
        skipped: carried.skipped,
        failed: carried.failed,
        runs_csv,
    })
}

/// Runs that were carried out.
#[derive(Debug, Default)]
pub struct CarriedOut {
    /// Rows of the runs that are there, in the order of their points.
    pub rows: Vec<RunRow>,
    /// Runs that were there before.
    pub skipped: usize,
    /// Runs that failed: id and reason. Their rows are missing.
    pub failed: Vec<(String, String)>,
    /// CPU time of each run whose row is there, now or before \[s\], where the system tells.
    pub cpu_s: Vec<(SweepPoint, f64)>,
}

/// Carries out those of `points` whose rows are not in `options.out` yet.
///
/// # Errors
/// As [`run()`].
pub fn carry_out(
    points: &[SweepPoint],
    options: &SweepOptions,
    progress: &(dyn Fn(SweepProgress) + Sync),
) -> Result<CarriedOut, LabError> {
    let rows = options.out.join("rows");
    std::fs::create_dir_all(&rows).map_err(|error| LabError::File {
        path: rows.clone(),
        error,
    })?;
    let (done, skipped) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failed = Mutex::new(Vec::new());
    let point = |point: &SweepPoint| -> Result<(), LabError> {
        let id = point.spec.run_id();
        let path = rows.join(format!("{id}.csv"));
        if path.exists() {
            skipped.fetch_add(1, Ordering::Relaxed);
        } else {
            let before = thread_cpu_ns();
            match one(point, options) {
                Ok(row) => {
                    let cost = thread_cpu_ns()
                        .zip(before)
                        .map(|(after, before)| after - before);
                    // Only told, and different each time: no part of the row, and no loss where it cannot be written.
                    let _ = cost.map(|ns| std::fs::write(cost_file(&path), ns.to_string()));
                    write_runs(&path, std::slice::from_ref(&row))?;
                }
                Err(error @ (LabError::Folder(_) | LabError::File { .. })) => return Err(error),
                Err(error) => {
                    let mut failed = failed.lock().expect("no holder panics");
                    failed.push((point.index, id, error.to_string()));
                }
            }
        }
        progress(SweepProgress {
            done: done.fetch_add(1, Ordering::Relaxed) + 1,
            skipped: skipped.load(Ordering::Relaxed),
            total: points.len(),
        });
        Ok(())
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads.unwrap_or(0))
        .build()
        .map_err(|error| LabError::Value {
            key: "threads",
            what: error.to_string(),
        })?;
    pool.install(|| points.par_iter().with_max_len(1).try_for_each(point))?;
    let mut failed = failed.into_inner().expect("no holder panics");
    failed.sort();
    Ok(CarriedOut {
        rows: gather(points, &rows)?,
        skipped: skipped.into_inner(),
        failed: failed.into_iter().map(|(_, id, why)| (id, why)).collect(),
        cpu_s: costs(points, &rows),
    })
}

/// Where the cost of a run stands, beside its row.
fn cost_file(row: &Path) -> PathBuf {
    row.with_extension("cpu_ns")
}

fn costs(points: &[SweepPoint], rows: &Path) -> Vec<(SweepPoint, f64)> {
    let one = |point: &SweepPoint| {
        let row = rows.join(format!("{}.csv", point.spec.run_id()));
        let ns: f64 = std::fs::read_to_string(cost_file(&row))
            .ok()?
            .parse()
            .ok()?;
        Some((point.clone(), ns / 1e9))
    };
    points.iter().filter_map(one).collect()
}

/// CPU time that this thread has used \[ns\], where the system tells.
fn thread_cpu_ns() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split_whitespace().next()?.parse().ok()
}

/// Rows of the runs that are there, in the order of the sweep.
fn gather(points: &[SweepPoint], rows: &Path) -> Result<Vec<RunRow>, LabError> {
    let mut all = Vec::with_capacity(points.len());
    for point in points {
        let path = rows.join(format!("{}.csv", point.spec.run_id()));
        if path.exists() {
            all.extend(read_runs(&path)?);
        }
    }
    Ok(all)
}

fn one(point: &SweepPoint, options: &SweepOptions) -> Result<RunRow, LabError> {
    let setup = Setup::new(&point.spec)?;
    let Some(wants) = options.keep else {
        let (metrics, _) = run::measure(&setup)?;
        let id = RunIdentity {
            run: point.spec.run_id(),
            policy: point.spec.policy.clone(),
            workload: point.spec.workload_name(),
            model: setup.model.name.clone(),
            hardware: setup.hardware.name.clone(),
            device: "sim".to_owned(),
            seed: point.spec.seed,
            agents: setup.counts.sessions,
            hbm_blocks: setup.counts.hbm_blocks,
            host_blocks: setup.counts.host_blocks,
            demand_blocks: setup.counts.demand_blocks,
            params: point.params.clone(),
        };
        return Ok(RunRow { id, metrics });
    };
    let run_options = RunOptions {
        wants,
        command: options.command.clone(),
        commit: options.commit.clone(),
        ..RunOptions::default()
    };
    let folder = options.out.join("runs").join(point.spec.run_id());
    let folder = match run::simulate(&setup, &folder, &run_options, |_| ())? {
        Ran::Now(finished) => finished.folder,
        Ran::Before(folder) => folder,
    };
    Ok(RunRow::of(&folder, &point.params)?)
}
