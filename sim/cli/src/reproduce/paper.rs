//! The generated parts of the paper: numbers, table bodies, figures.
//!
//! No number is typed into the paper. Each name here says what it is in words, because a TeX command has letters only.

use super::{AGENTS, Study, contradictions, ranking, validation};
use crate::error::CliError;
use figures::format::three_digits;
use figures::{FigureError, Numbers, render};
use results::metrics::RunMetrics;
use results::runs::RunRow;
use results::stats::Quantile;
use std::fmt::Write as _;
use std::path::Path;

/// A policy of the comparison, and its name in a TeX command.
const POLICIES: [(&str, &str); 7] = [
    ("vllm-recompute", "Vllm"),
    ("keep-always", "Keep"),
    ("drop-always", "Drop"),
    ("swap-on-demand", "Swap"),
    ("djinn", "Djinn"),
    ("djinn-as-run", "AsRun"),
    ("clairvoyant", "Clairvoyant"),
];

/// What is committed, in a checkout.
#[derive(Clone, Copy)]
pub(super) struct Records<'a> {
    pub ranking: Option<&'a ranking::Record>,
    pub validation: Option<&'a validation::Record>,
}

/// Writes everything that the paper includes, and copies its figures.
pub(super) fn write(
    paper: &Path,
    study: &Study,
    records: Records<'_>,
    out: &Path,
) -> Result<(), CliError> {
    let drawn = &out.join("figures");
    std::fs::create_dir_all(paper).map_err(|cause| CliError::file("create", paper, &cause))?;
    let mut numbers = numbers(study)?;
    contradictions::numbers(&mut numbers, out)?;
    if let Some(ranking) = records.ranking {
        ranking.numbers(&mut numbers)?;
    }
    if let Some(validation) = records.validation {
        validation.numbers(&mut numbers)?;
    }
    numbers.write(paper)?;
    let put = |name: &str, text: &str| render::write(&paper.join(name), text.as_bytes());
    if let Some(ranking) = records.ranking {
        put("ranking.tex", &ranking.table())?;
    }
    put("policies.tex", &policy_table(&study.loaded))?;
    put("faults.tex", &fault_table(study))?;
    put("seed_table.tex", &figures::seed_table::tex(&study.seed))?;
    let entries =
        std::fs::read_dir(drawn).map_err(|cause| CliError::file("read", drawn, &cause))?;
    for entry in entries {
        let from = entry
            .map_err(|cause| CliError::file("read", drawn, &cause))?
            .path();
        let name = from
            .file_name()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        // The paper includes PDFs, the READMEs and the page on contradictions pictures; the rest stays with the results.
        let is = |wanted: &str| {
            from.extension()
                .is_some_and(|extension| extension == wanted)
        };
        let pdf = is("pdf");
        let on_page = name.starts_with("contradiction_") && (is("png") || is("csv"));
        let on_readme = ["wakeup_cdf.png", "validation_policies.png"].contains(&name.as_str());
        if pdf || on_page || on_readme {
            let to = paper.join(name);
            std::fs::copy(&from, &to).map_err(|cause| CliError::file("write", &to, &cause))?;
        }
    }
    Ok(())
}

fn numbers(study: &Study) -> Result<Numbers, FigureError> {
    let mut numbers = Numbers::new();
    numbers.count("seedRuns", study.as_run.len() as u64)?;
    numbers.count("seedSeeds", study.seed.first().map_or(0, |row| row.runs))?;
    numbers.count("loadedRuns", study.loaded.len() as u64)?;
    numbers.count("loadedAgents", AGENTS)?;
    for verdict in ["reproduced", "sensitive", "contradicted", "unsupported"] {
        let count = study
            .seed
            .iter()
            .filter(|row| row.verdict == verdict)
            .count();
        numbers.count(&format!("seed{}", capital(verdict)), count as u64)?;
    }
    numbers.fixed("seedLive", live_agents(&study.as_run), 1)?;
    let hero = study
        .seed
        .iter()
        .find(|r| r.quantity == "P99 latency" && r.scale == "N=80");
    if let Some(row) = hero {
        for (name, value) in [
            ("Low", row.sim_p5),
            ("Mid", row.sim_p50),
            ("High", row.sim_p95),
        ] {
            numbers.fixed(
                &format!("heroPninetynine{name}"),
                value.unwrap_or_default() / 1e3,
                1,
            )?;
        }
    }
    for (policy, name) in POLICIES {
        let runs = at(&study.loaded, policy, AGENTS);
        numbers.real(
            &format!("wakeMid{name}"),
            millis(&runs, |m| m.wakeup_ns_p50),
        )?;
        numbers.real(
            &format!("wakeTail{name}"),
            millis(&runs, |m| m.wakeup_ns_p99),
        )?;
        numbers.real(
            &format!("wakeMean{name}"),
            millis(&runs, |m| m.wakeup_ns_mean),
        )?;
    }
    let ratio = |of: fn(&RunMetrics) -> Option<u64>, policy: &str| {
        millis(&at(&study.loaded, policy, AGENTS), of)
            / millis(&at(&study.loaded, "djinn", AGENTS), of)
    };
    numbers.fixed(
        "tailVllmOverDjinn",
        ratio(|m| m.wakeup_ns_p99, "vllm-recompute"),
        1,
    )?;
    numbers.fixed(
        "midVllmOverDjinn",
        ratio(|m| m.wakeup_ns_p50, "vllm-recompute"),
        1,
    )?;
    numbers.fixed(
        "tailSwapOverDjinn",
        ratio(|m| m.wakeup_ns_p99, "swap-on-demand"),
        1,
    )?;
    numbers.fixed(
        "midSwapOverDjinn",
        ratio(|m| m.wakeup_ns_p50, "swap-on-demand"),
        1,
    )?;
    let largest = study
        .loaded
        .iter()
        .map(|run| run.id.agents)
        .max()
        .unwrap_or_default();
    numbers.count("loadedAgentsMost", largest)?;
    numbers.real(
        "wakeTailDjinnMost",
        millis(&at(&study.loaded, "djinn", largest), |m| m.wakeup_ns_p99),
    )?;
    numbers.real(
        "wakeTailVllmMost",
        millis(&at(&study.loaded, "vllm-recompute", largest), |m| {
            m.wakeup_ns_p99
        }),
    )?;
    let wakeups: u64 = at(&study.loaded, "djinn", AGENTS)
        .iter()
        .map(|run| run.metrics.wakeups)
        .sum();
    numbers.count("loadedWakeups", wakeups)?;
    Ok(numbers)
}

/// Sessions live at a time in the as-run profile of 80 agents, by Little's law: median over runs.
fn live_agents(as_run: &[RunRow]) -> f64 {
    let hero: Vec<&RunRow> = as_run.iter().filter(|run| run.id.agents == 80).collect();
    let milli = |m: &RunMetrics| {
        let spent = m.jct_ns_mean.unwrap_or_default() * m.sessions;
        spent * 1000 / m.duration_ns.max(1)
    };
    median(&hero, milli) as f64 / 1e3
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

fn at<'a>(runs: &'a [RunRow], policy: &str, agents: u64) -> Vec<&'a RunRow> {
    runs.iter()
        .filter(|run| run.id.policy == policy && run.id.agents == agents)
        .collect()
}

/// Median over runs, in milliseconds; 0 of none.
fn millis(runs: &[&RunRow], of: impl Fn(&RunMetrics) -> Option<u64>) -> f64 {
    median(runs, |m| of(m).unwrap_or_default()) as f64 / 1e6
}

fn median(runs: &[&RunRow], of: impl Fn(&RunMetrics) -> u64) -> u64 {
    let mut values: Vec<u64> = runs.iter().map(|run| of(&run.metrics)).collect();
    values.sort_unstable();
    Quantile::P50.of_sorted(&values).unwrap_or_default()
}

/// One line a policy: wake-up latency, completion time, what was moved and recomputed.
fn policy_rows(loaded: &[RunRow]) -> Vec<[String; 8]> {
    POLICIES
        .iter()
        .map(|(policy, _)| {
            let runs = at(loaded, policy, AGENTS);
            let gigabytes =
                |of: fn(&RunMetrics) -> u64| three_digits(median(&runs, of) as f64 / 1e9);
            [
                (*policy).to_owned(),
                three_digits(millis(&runs, |m| m.wakeup_ns_p50)),
                three_digits(millis(&runs, |m| m.wakeup_ns_p99)),
                three_digits(millis(&runs, |m| m.wakeup_ns_mean)),
                three_digits(millis(&runs, |m| m.jct_ns_mean) / 1e3),
                gigabytes(|m| m.d2h_bytes),
                gigabytes(|m| m.h2d_bytes),
                three_digits(median(&runs, |m| m.recomputed_tokens) as f64 / 1e3),
            ]
        })
        .collect()
}

fn policy_table(loaded: &[RunRow]) -> String {
    let mut table = String::new();
    for row in policy_rows(loaded) {
        let _ = writeln!(table, "{} \\\\", row.join(" & "));
    }
    table
}

fn fault_table(study: &Study) -> String {
    let mut table = String::new();
    for row in &study.faults {
        let ms = |ns: u64| three_digits(ns as f64 / 1e6);
        let _ = writeln!(
            table,
            "{} & {} & {} & {} & {} & {} & {} \\\\",
            row.fault,
            ms(row.wakeup_ns_p50),
            ms(row.wakeup_ns_p99),
            row.swaps,
            row.restores,
            three_digits(row.recomputed_tokens as f64 / 1e3),
            three_digits(row.h2d_bytes as f64 / 1e9),
        );
    }
    table
}

/// What the terminal shows at the end: the seed table and the comparison.
pub(super) fn summary(study: &Study) -> String {
    let mut text =
        String::from("The seed study: reported, and simulated (5 - 50 - 95 % of the seeds)\n\n");
    for row in &study.seed {
        let value = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), three_digits);
        let unit = if row.unit.is_empty() {
            String::new()
        } else {
            format!(" [{}]", row.unit)
        };
        let _ = writeln!(
            text,
            "  {:<26} {:<13} {:>8}   {:>8} {:>8} {:>8}   {}",
            format!("{}{unit}", row.quantity),
            row.scale,
            value(row.seed_value),
            value(row.sim_p5),
            value(row.sim_p50),
            value(row.sim_p95),
            row.verdict
        );
    }
    let _ = writeln!(text, "\n{AGENTS} agents live at once: medians over seeds\n");
    let _ = writeln!(
        text,
        "  {:<16} {:>10} {:>10} {:>10} {:>8} {:>8} {:>8} {:>10}",
        "policy", "P50 ms", "P99 ms", "mean ms", "JCT s", "D2H GB", "H2D GB", "recomp. k"
    );
    for row in policy_rows(&study.loaded) {
        let [policy, p50, p99, mean, jct, d2h, h2d, again] = row;
        let _ = writeln!(
            text,
            "  {policy:<16} {p50:>10} {p99:>10} {mean:>10} {jct:>8} {d2h:>8} {h2d:>8} {again:>10}"
        );
    }
    text
}
