//! How the card slows down behind prompts: fitted to steps in the order in which they ran.
//!
//! ```text
//!   timed      burst of prompts ─ short steps, one by one ─ rest      BURSTS x BURST_TOKENS, ROUNDS times
//!   fitted     ln(measured / predicted) of each step = class + ln(1 + slow-down·load)      on the average over the step
//! ```
//!
//! A *class* is a kind of step and a range of tokens: whatever the cost of a step is wrong by for another reason is a constant of its class, and
//! only how steps of one class differ counts. Half-life and full load are those of a grid that leave the least squares. What they leave is the jitter:
//! what steps of one class differ by, whatever ran before them.

use super::step_fit::StepPoint;
use super::steps::{DECODE_STEPS, Limits, MIXED_LENGTH};
use super::timed::{Span, Timed, TimedSteps};
use crate::backend::Backend;
use devices::{Jitter, Load, StepCost, StepTotals, Throttle};
use engine::device::{PrefillChunk, StepShape};
use model::{Nanos, Time};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Prompts of a burst.
const BURSTS: [u32; 6] = [1, 2, 3, 5, 8, 12];
/// Tokens of each.
const BURST_TOKENS: [u32; 2] = [512, 2_048];
const ROUNDS: u32 = 2;
/// Steps behind a burst: decode, a short prompt, and so on.
const BEHIND: u32 = 18;
const SHORT_PROMPT: u32 = 192;
const BATCH: u32 = 4;
/// Rest before a burst.
pub const REST: Nanos = Nanos(150_000_000);

/// Half-lives that are tried \[ms\].
const HALF_LIVES_MS: [u64; 11] = [3, 5, 7, 10, 14, 20, 28, 40, 57, 80, 113];
/// Prompt tokens of a step under full load that are tried.
const FULL_TOKENS: [u32; 5] = [128, 256, 512, 1_024, 2_048];
/// Steps of a class that make it count.
const CLASS_MIN: usize = 10;
/// Steps that are further off their class than this are of another kind (the first of a process, a stalled one), and left out.
const OUTLIER: f64 = 0.25;
/// A smaller slow-down of prompts is none.
const LEAST: f64 = 0.005;

/// A step as it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RanStep {
    /// What it computed.
    pub totals: StepTotals,
    /// When it began.
    pub start: Time,
    /// When it ended.
    pub end: Time,
}

/// Times bursts of prompts, each after a rest, and what follows them.
///
/// # Errors
/// What the device says.
pub fn time<B: Backend>(
    timed: &mut Timed<'_, B>,
    limits: Limits,
    rest: Nanos,
) -> Result<Vec<RanStep>, String> {
    let prompt = |tokens: u32| StepShape {
        prefill: vec![PrefillChunk {
            tokens: tokens.min(limits.context).min(limits.step_tokens),
            context: 0,
        }],
        ..StepShape::default()
    };
    let decode = StepShape {
        decode_seqs: BATCH,
        decode_kv_tokens: u64::from(BATCH * MIXED_LENGTH.min(limits.context)),
        ..StepShape::default()
    };
    let mut ran = Vec::new();
    for _ in 0..ROUNDS {
        for (burst, tokens) in BURSTS.iter().flat_map(|b| BURST_TOKENS.map(|t| (*b, t))) {
            let behind = (0..BEHIND).map(|place| {
                if place % 2 == 0 {
                    decode.clone()
                } else {
                    prompt(SHORT_PROMPT)
                }
            });
            let steps = (0..burst).map(|_| prompt(tokens)).chain(behind);
            for (place, shape) in steps.enumerate() {
                let run = TimedSteps {
                    shape: shape.clone(),
                    count: 1,
                };
                let Span { start, end } = match place {
                    0 => timed.steps_after(rest, &run)?.1,
                    _ => timed.steps(&run)?,
                };
                ran.push(RanStep {
                    totals: StepTotals::of(&shape),
                    start,
                    end,
                });
            }
        }
    }
    Ok(ran)
}

/// A step, as far as its slow-down is concerned.
#[derive(Clone, Copy)]
struct Sample {
    /// When it began; of one with prompts, on the average over it.
    load: f64,
    /// ln(measured / predicted), less the mean of its class.
    off: f64,
}

/// Whether it has prompts, and half of the binary logarithm of its tokens.
type Class = (bool, u32);

/// The throttle that explains best how steps of one kind differ in time. None, if prompts behind prompts take as long as others.
pub fn fit(bursts: &[RanStep], cost: &StepCost) -> Throttle {
    let candidates = HALF_LIVES_MS
        .into_iter()
        .flat_map(|ms| FULL_TOKENS.map(|full_tokens| (ms, full_tokens)))
        .map(|(ms, full_tokens)| {
            let grid = Throttle {
                half_life_ns: ms * 1_000_000,
                full_tokens,
                ..Throttle::default()
            };
            let classes = classes(bursts, cost, &grid);
            let (prompts, prompts_left) = slow_down(&classes, true);
            let (decode, decode_left) = slow_down(&classes, false);
            let throttle = Throttle {
                prompt_ppm: (prompts * 1e6).round() as u32,
                decode_ppm: (decode * 1e6).round() as u32,
                ..grid
            };
            (prompts_left + decode_left, prompts, throttle)
        });
    let best = candidates.min_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(_, prompts, _)| *prompts >= LEAST)
        .map(|(.., throttle)| throttle)
        .unwrap_or_default()
}

/// The standard deviations that the throttle leaves, of steps with prompts and without.
pub fn jitter(bursts: &[RanStep], cost: &StepCost, throttle: &Throttle) -> Jitter {
    let classes = classes(bursts, cost, throttle);
    let spread_ppm = |prompts: bool| {
        let own = classes.iter().filter(|((with, _), _)| *with == prompts);
        // Each class has a mean of its own, and all of them one slow-down.
        let free = own.map(|(_, samples)| samples.len() - 1).sum::<usize>();
        let (_, left) = slow_down(&classes, prompts);
        ((left / free.saturating_sub(1).max(1) as f64).sqrt() * 1e6).round() as u32
    };
    Jitter {
        prompt_ppm: spread_ppm(true),
        decode_ppm: spread_ppm(false),
    }
}

fn classes(
    bursts: &[RanStep],
    cost: &StepCost,
    throttle: &Throttle,
) -> BTreeMap<Class, Vec<Sample>> {
    let mut classes: BTreeMap<Class, Vec<Sample>> = BTreeMap::new();
    let mut load = Load::default();
    for ran in bursts {
        let prompt_tokens = ran.totals.prefill_tokens;
        let nanos = ran.end.since(ran.start).0;
        if nanos > 0 {
            let tokens = prompt_tokens + ran.totals.decode_seqs;
            let class = (prompt_tokens > 0, (f64::from(tokens).log2() * 2.0) as u32);
            let rested = Nanos((cost.totals_ps(&ran.totals) / 1000).max(1));
            let load = match prompt_tokens {
                0 => load.share(throttle, ran.start),
                tokens => load.share_over(throttle, ran.start, tokens, rested),
            };
            classes.entry(class).or_default().push(Sample {
                load,
                off: (nanos as f64 / rested.0 as f64).ln(),
            });
        }
        load.add(throttle, prompt_tokens, ran.start, ran.end);
    }
    for samples in classes.values_mut() {
        let middle = super::fit::median(samples.iter().map(|s| s.off).collect()).unwrap_or(0.0);
        samples.retain(|sample| (sample.off - middle).abs() < OUTLIER);
    }
    classes.retain(|_, samples| samples.len() >= CLASS_MIN);
    classes
}

/// The slow-down under full load of steps with or without prompts, and the squares that it leaves.
fn slow_down(classes: &BTreeMap<Class, Vec<Sample>>, prompts: bool) -> (f64, f64) {
    let own: Vec<&Vec<Sample>> = classes
        .iter()
        .filter(|((with, _), _)| *with == prompts)
        .map(|(_, samples)| samples)
        .collect();
    // The slope of ln(m/p) over ln(1 + s·load)/s, which is the load for small s, gives the next s.
    let mut slow_down = 0.0_f64;
    let mut left = 0.0;
    for _ in 0..8 {
        let x = |sample: &Sample| {
            if slow_down > 0.0 {
                (slow_down * sample.load).ln_1p() / slow_down
            } else {
                sample.load
            }
        };
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for samples in &own {
            let count = samples.len() as f64;
            let mean_x = samples.iter().map(x).sum::<f64>() / count;
            let mean_y = samples.iter().map(|sample| sample.off).sum::<f64>() / count;
            for sample in *samples {
                let (dx, dy) = (x(sample) - mean_x, sample.off - mean_y);
                xx += dx * dx;
                xy += dx * dy;
                yy += dy * dy;
            }
        }
        if xx <= 0.0 || xy <= 0.0 {
            return (0.0, yy);
        }
        slow_down = xy / xx;
        left = yy - xy * xy / xx;
    }
    (slow_down, left)
}

/// Says of each timed step how much longer it took than on a rested card: its own prompts were the load before it, with the decode run between two
/// timings ([`super::steps`]). Of a heavier shape that was timed before them a quarter is left at most.
pub fn settle(points: &mut [StepPoint], throttle: &Throttle) {
    let between = points.iter().find(|point| {
        let totals = &point.totals;
        (totals.prefill_tokens, totals.decode_seqs) == (0, 1)
            && totals.decode_kv_tokens < u64::from(MIXED_LENGTH + DECODE_STEPS)
    });
    let between = between.map_or(0, |point| point.nanos) * u64::from(DECODE_STEPS);
    for point in points {
        let tokens = point.totals.prefill_tokens;
        let (mut load, mut now) = (Load::default(), Time(between));
        if tokens > 0 {
            for _ in 0..3 {
                let end = Time(now.0 + point.nanos);
                load.add(throttle, tokens, now, end);
                now = Time(end.0 + between);
            }
        }
        point.load_ppm = match tokens {
            0 => load.decode_ppm(throttle, now),
            // What it takes on a rested card is known as soon as the slow-down is: two rounds leave less than a level.
            tokens => (0..2).fold(0, |ppm, _| {
                let rested = (point.nanos as f64 / (1.0 + f64::from(ppm) / 1e6)) as u64;
                load.prompt_ppm(throttle, now, tokens, Nanos(rested))
            }),
        };
    }
}

/// The timed steps, for a file of their own.
pub fn csv(ran: &[RanStep]) -> String {
    let mut text = "start_ns,end_ns,prefill_tokens,decode_seqs,decode_kv_tokens\n".to_owned();
    for RanStep { totals, start, end } in ran {
        let _ = writeln!(
            text,
            "{},{},{},{},{}",
            start.0, end.0, totals.prefill_tokens, totals.decode_seqs, totals.decode_kv_tokens
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{DeviceOptions, ReplayDevice};
    use crate::fake::FakeGpu;
    use model::Bytes;

    const TRUTH: Throttle = Throttle {
        half_life_ns: 28_000_000,
        full_tokens: 512,
        prompt_ppm: 150_000,
        decode_ppm: 60_000,
    };

    fn cost() -> StepCost {
        StepCost::linear(4_500_000_000, 19_000_000, 0, 100_000)
    }

    /// Bursts as they are timed, on a card that slows down so, with 1 % of noise; `wrong` is the error of the cost.
    fn history(throttle: &Throttle, wrong: f64) -> Vec<RanStep> {
        let mut load = Load::default();
        let mut now = Time(1_000);
        let mut ran = Vec::new();
        for round in 0..24_u32 {
            let behind = (0..BEHIND).map(|place| if place % 2 == 0 { 0 } else { SHORT_PROMPT });
            let burst = BURSTS[round as usize % BURSTS.len()];
            let tokens = BURST_TOKENS[round as usize % 2];
            for prompt in (0..burst).map(|_| tokens).chain(behind) {
                let totals = StepTotals {
                    prefill_tokens: prompt,
                    prefill_kv_tokens: u64::from(prompt),
                    decode_seqs: if prompt == 0 { 4 } else { 0 },
                    decode_kv_tokens: if prompt == 0 { 4_096 } else { 0 },
                    ..StepTotals::default()
                };
                let noise = 1.0 + 0.01 * (f64::from(kernels::mix::mix64(now.0) as u32) / 4e9 - 0.5);
                let rested = cost().totals_ps(&totals) / 1000;
                let ppm = match prompt {
                    0 => load.decode_ppm(throttle, now),
                    tokens => load.prompt_ppm(throttle, now, tokens, Nanos(rested)),
                };
                let slow = 1.0 + f64::from(ppm) / 1e6;
                let nanos = rested as f64 * slow * noise * wrong;
                let end = Time(now.0 + nanos as u64);
                ran.push(RanStep {
                    totals,
                    start: now,
                    end,
                });
                load.add(throttle, prompt, now, end);
                now = Time(end.0 + 60_000);
            }
            now = now + REST;
        }
        ran
    }

    #[test]
    fn what_steps_differ_by_is_found_again_beside_the_throttle() {
        let history = history(&TRUTH, 1.03);
        let found = jitter(&history, &cost(), &fit(&history, &cost()));
        // Noise is even over 1.07 % of the time, a standard deviation of 0.31 %; the 32 levels of the slow-down add a little.
        for ppm in [found.prompt_ppm, found.decode_ppm] {
            assert!(ppm.abs_diff(3_100) < 300, "{found:?}");
        }
    }

    #[test]
    fn a_throttle_is_found_again_whatever_the_cost_is_wrong_by() {
        for wrong in [1.0, 1.07] {
            let found = fit(&history(&TRUTH, wrong), &cost());
            assert_eq!(
                (found.half_life_ns, found.full_tokens),
                (28_000_000, 512),
                "{found:?}"
            );
            assert!(found.prompt_ppm.abs_diff(150_000) < 8_000, "{found:?}");
            assert!(found.decode_ppm.abs_diff(60_000) < 5_000, "{found:?}");
        }
    }

    #[test]
    fn a_card_that_keeps_its_clock_has_none() {
        assert_eq!(
            fit(&history(&Throttle::default(), 1.0), &cost()),
            Throttle::default()
        );
        assert_eq!(fit(&[], &cost()), Throttle::default());
    }

    #[test]
    fn a_long_prompt_was_timed_behind_itself() {
        let point = |prefill_tokens, decode_seqs, nanos| StepPoint {
            totals: StepTotals {
                prefill_tokens,
                decode_seqs,
                decode_kv_tokens: u64::from(decode_seqs) * 1_024,
                ..StepTotals::default()
            },
            nanos,
            held_out: false,
            load_ppm: 0,
        };
        // 28 ms of decode between two timings of a prompt that takes a half-life: x -> (1 + x) / 2 -> half of that; 0, 1/4, 5/16, 21/64.
        // From there towards full load: 3/4 · 21/64 + 1/4 on the average.
        let mut points = vec![
            point(2_048, 0, 28_000_000),
            point(0, 1, 3_500_000),
            point(0, 32, 5_000_000),
        ];
        settle(&mut points, &TRUTH);
        // 21/64 is between levels 10 and 11 of 32.
        let level = |point: &StepPoint| point.load_ppm;
        let want = 150_000 * (21 * 3 + 64) / 256;
        assert!(level(&points[0]).abs_diff(want) <= 150_000 / 64 + 1);
        assert_eq!([level(&points[1]), level(&points[2])], [0, 0]);
    }

    #[test]
    fn bursts_are_timed_on_any_backend() {
        let mut device = ReplayDevice::new(FakeGpu::new(64, 64), DeviceOptions::default()).unwrap();
        let mut timed = Timed::new(&mut device, 4, Bytes(8 << 20));
        let few = Limits {
            kv_tokens: 8_000,
            context: 600,
            step_tokens: 64,
        };
        let ran = time(&mut timed, few, Nanos(1_000)).unwrap();
        assert_eq!(ran.len(), 2 * (2 * 31 + 12 * BEHIND as usize));
        assert!(ran.windows(2).all(|pair| pair[0].end <= pair[1].start));
        assert!(ran.iter().all(|ran| ran.totals.prefill_tokens <= 64));
        // Each step takes 50 us there, whatever came before.
        assert_eq!(fit(&ran, &cost()), Throttle::default());
        assert_eq!(csv(&ran).lines().count(), 1 + ran.len());
    }
}
