//! Engine time of whole runs: the comparison's workloads D and E, and the cost of a turn among idle sessions.
//!
//! `cargo bench -p lab`. Machines are shared and noisy: compare rows of one invocation, by their medians.

use divan::counter::ItemsCount;
use lab::Setup;
use lab::run::measure;
use results::spec::{Layers, RunSpec};

fn main() {
    divan::main();
}

fn setup(text: &str, set: &[String]) -> Setup {
    let layers = Layers {
        name: "bench".to_owned(),
        text: text.to_owned(),
        set: set.to_vec(),
        policies: Vec::new(),
    };
    Setup::new(&RunSpec::load(&layers).expect("a valid spec")).expect("a runnable spec")
}

fn run(bencher: divan::Bencher<'_, '_>, setup: &Setup) {
    bencher
        .counter(ItemsCount::new(setup.counts.turns))
        .bench_local(|| measure(setup).expect("the run ends"));
}

const POLICIES: [&str; 3] = ["vllm-recompute", "swap-on-demand", "djinn"];

/// 1,000 agents x 10 turns, 5 s gaps.
#[divan::bench(args = POLICIES, sample_count = 10)]
fn workload_d(bencher: divan::Bencher<'_, '_>, policy: &str) {
    let text = include_str!("../../../configs/experiments/peers-d.toml");
    run(bencher, &setup(text, &[format!("policy={policy}")]));
}

/// The same with 60 s gaps: more KV than HBM holds.
#[divan::bench(args = POLICIES, sample_count = 10)]
fn workload_e(bencher: divan::Bencher<'_, '_>, policy: &str) {
    let text = include_str!("../../../configs/experiments/peers-e.toml");
    run(bencher, &setup(text, &[format!("policy={policy}")]));
}

/// Turns in each session of [`live_sessions`]: equal for all sizes, so that the cost of a session's beginning and end,
/// and the length of its context, weigh the same in each row.
const TURNS: u32 = 20;

/// The same turns per second among ever more sessions that wait with their KV in HBM: the time per turn should not grow.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 20)]
fn live_sessions(bencher: divan::Bencher<'_, '_>, sessions: u32) {
    let text =
        "[workload]\ngen = \"closed-loop-agents\"\n[workload.params]\nappend = 64\noutput = 8\n";
    // 20 turns a second, however many sessions there are.
    let gap = f64::from(sessions) / 20.0;
    let set = [
        format!("workload.sessions={sessions}"),
        format!("workload.params.turns={TURNS}"),
        format!("workload.params.gap_s={gap:.1}"),
        format!("workload.params.ramp_s={gap:.1}"),
        // Room for all of their KV: 72 tokens a turn in blocks of 16.
        format!(
            "memory.hbm_blocks={}",
            u64::from(sessions * TURNS) * 72 / 16 + 20_000
        ),
    ];
    run(bencher, &setup(text, &set));
}
