//! `djinn reproduce`: every result, figure and number of the paper, from nothing.
//!
//! ```text
//!   configs/seed/as-run.toml ──► as-run/runs.csv ─┐
//!   configs/seed/loaded.toml ──► loaded/runs.csv ─┼─► seed_table.csv ──┐
//!                            ├─► loaded-80/runs/  │                    ├─► figures/  ──► paper/generated/
//!                            ├─► timeline/        ├─► faults.csv ──────┘
//!                            └────────────────────┘       ▲            manifest.json names everything
//!   configs/experiments/contradiction-*.toml ──► contradictions/*/runs.csv
//!   paper/ranking (committed: `djinn rank` takes half an hour) ──────────► figures/, numbers
//!   replay/measurements/validation (committed: recorded runs of GPUs) ────► figures/, numbers
//! ```
//!
//! Interrupted, it goes on where it was: runs that are there are not repeated, if they were made from the same inputs.

mod contradictions;
mod paper;
mod ranking;
mod validation;

use crate::error::CliError;
use crate::{command, interrupt, out, progress};
use figures::by_name;
use lab::run::{Ran, RunOptions, simulate};
use lab::sweep::{SweepOptions, SweepReport};
use lab::{Setup, Wants, faults, seed};
use model::Nanos;
use results::folder::write_table;
use results::runs::{RunRow, read_runs};
use results::sha256_hex;
use results::spec::SweepSpec;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Agents of the runs that the distributions, the breakdown and the timeline are taken from.
const AGENTS: u64 = 80;

/// Run the seed study, the first policy comparison and the contradictions of the literature; draw their figures
///
/// From nothing it simulates 1,600 runs of the seed's server, 280 of the comparison, and some with details kept, in well under two
/// minutes on two cores; then some 2,500 of coding agents that contradict each other's publications, in some three. In a checkout, the paper's figures, tables and numbers (paper/generated) are written again, too; those of the ranking and of
/// the GPU from committed tables, which `djinn rank` and `djinn revalidate` make.
///
/// Runs that are there already are taken up if they were made by this program from the same hardware profile and model;
/// the others are made anew, and it is told how many and why.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  djinn reproduce\n  djinn reproduce --out /tmp/again --paper /tmp/again/paper"
)]
pub struct Args {
    /// Where the results go
    #[arg(long, value_name = "DIR", default_value = "results/reproduce")]
    out: PathBuf,
    /// Where the paper's parts go [default: paper/generated, where there is a paper]
    #[arg(long, value_name = "DIR")]
    paper: Option<PathBuf>,
    /// Threads [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// Results in memory, for the tables that are made from them.
struct Study {
    as_run: Vec<RunRow>,
    loaded: Vec<RunRow>,
    faults: Vec<faults::FaultRow>,
    seed: Vec<results::rows::SeedRow>,
}

pub fn run(args: &Args) -> Result<(), CliError> {
    let clock = Instant::now();
    interrupt::say_what_is_kept();
    let out = &args.out;
    std::fs::create_dir_all(out).map_err(|cause| CliError::file("create", out, &cause))?;
    let study = simulate_all(args)?;
    contradictions::simulate(args)?;
    let mut figures = draw(out)?;
    let ranking = ranking::Record::read()?;
    if ranking.is_some() {
        figures.extend(ranking::Record::draw(&out.join("figures"))?);
    }
    let validation = validation::Record::read()?;
    if let Some(validation) = &validation {
        figures.extend(validation.draw(&out.join("validation"), &out.join("figures"))?);
    }
    let paper = args.paper.clone().or_else(|| {
        Path::new("paper/paper.tex")
            .is_file()
            .then(|| PathBuf::from("paper/generated"))
    });
    if let Some(paper) = &paper {
        let records = paper::Records {
            ranking: ranking.as_ref(),
            validation: validation.as_ref(),
        };
        paper::write(paper, &study, records, out)?;
    }
    write_manifest(out)?;
    out::stdout(&paper::summary(&study))?;
    out::stdout(&format!(
        "\nresults  {}\nfigures  {} ({} files)\n",
        out.display(),
        out.join("figures").display(),
        figures.len()
    ))?;
    if let Some(paper) = paper {
        out::stdout(&format!("paper    {}\n", paper.display()))?;
    }
    out::note(&format!(
        "reproduced in {:.1} s",
        clock.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn simulate_all(args: &Args) -> Result<Study, CliError> {
    let out = &args.out;
    let as_run = load("as-run.toml", seed::AS_RUN, &[])?;
    let as_run = sweep(
        args,
        "seed study, as run",
        &as_run,
        &out.join("as-run"),
        None,
    )?;
    let loaded = load("loaded.toml", seed::LOADED, &[])?;
    let loaded = sweep(
        args,
        "seed study, loaded",
        &loaded,
        &out.join("loaded"),
        None,
    )?;
    let agents = format!("sweep.\"workload.sessions\"=[{AGENTS}]");
    let detailed = load("loaded.toml", seed::LOADED, &[&agents])?;
    let details = Some(Wants {
        decisions: true,
        ..Wants::default()
    });
    sweep(
        args,
        "loaded, in detail",
        &detailed,
        &out.join("loaded-80"),
        details,
    )?;
    timeline(out)?;
    let faulty = load(
        "loaded.toml",
        seed::LOADED,
        &[
            "sweep.\"workload.sessions\"=[100]",
            "sweep.policy=[\"djinn\"]",
            "sweep.seed=\"1..20\"",
        ],
    )?;
    let faults = faults::study(&faulty)?;
    write_table(&out.join("faults.csv"), faults.iter().cloned())?;
    let vllm: Vec<RunRow> = loaded
        .iter()
        .filter(|run| run.id.policy == "vllm-recompute")
        .cloned()
        .collect();
    let seed = seed::table(&as_run, &vllm);
    write_table(&out.join("seed_table.csv"), seed.iter().cloned())?;
    Ok(Study {
        as_run,
        loaded,
        faults,
        seed,
    })
}

fn load(name: &str, text: &str, set: &[&str]) -> Result<SweepSpec, CliError> {
    Ok(seed::sweep(name, text, set)?)
}

fn sweep(
    args: &Args,
    what: &str,
    spec: &SweepSpec,
    folder: &Path,
    keep: Option<Wants>,
) -> Result<Vec<RunRow>, CliError> {
    let bar = progress::bar(spec.len() as u64, "runs");
    bar.set_message(what.to_owned());
    let options = SweepOptions {
        out: folder.to_owned(),
        threads: args.threads,
        keep,
        command: "djinn reproduce".to_owned(),
        commit: command::commit(),
    };
    let report: SweepReport = lab::sweep::run(spec, &options, &|progress| {
        bar.set_position(progress.done as u64);
    })?;
    bar.finish_and_clear();
    if let Some((id, why)) = report.failed.first() {
        return Err(CliError::failed(format!(
            "{what}: {} of {} runs failed; the first, {id}: {why}",
            report.failed.len(),
            spec.len()
        )));
    }
    out::note(&format!(
        "{what}: {} runs, {} of them there already",
        spec.len(),
        report.skipped
    ));
    out::renewed(&report.renewed);
    Ok(read_runs(&report.runs_csv)?)
}

/// One run with levels sampled.
fn timeline(out: &Path) -> Result<(), CliError> {
    let agents = format!("sweep.\"workload.sessions\"=[{AGENTS}]");
    let spec = load(
        "loaded.toml",
        seed::LOADED,
        &[&agents, "sweep.policy=[\"djinn\"]", "sweep.seed=\"1..1\""],
    )?;
    let point = spec.points().first().expect("one run");
    let setup = Setup::new(&point.spec)?;
    let options = RunOptions {
        wants: Wants {
            samples: Some(Nanos::from_millis(250)),
            ops: true,
            decisions: true,
        },
        command: "djinn reproduce".to_owned(),
        commit: command::commit(),
        started: command::started(),
        replace: true,
        ..RunOptions::default()
    };
    match simulate(&setup, &out.join("timeline"), &options, |_| ())? {
        Ran::Now(_) | Ran::Before(_) => Ok(()),
    }
}

/// Every figure, from the folder that holds its results.
fn draw(out: &Path) -> Result<Vec<PathBuf>, CliError> {
    let target = out.join("figures");
    let mut files = Vec::new();
    for (name, folder) in [
        ("seed_table", out.to_owned()),
        ("wakeup_cdf", out.join("loaded-80")),
        ("wakeup_breakdown", out.join("loaded-80")),
        ("wakeup_vs_agents", out.join("loaded")),
        ("timeline", out.join("timeline")),
        ("contradiction_pausing", contradictions::folder(out)),
        ("contradiction_offload", contradictions::folder(out)),
        ("contradiction_ttl", contradictions::folder(out)),
    ] {
        let figure = by_name(name).expect("it is registered");
        files.extend(figure.make(&folder, &target)?);
    }
    Ok(files)
}

/// `manifest.json`: what was run with what, and the hash of every file that came of it.
fn write_manifest(out: &Path) -> Result<(), CliError> {
    let mut files = BTreeMap::new();
    hash_below(out, out, &mut files)?;
    let seed = [("as-run.toml", seed::AS_RUN), ("loaded.toml", seed::LOADED)];
    let seed = seed.map(|(name, text)| (format!("configs/seed/{name}"), text));
    let experiments = contradictions::SWEEPS.map(|(name, text)| {
        let path = format!("configs/experiments/contradiction-{name}.toml");
        (path, text)
    });
    let configs: BTreeMap<_, _> = seed
        .into_iter()
        .chain(experiments)
        .map(|(path, text)| (path, sha256_hex(text.as_bytes())))
        .collect();
    let manifest = serde_json::json!({
        "command": command::given(),
        "version": env!("CARGO_PKG_VERSION"),
        "commit": command::commit(),
        "configs": configs,
        "files": files,
        "wall": { "started": command::started() },
    });
    let path = out.join("manifest.json");
    let text = serde_json::to_string_pretty(&manifest).expect("plain values");
    std::fs::write(&path, text).map_err(|cause| CliError::file("write", &path, &cause))
}

fn hash_below(
    root: &Path,
    folder: &Path,
    files: &mut BTreeMap<String, String>,
) -> Result<(), CliError> {
    let entries =
        std::fs::read_dir(folder).map_err(|cause| CliError::file("read", folder, &cause))?;
    for entry in entries {
        let path = entry
            .map_err(|cause| CliError::file("read", folder, &cause))?
            .path();
        let name = path
            .strip_prefix(root)
            .expect("below it")
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            // Rows and run folders of single runs are summed up in runs.csv.
            if name.ends_with("/rows") || name.ends_with("/runs") {
                continue;
            }
            hash_below(root, &path, files)?;
        } else if name != "manifest.json" {
            let bytes =
                std::fs::read(&path).map_err(|cause| CliError::file("read", &path, &cause))?;
            files.insert(name, sha256_hex(&bytes));
        }
    }
    Ok(())
}
