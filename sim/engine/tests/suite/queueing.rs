//! The serial engine as a single-server queue: mean waits against the Pollaczek–Khinchine formula.
//!
//! Sessions of one turn arrive as a Poisson process; a turn of `n` prompt tokens and one output token is served in `n` microseconds.
//! The mean wait in the queue of M/G/1 is W = λ E\[S²\] / (2 (1 − ρ)). The simulated mean has an interval from batch means: 30 batches, of
//! which the first is dropped, and Student's t with 28 degrees of freedom at 99 %. Checks are off here: they cost time that grows with
//! the number of sessions.

use crate::common::Rig;
use devices::StepCost;
use engine::Batching;
use model::{GapKind, Nanos, Session, Time, Tokens, ToolClass, Turn};

const TURNS: usize = 24_000;
const BATCHES: usize = 30;
/// Student's t, 28 degrees of freedom, 99.5 % quantile.
const T: f64 = 2.763;
/// Mean service time in tokens, that is in microseconds.
const MEAN: f64 = 1_000.0;

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.uniform()).ln()
    }
}

/// Waits in the queue in microseconds, in order of arrival.
fn waits(load: f64, seed: u64, service: impl Fn(&mut Random) -> u32) -> Vec<f64> {
    let (mut arrivals, mut services) = (Random(seed), Random(seed ^ 0xABCD));
    let mut start = 0.0;
    let sessions = (0..TURNS).map(|i| {
        start += arrivals.exponential(MEAN / load);
        Session {
            name: i.to_string(),
            start: Time((start * 1e3) as u64),
            shared_prefixes: Vec::new(),
            turns: vec![Turn {
                gap: Nanos::ZERO,
                gap_kind: GapKind::None,
                tool: ToolClass(0),
                input: Tokens(service(&mut services)),
                keep: Tokens(0),
                output: Tokens(1),
                content: None,
                at: None,
                expected: None,
                spawns: Vec::new(),
            }],
        }
    });
    let mut rig = Rig::new(10_000, 0, sessions.collect()).with(|c| {
        c.batching = Batching::serial();
        c.memory.caching = false;
        c.check = false;
    });
    rig.steps = StepCost::linear(0, 1_000_000, 0, 0);
    let mut turns = rig.run("vllm-recompute").turns;
    turns.sort_by_key(|turn| turn.session);
    turns
        .iter()
        .map(|t| t.scheduled.since(t.ready).0 as f64 / 1e3)
        .collect()
}

/// Mean and half-width of its interval, by batch means.
fn interval(waits: &[f64]) -> (f64, f64) {
    let batches: Vec<f64> = waits
        .chunks(TURNS / BATCHES)
        .skip(1)
        .map(|batch| batch.iter().sum::<f64>() / batch.len() as f64)
        .collect();
    let n = batches.len() as f64;
    let mean = batches.iter().sum::<f64>() / n;
    let variance = batches.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, T * (variance / n).sqrt())
}

/// Compares with theory at three loads; `second_moment` is E\[S²\] in units of the squared mean.
fn agrees(name: &str, second_moment: f64, service: impl Fn(&mut Random) -> u32 + Copy) {
    for (load, seed) in [(0.3, 11), (0.6, 12), (0.8, 13)] {
        let theory = load * MEAN * second_moment / (2.0 * (1.0 - load));
        let (mean, half) = interval(&waits(load, seed, service));
        assert!(
            (mean - theory).abs() <= half,
            "{name} at load {load}: {mean:.1} ± {half:.1} us, theory {theory:.1} us"
        );
        assert!(
            half < 0.35 * theory,
            "{name} at {load}: the interval says too little"
        );
    }
}

#[test]
fn constant_service_waits_as_in_m_d_1() {
    agrees("M/D/1", 1.0, |_| 1_000);
}

#[test]
fn exponential_service_waits_as_in_m_m_1() {
    agrees("M/M/1", 2.0, |random| {
        (random.exponential(MEAN).round() as u32).max(1)
    });
}

#[test]
fn two_point_service_waits_as_in_m_g_1() {
    // 500 tokens with probability 0.8, else 3,000: mean 1,000, second moment 0.8 x 0.25 + 0.2 x 9 = 2.
    agrees("M/G/1", 2.0, |random| {
        if random.uniform() < 0.8 { 500 } else { 3_000 }
    });
}
