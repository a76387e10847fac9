//! `djinn compare`: is one policy better than another, or is that chance?

use crate::error::CliError;
use crate::format::{count, plural, signed_span};
use crate::out;
use crate::table::Table;
use results::compare::{Bootstrap, Comparison, Metric, RunSample, compare};
use results::folder::{MANIFEST, RunFolder};
use results::inputs::Inputs;
use results::spec::RunSpec;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Compare runs of one workload, turn by turn, with 95 % intervals
///
/// Runs are paired by trace, seed and draw of the jitter, and their turns and sessions one by one. Whole sessions are drawn again (bootstrap)
/// to see how much a difference hangs on them; from 5 such pairs on, pairs are. Where the interval includes 0, no difference is shown.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folders of runs, or folders that hold such folders, which are grouped by policy. The first is the baseline
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Policy that the others are compared with [default: the first]
    #[arg(long, value_name = "POLICY")]
    baseline: Option<String>,
    /// Resamples for each interval
    #[arg(long, value_name = "N", default_value_t = Bootstrap::default().resamples, value_parser = resamples)]
    resamples: usize,
}

const EXAMPLES: &str = "\
Examples:
  djinn compare results/vllm results/djinn
  djinn compare results/sweep/runs                      a sweep with --keep: every policy, all seeds
  djinn compare results/sweep/runs --baseline keep-always
A negative difference means that the second run is faster.";

fn resamples(text: &str) -> Result<usize, String> {
    let number = text
        .parse::<usize>()
        .ok()
        .filter(|number| (100..=1_000_000).contains(number));
    number.ok_or_else(|| "expected a number from 100 to 1000000".to_owned())
}

/// Runs of one policy, or one run.
struct Side {
    name: String,
    runs: Vec<RunSample>,
}

/// What the first run that says was made from, and where others differ from it though their specs name the same.
#[derive(Default)]
struct Origins {
    first: Option<(PathBuf, RunSpec, Inputs)>,
    others: BTreeSet<String>,
}

impl Origins {
    fn note(&mut self, folder: &RunFolder) {
        let manifest = folder.manifest();
        let (Some(inputs), spec) = (&manifest.inputs, &manifest.spec) else {
            return;
        };
        let Some((path, first, before)) = &self.first else {
            self.first = Some((folder.path().to_owned(), spec.clone(), inputs.clone()));
            return;
        };
        let mut now = inputs.clone();
        // Under another name other content is meant.
        if spec.hardware != first.hardware {
            now.hardware_sha256.clone_from(&before.hardware_sha256);
        }
        if spec.model != first.model {
            now.model_sha256.clone_from(&before.model_sha256);
        }
        // Runs of different traces are not paired at all.
        now.workload_sha256.clone_from(&before.workload_sha256);
        for what in now.changes(before, spec) {
            self.others.insert(format!(
                "not all runs were made with the same {what} as {}; a difference may be of that",
                path.display()
            ));
        }
    }
}

pub fn run(args: &Args) -> Result<(), CliError> {
    let mut origins = Origins::default();
    let mut sides = sides(&args.runs, &mut origins)?;
    for other in &origins.others {
        out::warn(other);
    }
    if let Some(name) = &args.baseline {
        let at = sides.iter().position(|side| side.name == *name);
        let at = at.ok_or_else(|| {
            let known: Vec<_> = sides.iter().map(|side| side.name.as_str()).collect();
            CliError::Usage(format!(
                "no run is of policy `{name}`; there are {}",
                known.join(", ")
            ))
        })?;
        let baseline = sides.remove(at);
        sides.insert(0, baseline);
    }
    let (baseline, others) = match sides.split_first() {
        Some((baseline, others)) if !others.is_empty() => (baseline, others),
        _ => {
            return Err(CliError::Usage(
                "one run, or runs of one policy, cannot be compared; give a second".to_owned(),
            ));
        }
    };
    let bootstrap = Bootstrap {
        resamples: args.resamples,
        ..Bootstrap::default()
    };
    for other in others {
        let comparison = compare(&baseline.runs, &other.runs, bootstrap)?;
        out::stdout(&report(&baseline.name, &other.name, &comparison))?;
    }
    Ok(())
}

/// The sides in the order in which they were given; those of one folder in the order of the registry.
fn sides(paths: &[PathBuf], origins: &mut Origins) -> Result<Vec<Side>, CliError> {
    let mut sample = |path: &Path| -> Result<RunSample, CliError> {
        let folder = RunFolder::open(path)?;
        origins.note(&folder);
        Ok(RunSample::of_folder(&folder)?)
    };
    let mut sides: Vec<Side> = Vec::new();
    for path in paths {
        if is_run(path) || !path.is_dir() {
            let run = sample(path)?;
            sides.push(Side {
                name: run.name.clone(),
                runs: vec![run],
            });
            continue;
        }
        let mut groups: Vec<Side> = Vec::new();
        for path in runs_in(path)? {
            let run = sample(&path)?;
            match groups.iter_mut().find(|side| side.name == run.name) {
                Some(side) => side.runs.push(run),
                None => groups.push(Side {
                    name: run.name.clone(),
                    runs: vec![run],
                }),
            }
        }
        if groups.is_empty() {
            return Err(CliError::hinted(
                format!("{} is no run and holds none", path.display()),
                "`djinn sweep --keep` keeps its runs in OUT/runs",
            ));
        }
        groups.sort_by_key(|side| (rank(&side.name), side.name.clone()));
        sides.extend(groups);
    }
    // Two runs of one policy are told apart by what they were given as.
    if sides.len() == paths.len() {
        let names: Vec<String> = sides.iter().map(|side| side.name.clone()).collect();
        for (side, path) in sides.iter_mut().zip(paths) {
            if names.iter().filter(|name| **name == side.name).count() > 1 {
                let _ = write!(side.name, " ({})", path.display());
            }
        }
    }
    Ok(sides)
}

fn rank(policy: &str) -> usize {
    let name = policy.split('[').next().unwrap_or(policy);
    policy::REGISTRY
        .iter()
        .position(|entry| entry.name == name)
        .unwrap_or(usize::MAX)
}

fn is_run(path: &Path) -> bool {
    path.join(MANIFEST).is_file()
}

/// The runs directly in a folder, by name; what an interrupted run left is none.
fn runs_in(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let failed = |cause: std::io::Error| CliError::file("read", folder, &cause);
    let mut runs = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let unfinished = path.to_string_lossy().contains(".tmp-");
        if is_run(&path) && !unfinished {
            runs.push(path);
        }
    }
    runs.sort();
    Ok(runs)
}

fn report(a: &str, b: &str, comparison: &Comparison) -> String {
    let mut text = format!(
        "{b} against {a}: {}, {}\n",
        plural(comparison.pairs as u64, "pair"),
        plural(comparison.sessions as u64, "session"),
    );
    for (what, unmatched) in [
        ("turns", comparison.turns_unmatched),
        ("finished sessions", comparison.sessions_unmatched),
    ] {
        if unmatched != [0, 0] {
            let _ = writeln!(
                text,
                "warning: {what} that only one side has are left out: {} of {a}, {} of {b}; a side that fails its slow \
                 sessions looks better than it is",
                unmatched[0], unmatched[1]
            );
        }
    }
    let heading = [
        "",
        "samples",
        "baseline",
        "other",
        "difference",
        "95 % interval",
        "",
    ];
    let mut table = Table::new(&heading).words_last();
    for difference in &comparison.differences {
        let interval = difference.interval();
        let name = format!(
            "{} {}",
            name(difference.metric),
            difference.statistic.name()
        );
        let relative = if difference.a > 0.0 {
            format!(" ({:+.1} %)", difference.difference / difference.a * 100.0)
        } else {
            String::new()
        };
        let verdict = if difference.shown() {
            ""
        } else {
            "no difference shown"
        };
        table.row([
            name,
            count(difference.samples as u64),
            signed_span(difference.a),
            signed_span(difference.b),
            format!("{}{relative}", signed_span(difference.difference)),
            format!(
                "{} to {}",
                signed_span(interval.low),
                signed_span(interval.high)
            ),
            verdict.to_owned(),
        ]);
    }
    text += &table.render();
    let by_pairs = comparison
        .differences
        .iter()
        .all(|one| one.by_seed.is_some());
    let by = if by_pairs {
        "baseline, other: means over pairs of runs; intervals by resampling pairs"
    } else {
        "intervals by resampling sessions"
    };
    let _ = writeln!(text, "  {by}\n");
    text
}

fn name(metric: Metric) -> &'static str {
    match metric {
        Metric::Wakeup => "wake-up",
        Metric::Ttft => "TTFT",
        Metric::Turn => "turn",
        Metric::Jct => "completion",
    }
}
