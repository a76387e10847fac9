//! The seed study: every number of the original evaluation beside what its own rules give, over many seeds.
//!
//! The original reported single, unseeded runs. Here the same rules (`configs/seed/as-run.toml`) are run over many seeds; a reported number
//! is *reproduced* if it lies in the 5-95 % range of the simulated ones, *contradicted* if it does not, and *unsupported* if nothing that was
//! run could have produced it. Percentiles are the original's own (`results::stats::seed_p50`, `seed_p99`).

use results::metrics::RunMetrics;
use results::rows::SeedRow;
use results::runs::RunRow;
use results::spec::{Layers, SpecError, SweepSpec};
use results::stats::Quantile;

/// The profile as it ran.
pub const AS_RUN: &str = include_str!("../../../configs/seed/as-run.toml");
/// The profile with agents that are live at once.
pub const LOADED: &str = include_str!("../../../configs/seed/loaded.toml");

/// The sweep of a seed profile, with further settings.
///
/// # Errors
/// If a setting is wrong.
pub fn sweep(name: &str, text: &str, set: &[&str]) -> Result<SweepSpec, SpecError> {
    SweepSpec::load(&Layers {
        name: name.to_owned(),
        text: text.to_owned(),
        set: set.iter().map(|&s| s.to_owned()).collect(),
        policies: Vec::new(),
    })
}

type Metric = fn(&RunMetrics) -> Option<f64>;

/// A number that the original reported.
struct Claim {
    quantity: &'static str,
    scale: &'static str,
    unit: &'static str,
    agents: u64,
    value: f64,
    metric: Metric,
    /// What explains a value outside the simulated range.
    outside: &'static str,
}

fn ms(ns: Option<u64>) -> Option<f64> {
    ns.map(|ns| ns as f64 / 1e6)
}

const P99: Metric = |m| ms(m.turn_ns_seed_p99);
const P50: Metric = |m| ms(m.turn_ns_seed_p50);
const MEAN: Metric = |m| ms(m.turn_ns_mean);
const WAKE_P50: Metric = |m| ms(m.wake_turn_ns_seed_p50);
const DURATION: Metric = |m| Some(m.duration_ns as f64 / 1e9);
const SWAPS: Metric = |m| Some(m.swaps as f64);
const RESTORES: Metric = |m| Some(m.restores as f64);
const COMPLETIONS: Metric = |m| Some(m.turns as f64);
const OUTPUT_RATE: Metric = |m| m.output_tokens_per_s;

const SLOWER: &str = "the server that this number implies is slower than the 28.58 ms a step that the same study reports";
const COUNTER: &str = "one IO_WAIT per agent allows 80 a run: the counter was never reset between runs";
const LIFETIME: &str = "one swap per agent allows 80 a run: the counter was never reset between runs";
const FAILED: &str = "two operations per agent make 160: 116 is 72.5 % of them, and called 100 %";
const NO_UNIT: &str = "no unit, script or source was given, and no token rate of this workload comes near";

const CLAIMS: &[Claim] = &[
    Claim { quantity: "duration", scale: "N=20", unit: "s", agents: 20, value: 124.7, metric: DURATION, outside: SLOWER },
    Claim { quantity: "P99 latency", scale: "N=20", unit: "ms", agents: 20, value: 4948.0, metric: P99, outside: SLOWER },
    Claim { quantity: "duration", scale: "N=80", unit: "s", agents: 80, value: 368.0, metric: DURATION, outside: SLOWER },
    Claim { quantity: "mean latency", scale: "N=80", unit: "ms", agents: 80, value: 2421.0, metric: MEAN, outside: SLOWER },
    Claim { quantity: "P50 latency", scale: "N=80", unit: "ms", agents: 80, value: 2555.0, metric: P50, outside: SLOWER },
    Claim { quantity: "P99 latency", scale: "N=80", unit: "ms", agents: 80, value: 5183.0, metric: P99, outside: SLOWER },
    Claim { quantity: "wake-up P50", scale: "N=80", unit: "ms", agents: 80, value: 2596.0, metric: WAKE_P50, outside: SLOWER },
    Claim { quantity: "swaps", scale: "N=80", unit: "", agents: 80, value: 924.0, metric: SWAPS, outside: COUNTER },
    Claim { quantity: "restores", scale: "N=80", unit: "", agents: 80, value: 489.0, metric: RESTORES, outside: LIFETIME },
    Claim { quantity: "completions", scale: "N=80", unit: "", agents: 80, value: 116.0, metric: COMPLETIONS, outside: FAILED },
    Claim { quantity: "P99 latency", scale: "N=80, before", unit: "ms", agents: 80, value: 7177.0, metric: P99, outside: SLOWER },
    Claim { quantity: "mean latency", scale: "N=80, before", unit: "ms", agents: 80, value: 2838.0, metric: MEAN, outside: SLOWER },
    Claim { quantity: "restores", scale: "N=80, before", unit: "", agents: 80, value: 430.0, metric: RESTORES, outside: LIFETIME },
    Claim { quantity: "duration", scale: "N=80, before", unit: "s", agents: 80, value: 455.9, metric: DURATION, outside: SLOWER },
    Claim { quantity: "throughput, baseline", scale: "N=80", unit: "", agents: 80, value: 800.0, metric: OUTPUT_RATE, outside: NO_UNIT },
    Claim { quantity: "throughput, Djinn", scale: "N=80", unit: "", agents: 80, value: 1400.0, metric: OUTPUT_RATE, outside: NO_UNIT },
];

/// The table of the study: `as_run` are the runs of the as-run sweep, `vllm` those of vLLM's policy under the loaded profile.
pub fn table(as_run: &[RunRow], vllm: &[RunRow]) -> Vec<SeedRow> {
    let mut rows: Vec<SeedRow> = CLAIMS.iter().map(|claim| claim.row(as_run)).collect();
    rows.push(vllm_capacity(vllm));
    rows
}

impl Claim {
    fn row(&self, runs: &[RunRow]) -> SeedRow {
        let runs = runs.iter().filter(|run| run.id.agents == self.agents);
        let mut values: Vec<f64> = runs.filter_map(|run| (self.metric)(&run.metrics)).collect();
        let [p5, p50, p95] = range(&mut values);
        let mut row = SeedRow {
            quantity: self.quantity.to_owned(),
            scale: self.scale.to_owned(),
            unit: self.unit.to_owned(),
            seed_value: Some(self.value),
            sim_p5: p5,
            sim_p50: p50,
            sim_p95: p95,
            runs: values.len() as u64,
            ..SeedRow::default()
        };
        let (verdict, sentence) = match row.within() {
            Some(true) => {
                let place = values.iter().filter(|&&v| v <= self.value).count() as f64;
                let share = 100.0 * place / values.len() as f64;
                let text = format!(
                    "{share:.0} % of {} seeds lie at or below it: queueing at one server gives it without any memory effect",
                    values.len()
                );
                ("reproduced", text)
            }
            Some(false) if self.outside == NO_UNIT => ("unsupported", self.outside.to_owned()),
            Some(false) => ("contradicted", self.outside.to_owned()),
            None => ("unsupported", "nothing of the kind was run".to_owned()),
        };
        row.verdict = verdict.to_owned();
        row.sentence = sentence;
        row
    }
}

/// "vLLM serves 40 agents": the largest number of live agents of which vLLM's scheduler finishes every turn.
fn vllm_capacity(runs: &[RunRow]) -> SeedRow {
    let finished = |run: &&RunRow| run.metrics.failed == 0 && run.metrics.finished == run.id.agents;
    let largest = runs.iter().filter(finished).map(|run| run.id.agents).max();
    let tried = runs.iter().map(|run| run.id.agents).max();
    let value = largest.map(|n| n as f64);
    let sentence = match (largest, tried) {
        (Some(n), Some(most)) if n == most => format!(
            "every one of {n} live agents, the most that were tried, finishes: vLLM queues and recomputes, it does not fail"
        ),
        (Some(n), _) => format!("{n} live agents finish"),
        (None, _) => "nothing of the kind was run".to_owned(),
    };
    SeedRow {
        quantity: "agents vLLM serves".to_owned(),
        scale: "live at once".to_owned(),
        seed_value: Some(40.0),
        sim_p5: value,
        sim_p50: value,
        sim_p95: value,
        runs: runs.len() as u64,
        verdict: if value.is_some_and(|n| n > 40.0) { "contradicted" } else { "unsupported" }.to_owned(),
        sentence,
        ..SeedRow::default()
    }
}

/// 5, 50 and 95 % by nearest rank.
fn range(values: &mut [f64]) -> [Option<f64>; 3] {
    values.sort_by(f64::total_cmp);
    [Quantile::new(5, 100), Quantile::P50, Quantile::new(95, 100)].map(|q| q.of_sorted(values))
}
