//! `djinn run`: one simulation, from its config to its folder.

use crate::config::{ConfigArgs, one_run};
use crate::error::CliError;
use crate::{command, out, progress, summary};
use lab::run::{Ran, RunOptions, simulate};
use lab::timeline::{self, TimelineOptions};
use lab::{InputCache, Progress, Setup, Wants};
use model::{Nanos, Time};
use results::folder::{DECISIONS, OPS, Opened, RunFolder, RunWriter, SAMPLES};
use results::spec::RunSpec;
use std::path::{Path, PathBuf};

/// Simulate one run and write its folder
///
/// Prints what the run came to, as `djinn show` does. A run is named by its spec and not done twice, as long as the program, the hardware
/// profile, the model and the trace are those that it was made from; if its folder is of others, the command fails and says which.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Policy and its parameters, `djinn[margin_ms=20]`; `djinn policies` lists them
    #[arg(long)]
    policy: Option<String>,
    /// Folder of the run [default: results/RUN_ID]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write ops.csv: every step run and copy
    #[arg(long)]
    ops: bool,
    /// Write samples.csv: pools, link and queue every so many seconds of simulated time
    #[arg(long, value_name = "SECONDS", value_parser = period)]
    samples: Option<f64>,
    /// Write decisions.log: every signal, action and outcome (`djinn explain` reads it)
    #[arg(long)]
    log: bool,
    /// Write a timeline that <https://ui.perfetto.dev> opens; implies --ops, --log and --samples 0.25
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,
    /// The part of the run that the timeline shows, in seconds
    #[arg(long, value_name = "FROM..TO", requires = "timeline", value_parser = window)]
    timeline_window: Option<(Time, Time)>,
    /// Sessions that the timeline has a track for, at most
    #[arg(long, value_name = "N", requires = "timeline", default_value_t = TimelineOptions::default().sessions_max)]
    timeline_sessions: usize,
}

const EXAMPLES: &str = "\
Examples:
  djinn run                                              all defaults: 200 agents, Llama-3.1-8B, one H200
  djinn run --policy 'djinn[margin_ms=50]' --set memory.hbm_gib=40
  djinn run my.toml --log --out results/first            then: djinn explain results/first 17 3
  djinn run my.toml --timeline first.perfetto-trace      then open it in https://ui.perfetto.dev
  djinn run --set workload.trace=weka.jsonl.zst --set workload.rate=0.2 --set workload.too_long=truncate-session";

/// Sampling period where a timeline asks for samples: fine beside the seconds of a wait.
const TIMELINE_SAMPLES_S: f64 = 0.25;

/// Turns between two updates of the bar.
const PROGRESS_EVERY: u64 = 256;

fn period(text: &str) -> Result<f64, String> {
    let seconds = text
        .parse::<f64>()
        .ok()
        .filter(|s| s.is_finite() && *s >= 1e-6);
    seconds.ok_or_else(|| "expected seconds of simulated time, above 0, for example 0.5".to_owned())
}

fn window(text: &str) -> Result<(Time, Time), String> {
    let seconds = |text: &str| {
        text.parse::<f64>()
            .ok()
            .filter(|s| s.is_finite() && *s >= 0.0)
    };
    let ends = text
        .split_once("..")
        .and_then(|(from, to)| seconds(from).zip(seconds(to)));
    let (from, to) = ends
        .filter(|(from, to)| from < to)
        .ok_or("expected FROM..TO in seconds, for example 100..160")?;
    Ok((
        Time::ZERO + Nanos::from_secs_f64(from),
        Time::ZERO + Nanos::from_secs_f64(to),
    ))
}

pub fn run(args: &Args) -> Result<(), CliError> {
    let spec = one_run(&args.config.layers(args.policy.as_deref())?)?;
    let target = args
        .out
        .clone()
        .unwrap_or_else(|| Path::new("results").join(spec.run_id()));
    let command = if args.config.is_piped() {
        command::from_defaults(&spec)
    } else {
        command::given()
    };
    if let Some(file) = &args.timeline {
        check_parent(file)?;
    }
    let folder = match already_there(&target, &spec)? {
        Some(folder) => {
            out::note(&format!(
                "{} holds this run already; nothing to do",
                target.display()
            ));
            check_wanted(args, &folder)?;
            folder
        }
        None => simulate_now(args, &spec, &target, &command)?,
    };
    out::stdout(&summary::of(&folder)?)?;
    if let Some(file) = &args.timeline {
        write_timeline(args, &folder, file)?;
    }
    out::note(&format!("\nresults in {}", folder.path().display()));
    out::note(&format!("repeat it with: {command}"));
    Ok(())
}

/// The run, if its folder is there. Else nothing is, and a folder can be made there.
fn already_there(target: &Path, spec: &RunSpec) -> Result<Option<RunFolder>, CliError> {
    let inputs = InputCache::default().of(spec)?;
    match RunWriter::create(target, &spec.run_id(), &inputs)? {
        Opened::AlreadyThere(folder) => Ok(Some(folder)),
        // Dropped, it takes back what it made: the trace is still to be read.
        Opened::New(_) => Ok(None),
    }
}

/// A run that is there and lacks a file that was asked for is not what was asked for.
fn check_wanted(args: &Args, folder: &RunFolder) -> Result<(), CliError> {
    let wants = wants(args);
    let wanted = [
        (OPS, wants.ops, "--ops"),
        (SAMPLES, wants.samples.is_some(), "--samples"),
        (DECISIONS, wants.decisions, "--log"),
    ];
    for (file, wanted, option) in wanted {
        if wanted && !folder.has(file) {
            return Err(CliError::failed(format!(
                "{} holds this run without {file}, for which {option} asks; remove the folder or choose another with --out",
                folder.path().display()
            )));
        }
    }
    Ok(())
}

fn check_parent(file: &Path) -> Result<(), CliError> {
    let parent = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        Some(parent) if !parent.is_dir() => Err(CliError::failed(format!(
            "cannot create {}: there is no folder {}",
            file.display(),
            parent.display()
        ))),
        _ => Ok(()),
    }
}

fn wants(args: &Args) -> Wants {
    let timeline = args.timeline.is_some();
    let samples = args.samples.or(timeline.then_some(TIMELINE_SAMPLES_S));
    Wants {
        ops: args.ops || timeline,
        samples: samples.map(Nanos::from_secs_f64),
        decisions: args.log || timeline,
    }
}

fn simulate_now(
    args: &Args,
    spec: &RunSpec,
    target: &Path,
    command: &str,
) -> Result<RunFolder, CliError> {
    let setup = Setup::new(spec)?;
    for warning in setup.warnings.iter().chain(&setup.forecast().warnings()) {
        out::warn(warning);
    }
    let options = RunOptions {
        wants: wants(args),
        command: command.to_owned(),
        commit: command::commit(),
        started: command::started(),
        ..RunOptions::default()
    };
    let bar = progress::bar(setup.counts.turns, "turns");
    let ran = simulate(&setup, target, &options, |progress| {
        if let Progress::Turns(turns) = progress
            && turns.is_multiple_of(PROGRESS_EVERY)
        {
            bar.set_position(turns);
        }
    });
    bar.finish_and_clear();
    Ok(match ran? {
        Ran::Now(finished) => finished.folder,
        Ran::Before(folder) => folder,
    })
}

fn write_timeline(args: &Args, folder: &RunFolder, file: &Path) -> Result<(), CliError> {
    let (from, to) = args.timeline_window.unwrap_or((Time::ZERO, Time::NEVER));
    let options = TimelineOptions {
        from,
        to,
        sessions_max: args.timeline_sessions,
    };
    let report = timeline::write(folder, &options, file)?;
    if report.sessions_left_out > 0 {
        out::warn(&format!(
            "the timeline has tracks for {} of {} sessions; --timeline-sessions or --timeline-window choose others",
            report.sessions,
            report.sessions + report.sessions_left_out
        ));
    }
    out::note(&format!(
        "timeline in {}; open it in https://ui.perfetto.dev",
        file.display()
    ));
    Ok(())
}
