//! `djinn validate`: how wrong is the simulator, against runs of a real GPU?

use crate::error::CliError;
use crate::format::{count, signed_span};
use crate::out;
use crate::table::Table;
use figures::validation;
use lab::validate::{Judged, Matched, by_key, key};
use results::compare::Bootstrap;
use results::folder::RunFolder;
use results::validation::{
    ClosedLoopRow, DISTANCE, ErrorSummary, OpenLoopRow, OperationsRow, Pair, RankRow,
};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Compare simulated runs with runs of a GPU: the error of the cost model, and that of whole runs
///
/// Open loop: the cost model predicts each operation that the GPU run recorded. Closed loop: two independent runs of one
/// workload, by wake-up, session and total. Runs are paired by their spec; several GPU runs of one spec show the GPU's own
/// repeatability, and an error below their spread passes. Of simulations by several draws of the jitter (`engine.jitter`) the median is judged: one
/// course of a scheduler at its limit is one of many. Further simulations of one spec, with calibrations of like machines, show how far
/// a result carries: the first by name is judged. With two policies or more, the ranking is compared.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder of a simulated run, or of several
    #[arg(value_name = "SIM")]
    simulated: PathBuf,
    /// Folder of a GPU run, or of several
    #[arg(value_name = "GPU")]
    measured: PathBuf,
    /// Where the tables and the figure go
    #[arg(long, value_name = "DIR", default_value = "results/validation")]
    out: PathBuf,
    /// Profile whose costs predict single operations [default: that of the simulated run]
    #[arg(long, value_name = "NAME")]
    hardware: Option<String>,
    /// Resamples for each interval
    #[arg(long, value_name = "N", default_value_t = Bootstrap::default().resamples)]
    resamples: usize,
}

const EXAMPLES: &str = "\
Examples:
  djinn validate results/djinn results/djinn-gpu
  djinn validate results/sim results/gpu --out results/validation      all pairs that both folders hold
  djinn sweep my.toml --policy djinn,ski --set 'sweep.engine.jitter=\"0..9\"' --keep --out results/sim     courses of each policy
  djinn run my.toml --policy ski --set hardware=other.toml --ops --out results/sim/ski-other     another simulation of a pair
An error is simulated / measured - 1; of a part of the wake-up (wake_..), the difference as a share of the mean wake-up. The tables are CSV files in DIR, and the figure is validation.{svg,pdf,png}.";

pub fn run(args: &Args) -> Result<(), CliError> {
    let matched = match_runs(
        RunFolder::open_all(&args.simulated)?,
        RunFolder::open_all(&args.measured)?,
    )?;
    warn_of_integrity(&matched);
    let bootstrap = Bootstrap {
        resamples: args.resamples.max(100),
        ..Bootstrap::default()
    };
    let judged = Judged::of(&matched, args.hardware.as_deref(), bootstrap)?;
    judged.write(&args.out)?;
    let figure = validation::make(&args.out, &args.out)?;
    let mut text = open_report(&judged.open);
    for pair in &judged.pairs {
        text += &closed_report(pair, &judged.closed);
    }
    text += &turns_report(&judged.woken);
    text += &rank_report(&judged.ranked);
    out::stdout(&text)?;
    out::note(&format!(
        "wrote {} and {} files of the figure",
        Judged::TABLES
            .map(|name| args.out.join(name).display().to_string())
            .join(", "),
        figure.len()
    ));
    Ok(())
}

/// Each simulated run with the measured runs of its spec; those without a partner are named.
fn match_runs(
    simulated: Vec<RunFolder>,
    measured: Vec<RunFolder>,
) -> Result<Vec<Matched>, CliError> {
    for run in &measured {
        if run.manifest().device.kind == "sim" {
            out::warn(&format!(
                "{} is a simulation: what follows says how far simulations are apart, and nothing of a GPU",
                run.path().display()
            ));
        }
        if run.manifest().partial {
            out::note(&format!(
                "warning: {} was stopped early and is left out",
                run.path().display()
            ));
        }
    }
    let mut left: Vec<RunFolder> = measured
        .into_iter()
        .filter(|run| !run.manifest().partial)
        .collect();
    let mut matched = Vec::new();
    for (own, runs) in by_key(once_each(simulated)) {
        let (with, without): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|other| key(&other.manifest().spec) == own);
        left = without;
        if with.is_empty() {
            for run in &runs {
                out::note(&format!(
                    "warning: {} has no measured partner",
                    run.path().display()
                ));
            }
            continue;
        }
        matched.push(pair(runs, with)?);
    }
    for run in &left {
        out::note(&format!(
            "warning: {} has no simulated partner",
            run.path().display()
        ));
    }
    if matched.is_empty() {
        return Err(CliError::hinted(
            "no simulated and measured runs have the same spec".to_owned(),
            "simulate the very config of the GPU run: all keys but `hardware` and `replay` must agree",
        ));
    }
    Ok(matched)
}

/// Runs that lie in two folders count once. One of the same spec by another program or profile is another.
fn once_each(runs: Vec<RunFolder>) -> Vec<RunFolder> {
    let mut once: Vec<RunFolder> = Vec::with_capacity(runs.len());
    for run in runs {
        let same = |other: &&RunFolder| {
            let [own, other] = [&run, *other].map(RunFolder::manifest);
            own.run_id == other.run_id && own.inputs == other.inputs
        };
        match once.iter().find(same) {
            Some(other) => out::note(&format!(
                "warning: {} is the run of {} again, and is left out",
                run.path().display(),
                other.path().display()
            )),
            None => once.push(run),
        }
    }
    once
}

/// The simulations of one spec, by what they are: judged is the card that has draws, or else the first; whatever is of another is beside it.
fn pair(mut runs: Vec<RunFolder>, measured: Vec<RunFolder>) -> Result<Matched, CliError> {
    // A profile of one name may have been timed again.
    let card = |run: &RunFolder| {
        let inputs = run.manifest().inputs.clone().unwrap_or_default();
        (run.manifest().spec.hardware.clone(), inputs.hardware_sha256)
    };
    let drawn = |run: &RunFolder| run.manifest().spec.engine.jitter > 0;
    let by_draws = |own: &RunFolder| {
        let mut others = runs.iter();
        !drawn(own) && others.any(|run| drawn(run) && card(run) == card(own))
    };
    let first = || runs.iter().position(|run| !drawn(run));
    let Some(judged) = runs.iter().position(by_draws).or_else(first) else {
        return Err(CliError::hinted(
            format!(
                "{} is a draw of the jitter, and there is no simulation without",
                runs[0].path().display()
            ),
            "simulate it with `engine.jitter` 0 as well, for example by `--set 'sweep.engine.jitter=\"0..25\"'`",
        ));
    };
    let simulated = runs.remove(judged);
    let (own, again): (Vec<_>, Vec<_>) = runs
        .into_iter()
        .partition(|run| drawn(run) && card(run) == card(&simulated));
    if let Some(run) = again.iter().find(|run| drawn(run)) {
        out::note(&format!(
            "warning: {} is a draw of another card than {}, which is judged; it is beside it",
            run.path().display(),
            simulated.path().display()
        ));
    }
    Ok(Matched {
        simulated,
        drawn: own,
        again,
        measured,
    })
}

/// Says how many measured runs did work that the model does not have.
fn warn_of_integrity(matched: &[Matched]) {
    let measured = || matched.iter().flat_map(|pair| &pair.measured);
    let checked = measured().filter(|run| {
        let replay = &run.manifest().spec.replay;
        replay.compute.is_some() && replay.integrity
    });
    let (checked, all) = (checked.count(), measured().count());
    if checked > 0 {
        out::note(&format!(
            "warning: {checked} of {all} measured runs stamped and verified their blocks, which no server does and the model \
             leaves out: prompts and restores may come out some percent too short; repeat them with `--no-integrity`"
        ));
    }
}

fn percent(share: f64) -> String {
    format!("{:+.2} %", share * 100.0)
}

fn open_report(rows: &[OpenLoopRow]) -> String {
    let mut text = "open loop: predicted against measured time of each operation\n".to_owned();
    let mut table = Table::new(&["", "operations", "bias", "median error", "P99 error"]);
    for errors in OperationsRow::of(rows) {
        table.row([
            errors.kind,
            count(errors.count),
            percent(errors.bias),
            format!("{:.2} %", errors.p50 * 100.0),
            format!("{:.2} %", errors.p99 * 100.0),
        ]);
    }
    text += &table.render();
    text.push('\n');
    text
}

fn closed_report(pair: &Pair, rows: &[ClosedLoopRow]) -> String {
    let repeats = pair.measured.len();
    let mut text = format!("closed loop: {}, {repeats} measured", pair.policy);
    let simulations = pair.again.len() + pair.drawn.len() > 0;
    if simulations {
        let _ = write!(text, ", {} simulated", 1 + pair.again.len());
    }
    if !pair.drawn.is_empty() {
        let _ = write!(text, ", judged by the median of {} draws", pair.drawn.len());
    }
    text.push('\n');
    let mut heading = vec![
        "",
        "samples",
        "simulated",
        "measured",
        "spread of repeats",
        "error",
        "95 % interval of the difference",
        "",
    ];
    if simulations {
        heading.insert(3, "spread of simulations");
    }
    let mut table = Table::new(&heading).words_last();
    for row in rows.iter().filter(|row| row.policy == pair.policy) {
        let time = row.quantity.contains("_ns");
        let value = |value: f64| {
            if time {
                signed_span(value)
            } else if row.quantity == DISTANCE {
                format!("{value:.3}")
            } else {
                count(value.round() as u64)
            }
        };
        let spread = |least: f64, most: f64| format!("{} to {}", value(least), value(most));
        let repeated = if row.repeats > 1 {
            spread(row.measured_min, row.measured_max)
        } else {
            String::new()
        };
        let interval = match (row.difference_low, row.difference_high) {
            (Some(low), Some(high)) => format!("{} to {}", signed_span(low), signed_span(high)),
            _ => String::new(),
        };
        let part = row.quantity.starts_with("wake_");
        let of = if part { " of the wake-up" } else { "" };
        let error = |share: f64| percent(share) + of;
        let verdict = match (row.verdict.as_str(), row.target) {
            ("", _) | (_, None) => String::new(),
            (verdict, Some(target)) => format!("{verdict} (aim {:.0} %)", target * 100.0),
        };
        let mut cells = vec![
            row.quantity.clone(),
            count(row.samples),
            value(row.simulated),
            value(row.measured),
            repeated,
            row.error.map(error).unwrap_or_default(),
            interval,
            verdict,
        ];
        if simulations {
            cells.insert(3, spread(row.simulated_min, row.simulated_max));
        }
        table.row(cells);
    }
    text += &table.render();
    text.push('\n');
    text
}

/// Errors of single wake-ups, and of their parts relative to the whole wake-up.
fn turns_report(rows: &[results::validation::WakeupPairRow]) -> String {
    let errors = |of: &dyn Fn(&results::validation::WakeupPairRow) -> (u64, u64)| {
        let relative = rows.iter().filter(|row| row.measured_ns > 0).map(|row| {
            let (simulated, measured) = of(row);
            (simulated as f64 - measured as f64) / row.measured_ns as f64
        });
        ErrorSummary::of(relative)
    };
    let mut table = Table::new(&["", "wake-ups", "bias", "median error", "P99 error"]);
    let mut line = |name: &str, summary: Option<ErrorSummary>| {
        if let Some(summary) = summary {
            table.row([
                name.to_owned(),
                count(summary.count),
                percent(summary.bias),
                format!("{:.2} %", summary.p50 * 100.0),
                format!("{:.2} %", summary.p99 * 100.0),
            ]);
        }
    };
    line("whole", errors(&|row| (row.simulated_ns, row.measured_ns)));
    line(
        "signal, hold",
        errors(&|row| (row.simulated_signal_hold_ns, row.measured_signal_hold_ns)),
    );
    line(
        "own copy",
        errors(&|row| (row.simulated_copy_ns, row.measured_copy_ns)),
    );
    line(
        "queue, stall",
        errors(&|row| (row.simulated_queue_ns, row.measured_queue_ns)),
    );
    line(
        "steps",
        errors(&|row| (row.simulated_step_ns, row.measured_step_ns)),
    );
    format!(
        "wake-up by wake-up, relative to the measured wake-up\n{}\n",
        table.render()
    )
}

fn rank_report(rows: &[RankRow]) -> String {
    let Some(first) = rows.first() else {
        return String::new();
    };
    let mut text = format!("ranking of {} policies\n", first.policies);
    let mut table = Table::new(&[
        "by",
        "Kendall's tau",
        "separated pairs",
        "decided in both",
        "contradicted",
        "swapped",
    ])
    .words_last();
    for row in rows {
        table.row([
            row.quantity.clone(),
            row.tau.map_or("-".to_owned(), |tau| format!("{tau:.3}")),
            count(row.separated),
            count(row.decided),
            count(row.contradicted),
            if row.swapped.is_empty() {
                "none".to_owned()
            } else {
                row.swapped.clone()
            },
        ]);
    }
    let _ = writeln!(text, "{}", table.render());
    text
}
