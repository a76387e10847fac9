//! `djinn rank`: all policies on several workloads at loads that are found.

use crate::error::CliError;
use crate::format::plural;
use crate::table::Table;
use crate::{command, interrupt, out, progress};
use figures::by_name;
use lab::ranking::{self, POLICIES, Ranked, RankingOptions, RankingSpec, Stage};
use results::folder::write_table;
use results::ranking::{
    DifferenceRow, Measured, PlaceRow, TunedRow, differences, judged, markdown, places, tuned,
};
use results::runs::write_runs;
use results::spec::split_policies;
use results::{sha256_hex, sha256_of_file};
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

/// Rank all policies: on several workloads, at loads found by search, with paired intervals
///
/// Each workload is dealt into shards, on which every policy runs: the same sessions, waits and arrivals for each. Loads are found under a reference
/// policy, by halving the distance between a rate that passes and one that fails. Policies with parameters run twice: with their
/// defaults, and with what was best on shards of other sessions.
///
/// Without a config: every policy of the registry on three public workloads at three loads, ten shards each (configs/experiments/policies.toml).
/// An interrupted ranking goes on where it stopped when the same command is given again. Runs that are there are taken up if they were made by this
/// program from the same hardware profile, model and trace; the others are made anew, and it is told how many and why.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Config of the ranking [default: the committed one]
    #[arg(value_name = "CONFIG")]
    config: Option<PathBuf>,
    /// Set a key of the config, `run.hints.kind=oracle`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Only these policies (and the reference), separated by commas
    #[arg(long)]
    policy: Option<String>,
    /// Only these workloads, separated by commas
    #[arg(long)]
    workload: Option<String>,
    /// A first look in a few minutes: five shards of a quarter of the sessions, nothing tuned
    #[arg(long)]
    quick: bool,
    /// Folder of the results
    #[arg(long, value_name = "DIR", default_value = "results/policies")]
    out: PathBuf,
    /// Folder of the public traces; workloads whose trace is not there are left out
    #[arg(long, value_name = "DIR", default_value = "../shared/traces-public")]
    traces: PathBuf,
    /// Runs at a time [default: one per core]; the results do not depend on it
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

const EXAMPLES: &str = "\
Examples:
  djinn rank --quick                            a first look
  djinn rank                                    everything: 10 to 30 minutes on two cores
  djinn rank --policy djinn,continuum-paper     two policies beside the reference
  djinn rank --set run.hints.kind=oracle --out results/oracle
  djinn rank mine.toml --traces .               own traces: copy configs/experiments/policies.toml and change its workloads

Writes into DIR:
  ranking.md, ranking.csv     places in each workload at each load, ties where an interval includes \"equal\"
  differences.csv             each policy against the reference, with 95 % intervals
  runs.csv                    every judged run
  loads.csv, probes.csv       the loads, and every step of the search
  trials.csv                  every setting that was tried on training shards
  tuned.csv                   tuned parameters against defaults, on the judged shards
  cost.csv                    CPU time by workload and policy
  figures/                    heat map and table of places";

/// Whose name the built-in config has in messages.
const BUILT_IN: &str = "configs/experiments/policies.toml";

pub fn run(args: &Args) -> Result<(), CliError> {
    let clock = Instant::now();
    let started = command::started();
    interrupt::say_what_is_kept();
    let (name, text) = match &args.config {
        None => (BUILT_IN.to_owned(), POLICIES.to_owned()),
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|cause| CliError::file("read", path, &cause))?;
            (path.display().to_string(), text)
        }
    };
    let spec = spec(args, &name, &text)?;
    std::fs::create_dir_all(&args.out)
        .map_err(|cause| CliError::file("create", &args.out, &cause))?;
    let options = RankingOptions {
        out: args.out.clone(),
        traces: args.traces.clone(),
        threads: args.threads.map(NonZeroUsize::get),
    };
    let ranked = with_bar(|progress| ranking::run(&spec, &options, progress))?;
    for (workload, file) in &ranked.missing {
        out::warn(&format!(
            "workload `{workload}` is skipped: {} is not there; `--traces DIR` says where public traces are",
            file.display()
        ));
    }
    if ranked.rows.is_empty() && ranked.failed.is_empty() {
        out::note("nothing to rank: none of the workloads has its trace");
        return Ok(());
    }
    let runs = judged(&ranked.rows).map_err(CliError::failed)?;
    let table = differences(&runs, &spec.reference);
    let places = places(&runs, &table);
    let tables = Tables {
        text: markdown(&ranked.loads, &table, &places, &spec.reference),
        tuned: tuned(&runs),
        differences: table,
        places,
    };
    tables.write(&args.out, &ranked)?;
    let wall_s = clock.elapsed().as_secs_f64();
    write_manifest(args, &spec, &ranked, (&name, &text), (started, wall_s))?;
    for figure in ["policy_heat", "policy_places"] {
        let figure = by_name(figure).expect("it is registered");
        figure.make(&args.out, &args.out.join("figures"))?;
    }
    out::stdout(&summary(&ranked, &tables.places))?;
    let cpu: f64 = ranked.costs.values().map(|cost| cost.total_s).sum();
    out::note(&format!(
        "\n{} judged; {cpu:.0} s of CPU time in all; tables and figures in {}",
        plural(ranked.rows.len() as u64, "run"),
        args.out.display()
    ));
    out::renewed(&ranked.renewed);
    for (run, why) in &ranked.failed {
        out::warn(&format!("run {run} failed: {why}"));
    }
    if ranked.failed.is_empty() {
        Ok(())
    } else {
        let failed = plural(ranked.failed.len() as u64, "run");
        Err(CliError::failed(format!(
            "{failed} failed; their rows are missing"
        )))
    }
}

/// The config with what the command line changes of it.
fn spec(args: &Args, name: &str, text: &str) -> Result<RankingSpec, CliError> {
    let mut spec = RankingSpec::load(name, text, &args.set)?;
    if let Some(list) = &args.policy {
        spec.policies = split_policies(list);
        for policy in &spec.policies {
            policy::find(policy)?;
        }
    }
    if let Some(list) = &args.workload {
        let wanted = split_policies(list);
        if let Some(unknown) = wanted
            .iter()
            .find(|name| spec.workloads.iter().all(|w| w.name != **name))
        {
            let known: Vec<&str> = spec.workloads.iter().map(|w| w.name.as_str()).collect();
            return Err(CliError::Usage(format!(
                "no workload is called `{unknown}`; known: {}",
                known.join(", ")
            )));
        }
        spec.workloads
            .retain(|workload| wanted.contains(&workload.name));
    }
    if args.quick {
        spec.make_quick();
    }
    Ok(spec)
}

/// A bar for each batch of runs.
fn with_bar<T>(work: impl FnOnce(&(dyn Fn(ranking::RankingProgress) + Sync)) -> T) -> T {
    let bar = progress::staged_bar("runs");
    let shown: Mutex<Option<(Stage, usize)>> = Mutex::new(None);
    let result = work(&|progress| {
        let batch = (progress.stage, progress.total);
        let mut shown = shown.lock().expect("no holder panics");
        if *shown != Some(batch) {
            if shown.is_none_or(|(stage, _)| stage != progress.stage) && bar.is_hidden() {
                out::note(progress.stage.name());
            }
            bar.reset();
            bar.set_length(progress.total as u64);
            bar.set_message(progress.stage.name());
            *shown = Some(batch);
        }
        bar.set_position(progress.done as u64);
    });
    bar.finish_and_clear();
    result
}

/// What follows from the judged runs.
struct Tables {
    differences: Vec<DifferenceRow>,
    places: Vec<PlaceRow>,
    tuned: Vec<TunedRow>,
    text: String,
}

impl Tables {
    fn write(&self, out: &Path, ranked: &Ranked) -> Result<(), CliError> {
        write_runs(&out.join("runs.csv"), &ranked.rows)?;
        write_table(&out.join("loads.csv"), ranked.loads.iter().cloned())?;
        write_table(&out.join("probes.csv"), ranked.probes.iter().cloned())?;
        write_table(&out.join("trials.csv"), ranked.trials.iter().cloned())?;
        write_table(
            &out.join("differences.csv"),
            self.differences.iter().cloned(),
        )?;
        write_table(&out.join("ranking.csv"), self.places.iter().cloned())?;
        write_table(&out.join("tuned.csv"), self.tuned.iter().cloned())?;
        let mut cost = String::from("workload,policy,runs,cpu_s,slowest_cpu_s\n");
        for ((workload, policy), c) in &ranked.costs {
            let (runs, total, slowest) = (c.runs, c.total_s, c.max_s);
            let _ = writeln!(cost, "{workload},{policy},{runs},{total:.3},{slowest:.3}");
        }
        for (name, text) in [("cost.csv", &cost), ("ranking.md", &self.text)] {
            let path = out.join(name);
            std::fs::write(&path, text).map_err(|cause| CliError::file("write", &path, &cause))?;
        }
        Ok(())
    }
}

/// `manifest.json`: what was run with what, on which sessions, and what it cost.
fn write_manifest(
    args: &Args,
    spec: &RankingSpec,
    ranked: &Ranked,
    (name, text): (&str, &str),
    (started, wall_s): (String, f64),
) -> Result<(), CliError> {
    let mut sources = serde_json::Map::new();
    for workload in &spec.workloads {
        let mut source = serde_json::json!({
            "about": workload.about,
            "sessions_per_shard": workload.sessions,
        });
        let dealt = ranked
            .dealt
            .iter()
            .find(|dealt| dealt.workload == workload.name);
        if let Some((dealt, file)) = dealt.zip(workload.file(&args.traces)) {
            let sha256 =
                sha256_of_file(&file).map_err(|cause| CliError::file("read", &file, &cause))?;
            source["trace"] = serde_json::json!({
                "file": workload.trace,
                "sha256": sha256,
                "sessions_train": dealt.train,
                "sessions_judged": dealt.test,
                "warnings": dealt.warnings,
            });
        }
        sources.insert(workload.name.clone(), source);
    }
    let path = args.out.join("manifest.json");
    // Rows that were taken up stay, so whoever wrote some of them stays, too.
    let before = (ranked.taken_up > 0).then(|| std::fs::read_to_string(&path).ok());
    let before = before.flatten();
    let before = before.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let mut invocations = before
        .and_then(|manifest| manifest["invocations"].as_array().cloned())
        .unwrap_or_default();
    invocations.push(serde_json::json!({
        "command": command::given(),
        "commit": command::commit(),
        "started": started,
        "wall_seconds": wall_s,
    }));
    let manifest = serde_json::json!({
        "invocations": invocations,
        "config": { "name": name, "sha256": sha256_hex(text.as_bytes()) },
        "version": env!("CARGO_PKG_VERSION"),
        "reference": spec.reference,
        "policies": spec.entries().iter().map(|entry| entry.name).collect::<Vec<_>>(),
        "workloads": sources,
        "runs": {
            "judged": ranked.rows.len(),
            "probes": ranked.probes.len(),
            "settings_tried": ranked.trials.len(),
            "failed": ranked.failed.len(),
        },
        "cpu_seconds": ranked.costs.values().map(|cost| cost.total_s).sum::<f64>(),
    });
    let text = serde_json::to_string_pretty(&manifest).expect("plain values") + "\n";
    std::fs::write(&path, text).map_err(|cause| CliError::file("write", &path, &cause))
}

/// Loads, and the first places in each cell.
fn summary(ranked: &Ranked, places: &[PlaceRow]) -> String {
    let mut loads = Table::new(&["workload", "load", "sessions/s", "found as"])
        .left(2)
        .words_last();
    for load in &ranked.loads {
        loads.row(vec![
            load.workload.clone(),
            load.load.clone(),
            load.rate.to_string(),
            load.rule.clone(),
        ]);
    }
    let heading = [
        "workload",
        "load",
        "place",
        "policy",
        "factor",
        "95 %",
        "saturated",
    ];
    let mut best = Table::new(&heading).left(2).words_last();
    for load in &ranked.loads {
        let here = |row: &&PlaceRow| {
            row.workload == load.workload
                && row.load == load.load
                && row.metric == Measured::ALL[0].name()
                && row.setting == "default"
        };
        for row in places.iter().filter(here).take(5) {
            let number =
                |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
            best.row(vec![
                row.workload.clone(),
                row.load.clone(),
                row.place.map_or_else(
                    || "-".to_owned(),
                    |place| format!("{place}{}", if row.tied > 1 { "=" } else { "" }),
                ),
                row.policy.clone(),
                number(row.ratio),
                format!("{} to {}", number(row.ratio_low), number(row.ratio_high)),
                format!("{} of {}", row.saturated, row.shards),
            ]);
        }
    }
    format!(
        "{}\nmean wake-up latency against the reference, the five best of each:\n\n{}",
        loads.render(),
        best.render()
    )
}
