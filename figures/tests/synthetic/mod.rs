//! Results as runs would leave them, made up: a queue with a heavy tail, slower with load and by policy.

use figures::contradiction::specs;
use results::folder::{Opened, RunWriter, write_table};
use results::inputs::Inputs;
use results::manifest::{
    Counts, DeviceInfo, HardwareInfo, Manifest, ModelInfo, PolicyInfo, SCHEMA, TraceInfo, Wall,
};
use results::metrics::RunMetrics;
use results::ranking::{DifferenceRow, Measured, PlaceRow};
use results::rows::{SampleRow, SessionRow, TraceStatRow, TurnRow};
use results::runs::{RunIdentity, RunRow, write_runs};
use results::spec::RunSpec;
use results::stats::Draws;
use results::validation::{OPEN_LOOP, OpenLoopRow, POLICY_ROWS, PolicyRow, WAKEUPS, WakeupPairRow};
use std::path::Path;

/// The known policies, and how slow each is made here.
pub const POLICIES: [(&str, f64); 7] = [
    ("vllm-recompute", 2.2),
    ("keep-always", 3.0),
    ("drop-always", 2.6),
    ("swap-on-demand", 1.4),
    ("djinn", 0.9),
    ("djinn-as-run", 1.15),
    ("clairvoyant", 0.8),
];

/// A number from the standard normal distribution, near enough: the sum of twelve uniform ones less 6.
fn normal(draws: &mut Draws) -> f64 {
    (0..12)
        .map(|_| draws.below(1 << 30) as f64 / f64::from(1 << 30))
        .sum::<f64>()
        - 6.0
}

/// Turns after a wait, of about `scale` times 120 ms with a spread of `sigma` (of the logarithm).
pub fn turns(seed: u64, count: u32, scale: f64, sigma: f64) -> Vec<TurnRow> {
    let mut draws = Draws::new(seed);
    (0..count)
        .map(|i| {
            let latency = (scale * 0.12e9 * (sigma * normal(&mut draws)).exp()) as u64 + 1;
            // The longer a wake-up, the more of it is queueing and copying.
            let slow = latency.saturating_sub(90_000_000);
            let (queue, copy) = (slow / 2, slow / 4);
            let (stall, hold, signal) = (slow / 16, slow / 32, (latency / 50).min(2_000_000));
            let recompute = (latency - queue - copy - stall - hold - signal) / 3;
            let ready_ns = u64::from(i) * 400_000_000;
            TurnRow {
                session: i / 8,
                turn: i % 8 + 1,
                wait_ns: Some(5_000_000_000),
                ready_ns,
                signal_ns: ready_ns + signal,
                scheduled_ns: ready_ns + queue,
                first_token_ns: ready_ns + latency,
                end_ns: ready_ns + latency + 900_000_000,
                input_tokens: 1_500,
                output_tokens: 200,
                wake_signal_ns: signal,
                wake_hold_ns: hold,
                wake_copy_ns: copy,
                wake_stall_ns: stall,
                wake_queue_ns: queue,
                wake_recompute_ns: recompute,
                wake_prefill_ns: latency - queue - copy - stall - hold - signal - recompute,
                ..TurnRow::default()
            }
        })
        .collect()
}

/// Levels over ten minutes: memory fills, stays full, drains.
pub fn samples() -> Vec<SampleRow> {
    let mut draws = Draws::new(1);
    let (mut d2h, mut h2d) = (0, 0);
    let capacity = 30_000u32;
    (0..1_200u32)
        .map(|i| {
            let phase = f64::from(i) / 1_200.0;
            let fill = (phase * 5.0).min(1.0) * (1.0 - (phase - 0.85).max(0.0) * 6.0).max(0.0);
            let busy = fill * (0.55 + 0.3 * (phase * 40.0).sin());
            let jitter = draws.below(2_000) as u32;
            let hbm_running_blocks = (f64::from(capacity) * 0.4 * busy) as u32 + jitter;
            let hbm_idle_blocks = (f64::from(capacity) * 0.35 * fill) as u32;
            let left = capacity - hbm_running_blocks - hbm_idle_blocks;
            d2h += (busy * 0.3e9) as u64 + draws.below(100_000_000) as u64;
            h2d += (busy * 0.22e9) as u64 + draws.below(60_000_000) as u64;
            SampleRow {
                time_ns: u64::from(i) * 500_000_000,
                hbm_running_blocks,
                hbm_idle_blocks,
                hbm_cached_blocks: (f64::from(left) * fill) as u32,
                hbm_capacity_blocks: capacity,
                host_used_blocks: (f64::from(capacity) * 1.3 * fill * phase) as u32,
                host_capacity_blocks: 51_200,
                running: (busy * 40.0) as u32 + (jitter / 400),
                queued: (fill * 12.0 * (phase * 23.0).sin().max(0.0)) as u32,
                idle: (fill * 60.0) as u32,
                held: 0,
                d2h_bytes: d2h * 50,
                h2d_bytes: h2d * 50,
                d2h_busy_ns: d2h,
                h2d_busy_ns: h2d,
            }
        })
        .collect()
}

/// Writes a run folder below `folder`, named after policy, seed and agents.
pub fn write_run(
    folder: &Path,
    policy: &str,
    seed: u64,
    agents: u32,
    turns: &[TurnRow],
    samples: &[SampleRow],
) {
    let mut spec = RunSpec {
        policy: policy.to_owned(),
        seed,
        ..RunSpec::default()
    };
    spec.workload.sessions = Some(agents);
    let run_id = spec.run_id();
    let name: String = policy
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    let target = folder.join(format!("{name}_{seed}_{agents}"));
    let Ok(Opened::New(mut writer)) = RunWriter::create(&target, &run_id, &Inputs::default())
    else {
        panic!("{} cannot be written", target.display());
    };
    for turn in turns {
        writer.turn(turn).unwrap();
    }
    writer
        .session(&SessionRow {
            outcome: "finished".into(),
            ..SessionRow::default()
        })
        .unwrap();
    for sample in samples {
        writer.sample(sample).unwrap();
    }
    let manifest = Manifest {
        schema: SCHEMA,
        run_id,
        partial: false,
        spec,
        trace: TraceInfo::default(),
        policy: PolicyInfo::default(),
        device: DeviceInfo::default(),
        hardware: HardwareInfo::default(),
        // Llama-3.1-8B: 2 * 32 layers * 8 heads * 128 * 2 B.
        model: ModelInfo {
            kv_token_bytes: 131_072,
            tp: 1,
            ..ModelInfo::default()
        },
        seed,
        counts: Counts::default(),
        warnings: Vec::new(),
        version: String::new(),
        commit: None,
        inputs: Some(Inputs::default()),
        command: String::new(),
        wall: Wall::default(),
    };
    writer.finish(&manifest).unwrap();
}

/// A `runs.csv` of the given policies over agents and seeds; slow policies saturate first.
pub fn write_sweep(folder: &Path, policies: &[(&str, f64)], agents: &[u64], seeds: u64) {
    let mut rows = Vec::new();
    for (index, &(policy, scale)) in policies.iter().enumerate() {
        for &agents in agents {
            for seed in 1..=seeds {
                let mut draws = Draws::new(seed * 1_000 + agents + index as u64 * 77);
                let load = agents as f64 * scale / 130.0;
                let p50 =
                    0.08 * scale / (1.05 - load).max(0.02) * (0.15 * normal(&mut draws)).exp();
                let p99 = p50 * (6.0 + 2.0 * normal(&mut draws).abs());
                rows.push(RunRow {
                    id: RunIdentity {
                        run: format!("{policy}-{agents}-{seed}"),
                        policy: policy.to_owned(),
                        seed,
                        agents,
                        params: format!(r#"{{"workload.sessions":{agents}}}"#),
                        ..RunIdentity::default()
                    },
                    metrics: RunMetrics {
                        wakeup_ns_p50: Some((p50 * 1e9) as u64),
                        wakeup_ns_p99: Some((p99 * 1e9) as u64),
                        stable: Some(load < 1.0),
                        ..RunMetrics::default()
                    },
                });
            }
        }
    }
    write_runs(&folder.join("runs.csv"), &rows).unwrap();
}

/// The statistics of a trace with tools and people.
pub fn write_trace_stat(folder: &Path) {
    let row = |quantity: &str, p50: f64| TraceStatRow {
        source: "made up".to_owned(),
        quantity: quantity.to_owned(),
        count: 1_000,
        p5: Some(p50 / 9.0),
        p25: Some(p50 / 3.0),
        p50: Some(p50),
        p75: Some(p50 * 3.0),
        p90: Some(p50 * 6.0),
        p95: Some(p50 * 9.0),
        p99: Some(p50 * 20.0),
        ..TraceStatRow::default()
    };
    let wait = |quantity: &str, p50: f64| {
        let mut row = row(quantity, p50);
        row.set_survival(TraceStatRow::SURVIVAL_S.map(|t| 1.0 / (1.0 + t / p50)));
        row.over_60s_share = Some(0.9);
        row
    };
    let rows = [
        row("input_tokens", 98_000.0),
        row("output_tokens", 215.0),
        row("appended_after_tool_tokens", 396.0),
        wait("gap_tool_or_mixed_s", 1.2),
        wait("gap_human_s", 120.0),
    ];
    write_table(&folder.join("trace_stat.csv"), rows).unwrap();
}

/// The tables of a validation: operations predicted 2 % short, wake-ups 5 %.
pub fn write_validation(folder: &Path) {
    let kinds = ["prefill", "decode", "mixed", "d2h", "h2d"];
    let ops = (0..100_u64).map(|op| OpenLoopRow {
        policy: "djinn".to_owned(),
        op,
        kind: kinds[op as usize % kinds.len()].to_owned(),
        steps: 1,
        measured_ns: 1_000_000 + 50_000 * op,
        predicted_ns: 980_000 + 49_000 * op,
        ..OpenLoopRow::default()
    });
    write_table(&folder.join(OPEN_LOOP), ops).unwrap();
    let wakeups = (0..40_u32).map(|session| WakeupPairRow {
        policy: "djinn".to_owned(),
        session,
        measured_ns: 10_000_000 + 100_000 * u64::from(session),
        simulated_ns: 9_500_000 + 95_000 * u64::from(session),
        ..WakeupPairRow::default()
    });
    write_table(&folder.join(WAKEUPS), wakeups).unwrap();
}

/// Policies at two loads, once and twice on the GPU, simulated 3 % too long.
pub fn write_validation_policies(folder: &Path) {
    let mut rows = Vec::new();
    for (load, repeats) in [("24 agents", 1_u32), ("36 agents", 2)] {
        for (quantity, unit) in [("wakeup_ns_p50", 1e7), ("jct_ns_mean", 1.4e10)] {
            rows.extend(POLICIES.iter().map(|(policy, scale)| {
                let measured = scale * unit * f64::from(repeats);
                PolicyRow {
                    load: load.to_owned(),
                    recording: load.replace(' ', "-"),
                    policy: (*policy).to_owned(),
                    quantity: quantity.to_owned(),
                    simulated: measured * 1.03,
                    drawn_min: Some(measured * 0.95),
                    drawn_max: Some(measured * 1.1),
                    measured,
                    repeats: u64::from(repeats),
                    measured_min: measured * 0.97,
                    measured_max: measured * 1.03,
                    target: Some(0.03),
                    met: repeats > 1,
                }
            }));
        }
    }
    write_table(&folder.join(POLICY_ROWS), rows).unwrap();
}

/// The tables of a ranking: two workloads at two loads; `keep-always` is saturated where much comes.
pub fn write_ranking(folder: &Path) {
    let (mut differences, mut places) = (Vec::new(), Vec::new());
    for (workload, load, heat) in [
        ("weka", "light", 0.3),
        ("weka", "knee", 1.5),
        ("tau2", "light", 0.1),
        ("tau2", "knee", 0.8),
    ] {
        for metric in Measured::ALL {
            for (place, (policy, scale)) in POLICIES.iter().enumerate() {
                let ratio = (*policy != "keep-always" || load == "light")
                    .then(|| (scale / 2.2_f64).powf(heat));
                differences.push(DifferenceRow {
                    workload: workload.to_owned(),
                    load: load.to_owned(),
                    metric: metric.name().to_owned(),
                    policy: (*policy).to_owned(),
                    setting: "default".to_owned(),
                    saturated: if ratio.is_none() { 8 } else { 0 },
                    shards: 10,
                    samples_min: 700,
                    ratio,
                    ratio_low: ratio.map(|ratio| ratio * 0.95),
                    ratio_high: ratio.map(|ratio| ratio * 1.05),
                    ..DifferenceRow::default()
                });
                places.push(PlaceRow {
                    workload: workload.to_owned(),
                    load: load.to_owned(),
                    metric: metric.name().to_owned(),
                    setting: "default".to_owned(),
                    policy: (*policy).to_owned(),
                    place: ratio.map(|_| place as u64 / 2 * 2 + 1),
                    tied: 2,
                    ratio,
                    ..PlaceRow::default()
                });
            }
        }
    }
    write_table(&folder.join("differences.csv"), differences).unwrap();
    write_table(&folder.join("ranking.csv"), places).unwrap();
}

/// The sweeps of the contradictions: the series are ahead by turns, and change sides at different values.
pub fn write_contradictions(folder: &Path) {
    for spec in specs::ALL {
        for panel in spec.panels {
            let mut rows = Vec::new();
            for x in [10, 20, 40, 80, 160] {
                for (index, policy) in spec
                    .series
                    .iter()
                    .map(|series| series.policy)
                    .chain([spec.reference])
                    .enumerate()
                {
                    for seed in 1..=6 {
                        let mut draws = Draws::new(seed * 1_000 + x + index as u64 * 77);
                        let tilt = 1.5 - index as f64;
                        let speed = (x as f64 / 40.0).powf(tilt * 0.3);
                        let speed = speed * (0.05 * normal(&mut draws)).exp();
                        rows.push(RunRow {
                            id: RunIdentity {
                                run: format!("{policy}-{x}-{seed}"),
                                policy: policy.to_owned(),
                                seed,
                                hbm_blocks: 1_000,
                                demand_blocks: 30 * x,
                                params: format!(r#"{{"{}":{x}}}"#, panel.key),
                                ..RunIdentity::default()
                            },
                            metrics: RunMetrics {
                                turns_per_s: Some(speed),
                                jct_ns_mean: Some((1e11 / speed) as u64),
                                wakeup_ns_p99: Some((1e10 / speed) as u64),
                                ..RunMetrics::default()
                            },
                        });
                    }
                }
            }
            let folder = folder.join(panel.folder);
            std::fs::create_dir_all(&folder).unwrap();
            write_runs(&folder.join("runs.csv"), &rows).unwrap();
        }
    }
}

/// Every number of the original evaluation beside simulated ranges, as made up as the rest.
pub const SEED_TABLE: &str = "\
quantity,scale,unit,seed_value,sim_p5,sim_p50,sim_p95,runs,verdict,sentence
duration,N=20 (smoke),s,124.7,98.2,117.5,149.6,200,reproduced,Within the range of seeds.
P99 latency,N=20 (smoke),ms,4948,2810,4020,6730,200,reproduced,Within the range of seeds.
duration,N=80 (hero),s,368,352.1,417.8,498.3,200,reproduced,Within the range of seeds.
mean latency,N=80 (hero),ms,2421,2010,2510,3420,200,reproduced,Within the range of seeds.
P50 latency,N=80 (hero),ms,2555,1490,2120,2890,200,reproduced,Within the range of seeds.
P99 latency,N=80 (hero),ms,5183,4710,6480,10590,200,reproduced,Within the range of seeds.
P50 wake-up,N=80 (hero),ms,2596,1510,2200,3010,200,reproduced,Within the range of seeds.
swaps,N=80 (hero),,924,80,80,80,200,impossible,A run has at most 80 waits.
restores,N=80 (hero),,489,80,80,80,200,impossible,A run has at most 80 waits.
completed operations,N=80 (hero),,116,160,160,160,200,contradicted,All 160 complete.
duration,N=80 (before the fix),s,455.9,352.1,417.8,498.3,200,reproduced,Within the range of seeds.
mean latency,N=80 (before the fix),ms,2838,2010,2510,3420,200,reproduced,Within the range of seeds.
P99 latency,N=80 (before the fix),ms,7177,4710,6480,10590,200,reproduced,Within the range of seeds.
restores,N=80 (before the fix),,430,80,80,80,200,impossible,A run has at most 80 waits.
agents before failure,vLLM,,40,80,80,80,20,contradicted,vLLM queues and does not fail.
throughput,vLLM,tokens/s,800,,,,0,unfounded,No script or unit exists.
throughput,Djinn,tokens/s,1400,16.1,19.2,22.7,200,contradicted,160 times 50 tokens in 368 s are 21.7 tokens/s.
";
