//! How the card slows down behind prompts: fitted to steps in the order in which they ran ([`super::bursts`]).
//!
//! ```text
//!   ln(measured / predicted) of each step = class + ln(1 + Σ slow-down·what the step feels)
//! ```
//!
//! A *class* is a kind of step and a range of tokens: whatever the cost of a step is wrong by for another reason is a constant of its class, and
//! only how steps of one class differ counts. Half-lives, limits and what draws all there is are those of a grid that leave the least squares, first without
//! and then with load that lasts. What they leave is the jitter: what steps of one class differ by, whatever ran before them.

use super::bursts::RanStep;
use super::fit::{Weighed, least_squares_from_zero, median};
use super::step_fit::StepPoint;
use super::steps::{DECODE_STEPS, MIXED_LENGTH};
use devices::{Felt, Jitter, Load, StepCost, Sustained, Throttle};
use model::{Nanos, Time};
use std::collections::BTreeMap;

/// Half-lives that are tried \[ms\].
const HALF_LIVES_MS: [u64; 11] = [3, 5, 7, 10, 14, 20, 28, 40, 57, 80, 113];
/// Prompt tokens of a step under full load that are tried.
const FULL_TOKENS: [u32; 5] = [128, 256, 512, 1_024, 2_048];
/// Prompt tokens of a step that waits for memory that are tried; the first where bursts have none so short.
const LIGHT_TOKENS: [u32; 4] = [96, 48, 64, 144];
/// Loads that are tried up to which the clock stays \[ppm\].
const FROM_PPM: [u32; 7] = [0, 100_000, 200_000, 300_000, 400_000, 500_000, 600_000];
/// The same of load that lasts.
const SUSTAINED_MS: [u64; 6] = [120, 170, 240, 340, 480, 680];
const SUSTAINED_FROM_PPM: [u32; 5] = [500_000, 600_000, 700_000, 800_000, 900_000];
/// Half-lives of prompts one behind another that tell what comes of load that lasts.
const TELLING: u64 = 3;
/// Prompts are one behind another if no more lies between them.
const BEHIND_ANOTHER: Nanos = Nanos(2_000_000);
/// Each part is fitted so often with the other as it was.
const ROUNDS: u32 = 2;
/// Steps of a class that make it count.
const CLASS_MIN: usize = 10;
/// Steps that are further off their class than this are of another kind (the first of a process, a stalled one), and left out.
const OUTLIER: f64 = 0.25;
/// Twice the logarithm of the likelihood that load that lasts must gain: it has three constants, chosen among many.
const WORTH: f64 = 20.0;
/// A smaller slow-down of prompts is none.
const LEAST: f64 = 0.005;

/// A step, as far as its slow-down is concerned.
#[derive(Clone, Copy)]
struct Sample {
    prompt_tokens: u32,
    start: Time,
    end: Time,
    /// What it takes on a rested card.
    rested: Nanos,
    /// ln(measured / predicted).
    off: f64,
}

/// Whether it has prompts, and half of the binary logarithm of its tokens.
type Class = (bool, u32);

/// What is known of the bursts before anything is fitted.
struct Bursts {
    /// All, in the order in which they ran.
    ran: Vec<Sample>,
    /// Those that count, by class.
    classes: BTreeMap<Class, Vec<usize>>,
}

/// What a throttle leaves of how steps of one class differ.
struct Left {
    /// The throttle with the slow-downs that leave the least.
    throttle: Throttle,
    squares: f64,
}

/// The throttle that explains best how steps of one kind differ in time. None, if prompts behind prompts take as long as others.
pub fn fit(bursts: &[RanStep], cost: &StepCost) -> Throttle {
    let bursts = Bursts::of(bursts, cost);
    let longest = bursts.longest_of_prompts();
    let mut best = Throttle::default();
    for _ in 0..ROUNDS {
        let grid = limits().map(|grid| Throttle {
            sustained: best.sustained,
            ..grid
        });
        best = bursts
            .best(grid)
            .map(|left| left.throttle)
            .unwrap_or_default();
        best = with_sustained(&bursts, best, longest);
    }
    if f64::from(best.prompt_ppm) / 1e6 < LEAST {
        return Throttle::default();
    }
    best
}

/// The throttle with the load that lasts that explains best what it leaves; without, if that explains too little.
fn with_sustained(bursts: &Bursts, throttle: Throttle, longest: Nanos) -> Throttle {
    let none = bursts.slow_downs(Throttle {
        sustained: Sustained::default(),
        ..throttle
    });
    let lasting = sustained().filter(|grid| TELLING * grid.half_life_ns <= longest.0);
    let lasting = bursts.best(lasting.map(|sustained| Throttle {
        sustained,
        ..throttle
    }));
    let steps = bursts.classes.values().map(Vec::len).sum::<usize>() as f64;
    match lasting {
        Some(lasting) if steps * (none.squares / lasting.squares).ln() > WORTH => lasting.throttle,
        _ => none.throttle,
    }
}

/// Throttles without slow-downs, and without load that lasts.
fn limits() -> impl Iterator<Item = Throttle> {
    let from = |half_life_ns, full_tokens, light_tokens| {
        FROM_PPM.map(|from_ppm| Throttle {
            half_life_ns,
            full_tokens,
            light_tokens,
            from_ppm,
            ..Throttle::default()
        })
    };
    HALF_LIVES_MS.into_iter().flat_map(move |ms| {
        FULL_TOKENS.into_iter().flat_map(move |full| {
            let light = LIGHT_TOKENS.into_iter();
            light.flat_map(move |light| from(ms * 1_000_000, full, light))
        })
    })
}

fn sustained() -> impl Iterator<Item = Sustained> {
    SUSTAINED_MS.into_iter().flat_map(|ms| {
        SUSTAINED_FROM_PPM.map(|from_ppm| Sustained {
            half_life_ns: ms * 1_000_000,
            from_ppm,
            prompt_ppm: 0,
        })
    })
}

/// The standard deviations that the throttle leaves, of steps with prompts and without. What comes of load that lasts is left out: the clock is
/// lowered in turns then, which are no jitter.
pub fn jitter(bursts: &[RanStep], cost: &StepCost, throttle: &Throttle) -> Jitter {
    let bursts = Bursts::of(bursts, cost);
    let felt = bursts.felt(throttle);
    let spread_ppm = |prompts: bool| {
        let (mut squares, mut free) = (0.0, 0);
        for (_, own) in bursts
            .classes
            .iter()
            .filter(|((with, _), _)| *with == prompts)
        {
            let own = own.iter().filter(|at| felt[**at].sustained == 0);
            let left: Vec<f64> = own.map(|at| bursts.left(*at, throttle, &felt)).collect();
            let mean = left.iter().sum::<f64>() / left.len().max(1) as f64;
            squares += left.iter().map(|left| (left - mean).powi(2)).sum::<f64>();
            // Each class has a mean of its own, and all of them one slow-down.
            free += left.len().saturating_sub(1);
        }
        ((squares / free.saturating_sub(1).max(1) as f64).sqrt() * 1e6).round() as u32
    };
    Jitter {
        prompt_ppm: spread_ppm(true),
        decode_ppm: spread_ppm(false),
    }
}

impl Bursts {
    fn of(bursts: &[RanStep], cost: &StepCost) -> Self {
        let mut ran = Vec::with_capacity(bursts.len());
        let mut classes: BTreeMap<Class, Vec<usize>> = BTreeMap::new();
        for RanStep { totals, start, end } in bursts.iter().filter(|ran| ran.end > ran.start) {
            let tokens = totals.prefill_tokens + totals.decode_seqs;
            let class = (
                totals.prefill_tokens > 0,
                (f64::from(tokens).log2() * 2.0) as u32,
            );
            classes.entry(class).or_default().push(ran.len());
            let rested = Nanos((cost.totals_ps(totals) / 1000).max(1));
            ran.push(Sample {
                prompt_tokens: totals.prefill_tokens,
                start: *start,
                end: *end,
                rested,
                off: (end.since(*start).0 as f64 / rested.0 as f64).ln(),
            });
        }
        for own in classes.values_mut() {
            let middle = median(own.iter().map(|at| ran[*at].off).collect()).unwrap_or(0.0);
            own.retain(|at| (ran[*at].off - middle).abs() < OUTLIER);
        }
        classes.retain(|_, own| own.len() >= CLASS_MIN);
        Self { ran, classes }
    }

    /// The longest time in which prompts followed each other.
    fn longest_of_prompts(&self) -> Nanos {
        let (mut longest, mut since, mut until) = (Nanos(0), Time(0), Time(0));
        for ran in self.ran.iter().filter(|ran| ran.prompt_tokens > 0) {
            if ran.start.since(until) > BEHIND_ANOTHER {
                since = ran.start;
            }
            until = ran.end;
            longest = longest.max(until.since(since));
        }
        longest
    }

    /// What each step felt.
    fn felt(&self, throttle: &Throttle) -> Vec<Felt> {
        let mut load = Load::default();
        let steps = self.ran.iter();
        steps
            .map(|ran| {
                let felt = load.felt(throttle, ran.start, ran.prompt_tokens, ran.rested);
                load.add(throttle, ran.prompt_tokens, ran.start, ran.end);
                felt
            })
            .collect()
    }

    /// What a step is longer by than predicted and slowed down, in logarithms.
    fn left(&self, at: usize, throttle: &Throttle, felt: &[Felt]) -> f64 {
        self.ran[at].off - (f64::from(throttle.ppm(felt[at])) / 1e6).ln_1p()
    }

    /// The best of these throttles.
    fn best(&self, throttles: impl Iterator<Item = Throttle>) -> Option<Left> {
        let left = throttles.map(|throttle| self.slow_downs(throttle));
        left.min_by(|a, b| a.squares.total_cmp(&b.squares))
    }

    /// The slow-downs of a throttle's limits that leave the least squares, and those squares.
    fn slow_downs(&self, limits: Throttle) -> Left {
        let felt = self.felt(&limits);
        let mut slow = [0.0_f64; 3];
        let mut squares = 0.0;
        // ln(1 + slow-down) is a line through the last one nearby, and each gives the next.
        for round in 0..5 {
            let mut rows = Vec::with_capacity(self.ran.len());
            for own in self.classes.values() {
                let own = own.iter().map(|at| {
                    let shares = shares(felt[*at]);
                    let now = 1.0 + shares.iter().zip(slow).map(|(a, b)| a * b).sum::<f64>();
                    let terms = shares.map(|share| share / now);
                    let tangent: f64 = terms.iter().zip(slow).map(|(a, b)| a * b).sum();
                    [
                        terms[0],
                        terms[1],
                        terms[2],
                        self.ran[*at].off - now.ln() + tangent,
                    ]
                });
                let own: Vec<[f64; 4]> = own.collect();
                let mean: [f64; 4] = std::array::from_fn(|at| {
                    own.iter().map(|row| row[at]).sum::<f64>() / own.len() as f64
                });
                rows.extend(own.iter().map(|row| Weighed {
                    terms: std::array::from_fn(|at| row[at] - mean[at]),
                    value: row[3] - mean[3],
                    scale: 1.0,
                }));
            }
            let next = least_squares_from_zero(&rows);
            let left = rows.iter().map(|row| {
                let fitted: f64 = row.terms.iter().zip(next).map(|(a, b)| a * b).sum();
                (row.value - fitted).powi(2)
            });
            squares = left.sum();
            let moved = slow
                .iter()
                .zip(next)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f64::max);
            slow = next;
            if round > 0 && moved < 1e-6 {
                break;
            }
        }
        let [prompt_ppm, decode_ppm, lasting] = slow.map(|slow| (slow * 1e6).round() as u32);
        let throttle = Throttle {
            prompt_ppm,
            decode_ppm,
            sustained: Sustained {
                prompt_ppm: lasting,
                ..limits.sustained
            },
            ..limits
        };
        Left { throttle, squares }
    }
}

fn shares(felt: Felt) -> [f64; 3] {
    [felt.prompt, felt.decode, felt.sustained].map(|share| f64::from(share) / 1e6)
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
            0 => load.ppm(throttle, now, 0, Nanos(0)),
            // What it takes on a rested card is known as soon as the slow-down is: two rounds leave less than a level.
            tokens => (0..2).fold(0, |ppm, _| {
                let rested = (point.nanos as f64 / (1.0 + f64::from(ppm) / 1e6)) as u64;
                load.ppm(throttle, now, tokens, Nanos(rested))
            }),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::bursts::{BEHIND, BURST_TOKENS, BURSTS, SHORT_PROMPTS};
    use devices::StepTotals;

    const REST: Nanos = Nanos(150_000_000);
    const TRUTH: Throttle = Throttle {
        half_life_ns: 28_000_000,
        full_tokens: 512,
        light_tokens: 96,
        from_ppm: 300_000,
        prompt_ppm: 150_000,
        decode_ppm: 60_000,
        sustained: Sustained {
            half_life_ns: 0,
            from_ppm: 0,
            prompt_ppm: 0,
        },
    };
    /// The same on a card that slows down further under load that lasts.
    const LASTING: Throttle = Throttle {
        sustained: Sustained {
            half_life_ns: 240_000_000,
            from_ppm: 700_000,
            prompt_ppm: 40_000,
        },
        ..TRUTH
    };

    fn cost() -> StepCost {
        StepCost::linear(4_500_000_000, 19_000_000, 0, 100_000)
    }

    /// Steps on a card that slows down so, with 1 % of noise; `wrong` is the error of the cost.
    struct Card {
        throttle: Throttle,
        wrong: f64,
        load: Load,
        now: Time,
        ran: Vec<RanStep>,
    }

    impl Card {
        fn step(&mut self, prompt: u32) {
            let totals = StepTotals {
                prefill_tokens: prompt,
                prefill_kv_tokens: u64::from(prompt),
                decode_seqs: if prompt == 0 { 4 } else { 0 },
                decode_kv_tokens: if prompt == 0 { 4_096 } else { 0 },
                ..StepTotals::default()
            };
            let noise =
                1.0 + 0.01 * (f64::from(kernels::mix::mix64(self.now.0) as u32) / 4e9 - 0.5);
            let rested = cost().totals_ps(&totals) / 1000;
            let ppm = self
                .load
                .ppm(&self.throttle, self.now, prompt, Nanos(rested));
            let nanos = rested as f64 * (1.0 + f64::from(ppm) / 1e6) * noise * self.wrong;
            let (start, end) = (self.now, Time(self.now.0 + nanos as u64));
            self.ran.push(RanStep { totals, start, end });
            self.load.add(&self.throttle, prompt, start, end);
            self.now = Time(end.0 + 60_000);
        }
    }

    /// Bursts as they are timed.
    fn history(throttle: &Throttle, wrong: f64) -> Vec<RanStep> {
        let mut card = Card {
            throttle: *throttle,
            wrong,
            load: Load::default(),
            now: Time(1_000),
            ran: Vec::new(),
        };
        let lasting = [150, 40].map(Some);
        for (round, lasting) in (0..24).map(|_| None).chain(lasting).enumerate() {
            let tokens = BURST_TOKENS[round % 2];
            for _ in 0..lasting.unwrap_or(BURSTS[round % BURSTS.len()]) {
                card.step(tokens);
            }
            for place in 0..BEHIND as usize {
                let short = SHORT_PROMPTS[(round + place / 2) % SHORT_PROMPTS.len()];
                card.step(if place % 2 == 0 { 0 } else { short });
            }
            card.now = card.now + REST;
        }
        card.ran
    }

    #[test]
    fn what_steps_differ_by_is_found_again_beside_the_throttle() {
        let history = history(&TRUTH, 1.03);
        let found = jitter(&history, &cost(), &fit(&history, &cost()));
        // Noise is even over 1.07 % of the time, a standard deviation of 0.31 %.
        for ppm in [found.prompt_ppm, found.decode_ppm] {
            assert!(ppm.abs_diff(3_100) < 300, "{found:?}");
        }
    }

    #[test]
    fn a_throttle_is_found_again_whatever_the_cost_is_wrong_by() {
        for (truth, wrong) in [(TRUTH, 1.0), (TRUTH, 1.07), (LASTING, 1.0)] {
            let found = fit(&history(&truth, wrong), &cost());
            let limits = |of: &Throttle| {
                (
                    of.half_life_ns,
                    of.full_tokens,
                    of.light_tokens,
                    of.from_ppm,
                )
            };
            assert_eq!(limits(&found), limits(&truth), "{found:?}");
            assert!(
                found.prompt_ppm.abs_diff(truth.prompt_ppm) < 5_000,
                "{found:?}"
            );
            assert!(
                found.decode_ppm.abs_diff(truth.decode_ppm) < 5_000,
                "{found:?}"
            );
            let lasting = [found, truth].map(|of| of.sustained.prompt_ppm);
            assert!(lasting[0].abs_diff(lasting[1]) < 6_000, "{found:?}");
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
        // From there towards full load: 3/4 · 21/64 + 1/4 on the average. The card has no limit below which it keeps its clock.
        let throttle = Throttle {
            from_ppm: 0,
            ..TRUTH
        };
        let mut points = vec![
            point(2_048, 0, 28_000_000),
            point(0, 1, 3_500_000),
            point(0, 32, 5_000_000),
        ];
        settle(&mut points, &throttle);
        let want = 150_000 * (21 * 3 + 64) / 256;
        // On a rested card it takes less than a half-life.
        assert!(
            (want - 2_000..=want).contains(&points[0].load_ppm),
            "{points:?}"
        );
        assert_eq!([points[1].load_ppm, points[2].load_ppm], [0, 0]);
    }
}
