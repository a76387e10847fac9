//! How the card slows down behind prompts: fitted to steps in the order in which they ran ([`super::bursts`]).
//!
//! ```text
//!   ln(measured / predicted) of each step = class + ln(1 + Σ slow-down·what the step feels)
//! ```
//!
//! A *class* is a kind of step and a range of tokens: whatever the cost of a step is wrong by for another reason is a constant of its class, and
//! only how steps of one class differ counts, large deviations by their size (Huber, 1964): under load that lasts a card lowers its clock in turns, by a
//! third for a tenth of a second. Half-lives, limits and what draws all there is are those of a grid that leave the least, if they explain more than those
//! of [`REFERENCE`] by enough; then it is asked whether load that lasts explains more. What is left is the jitter: what steps of one class differ by,
//! whatever ran before them.

use super::bursts::RanStep;
use super::fit::{Weighed, least_squares_from_zero, median};
use super::step_fit::StepPoint;
use super::steps::{DECODE_STEPS, MIXED_LENGTH, ONE_ROUND_FROM, ROUNDS};
use devices::{Felt, Jitter, Load, StepCost, Sustained, Throttle};
use model::{Nanos, Time};
use std::collections::BTreeMap;

/// Of an H200: the best of the grid for seventeen calibrations together, of as many cards, each with slow-downs of its own. What is light was timed on two
/// more: prompts of 96 tokens took 4 to 6 % longer behind three of 2,048, those of 144 tokens 6 to 10, those of 192 and more 10 to 17.
const REFERENCE: Throttle = Throttle {
    half_life_ns: 28_000_000,
    full_tokens: 512,
    light_tokens: 96,
    from_ppm: 300_000,
    prompt_ppm: 0,
    decode_ppm: 0,
    sustained: Sustained {
        half_life_ns: 0,
        from_ppm: 0,
        prompt_ppm: 0,
    },
};
/// Half-lives that are tried \[ms\].
const HALF_LIVES_MS: [u64; 11] = [3, 5, 7, 10, 14, 20, 28, 40, 57, 80, 113];
/// Prompt tokens of a step under full load that are tried.
const FULL_TOKENS: [u32; 5] = [128, 256, 512, 1_024, 2_048];
/// Prompt tokens of a step that waits for memory that are tried.
const LIGHT_TOKENS: [u32; 4] = [48, 64, 96, 144];
/// Loads that are tried up to which the clock stays \[ppm\].
const FROM_PPM: [u32; 7] = [0, 100_000, 200_000, 300_000, 400_000, 500_000, 600_000];
/// The same of load that lasts.
const SUSTAINED_MS: [u64; 5] = [120, 170, 240, 340, 480];
const SUSTAINED_FROM_PPM: [u32; 5] = [500_000, 600_000, 700_000, 800_000, 900_000];
/// Half-lives of prompts one behind another that tell what comes of load that lasts.
const TELLING: u64 = 3;
/// Longer pauses are none of prompts one behind another.
const PAUSE: Nanos = Nanos(2_000_000);
/// Deviations beyond this count by their size, not by its square.
const LARGE: f64 = 0.01;
/// What constants more must gain in twice the logarithm of the likelihood: 20 would be beyond chance if steps differed each by itself. Those that
/// follow each other differ alike (by 0.4 to 0.7, their correlation), and count for a third.
const WORTH: f64 = 60.0;
/// Under load that has lasted the clock is lowered in turns, which are no jitter: this average above its limit.
const LASTED: Sustained = Sustained {
    half_life_ns: 240_000_000,
    from_ppm: 500_000,
    prompt_ppm: 0,
};
/// Steps of a class that make it count.
const CLASS_MIN: usize = 10;
/// Steps that are further off their class than this are of another kind (the first of a process, a stalled one), and left out.
const OUTLIER: f64 = 0.25;
/// A card has rested after so long \[ns\].
const BETWEEN_ROUNDS: u64 = 3_000_000_000;
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

/// Whether it has prompts, and its tokens by half octaves.
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
    /// The sum of squares, of large deviations by their size.
    loss: f64,
}

impl Left {
    /// Whether it explains enough of so many steps to be taken in place of another.
    fn is_worth(&self, steps: usize, other: &Self) -> bool {
        steps as f64 * (other.loss / self.loss).ln() > WORTH
    }
}

/// The throttle that explains best how steps of one kind differ in time. None, if prompts behind prompts take as long as others.
pub fn fit(bursts: &[RanStep], cost: &StepCost) -> Throttle {
    let bursts = Bursts::of(bursts, cost);
    let steps = bursts.classes.values().map(Vec::len).sum();
    let mut best = bursts.slow_downs(REFERENCE);
    if let Some(other) = bursts
        .best(limits())
        .filter(|other| other.is_worth(steps, &best))
    {
        best = other;
    }
    let longest = bursts.longest_of_prompts();
    let lasting = sustained().filter(|grid| TELLING * grid.half_life_ns <= longest.0);
    let lasting = bursts.best(lasting.map(|sustained| Throttle {
        sustained,
        ..best.throttle
    }));
    if let Some(lasting) = lasting.filter(|lasting| lasting.is_worth(steps, &best)) {
        best = lasting;
    }
    let Throttle {
        prompt_ppm,
        sustained,
        ..
    } = best.throttle;
    if f64::from(prompt_ppm + sustained.prompt_ppm) / 1e6 < LEAST {
        return Throttle::default();
    }
    best.throttle
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
            // A step that draws all there is does not wait for memory.
            let light = LIGHT_TOKENS.into_iter().filter(move |light| *light < full);
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

/// The standard deviations that the throttle leaves, of steps with prompts and without, where load has not lasted.
pub fn jitter(bursts: &[RanStep], cost: &StepCost, throttle: &Throttle) -> Jitter {
    let bursts = Bursts::of(bursts, cost);
    let (felt, lasted) = (bursts.felt(throttle), bursts.lasted(throttle));
    let spread_ppm = |prompts: bool| {
        let (mut squares, mut free) = (0.0, 0);
        let classes = bursts.classes.iter();
        for (_, own) in classes.filter(|((with, _), _)| *with == prompts) {
            let own = own.iter().filter(|at| !lasted[**at]);
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
        for ran in &self.ran {
            if ran.prompt_tokens == 0 || ran.start.since(until) > PAUSE {
                since = ran.end;
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

    /// Whether load had lasted when a step began.
    fn lasted(&self, throttle: &Throttle) -> Vec<bool> {
        let probe = Throttle {
            half_life_ns: REFERENCE.half_life_ns,
            sustained: LASTED,
            ..*throttle
        };
        let mut load = Load::default();
        let steps = self.ran.iter();
        steps
            .map(|ran| {
                // A prompt that began then would feel it.
                let felt = load.felt(&probe, ran.start, u32::MAX, Nanos(0));
                load.add(&probe, ran.prompt_tokens, ran.start, ran.end);
                felt.sustained > 0
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
        left.min_by(|a, b| a.loss.total_cmp(&b.loss))
    }

    /// The slow-downs of a throttle's limits that leave the least, and what they leave.
    fn slow_downs(&self, limits: Throttle) -> Left {
        let felt = self.felt(&limits);
        let mut slow = [0.0_f64; 3];
        let mut weights = vec![1.0; self.ran.len()];
        let mut loss = 0.0;
        // ln(1 + slow-down) is a line through the last one nearby, and each gives the next, as each gives weights to the next.
        for _ in 0..6 {
            let mut rows = Vec::with_capacity(self.ran.len());
            for own in self.classes.values() {
                let lines: Vec<[f64; 4]> = own
                    .iter()
                    .map(|at| line(shares(felt[*at]), slow, self.ran[*at].off))
                    .collect();
                let all: f64 = own.iter().map(|at| weights[*at]).sum();
                let mean: [f64; 4] = std::array::from_fn(|term| {
                    let each = own
                        .iter()
                        .zip(&lines)
                        .map(|(at, line)| weights[*at] * line[term]);
                    each.sum::<f64>() / all
                });
                let off = |line: &[f64; 4]| Weighed {
                    terms: std::array::from_fn(|term| line[term] - mean[term]),
                    value: line[3] - mean[3],
                    scale: 1.0,
                };
                rows.extend(own.iter().copied().zip(lines.iter().map(off)));
            }
            let weighed: Vec<f64> = rows.iter().map(|(at, _)| weights[*at]).collect();
            let of: Vec<Weighed> = rows.iter().map(|(_, row)| *row).collect();
            slow = least_squares_from_zero(&of, &weighed);
            loss = 0.0;
            for (at, row) in &rows {
                let fitted: f64 = row.terms.iter().zip(slow).map(|(a, b)| a * b).sum();
                let off = (row.value - fitted).abs();
                weights[*at] = (LARGE / off).min(1.0);
                loss += if off > LARGE {
                    LARGE * (2.0 * off - LARGE)
                } else {
                    off * off
                };
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
        Left { throttle, loss }
    }
}

/// The terms and the value of a step that is `off` so far, in a line through the slow-downs of now.
fn line(shares: [f64; 3], slow: [f64; 3], off: f64) -> [f64; 4] {
    let now = 1.0 + shares.iter().zip(slow).map(|(a, b)| a * b).sum::<f64>();
    let [a, b, c] = shares.map(|share| share / now);
    [
        a,
        b,
        c,
        off - now.ln() + a * slow[0] + b * slow[1] + c * slow[2],
    ]
}

fn shares(felt: Felt) -> [f64; 3] {
    [felt.prompt, felt.decode, felt.sustained].map(|share| f64::from(share) / 1e6)
}

/// Says of each timed step how much longer it took than on a rested card: the load is that of all that was timed before it, in the order and as often
/// as [`super::steps`] does, with the decode run between two timings. `points` are in that order.
pub fn settle(points: &mut [StepPoint], throttle: &Throttle) {
    let between = points.iter().find(|point| {
        let totals = &point.totals;
        (totals.prefill_tokens, totals.decode_seqs) == (0, 1)
            && totals.decode_kv_tokens < u64::from(MIXED_LENGTH + DECODE_STEPS)
    });
    let between = between.map_or(0, |point| point.nanos) * u64::from(DECODE_STEPS);
    let (mut load, mut now) = (Load::default(), Time(0));
    let mut felt: Vec<Vec<u32>> = vec![Vec::new(); points.len()];
    for round in 0..ROUNDS {
        let mut behind = u32::MAX;
        for (point, felt) in points.iter().zip(&mut felt) {
            let tokens = point.totals.prefill_tokens;
            if tokens == 0 {
                if round == 0 {
                    // Three runs, and the median is mostly the second.
                    let run = u64::from(DECODE_STEPS) * point.nanos;
                    let middle = Time(now.0 + run + run / 2);
                    felt.push(load.ppm(throttle, middle, 0, Nanos(0)));
                    now = Time(now.0 + 3 * run);
                    behind = 0;
                }
                continue;
            }
            if round > 0 && point.nanos > ONE_ROUND_FROM {
                continue;
            }
            for timing in 0..3 {
                if timing > 0 || behind > tokens {
                    now = Time(now.0 + between);
                }
                if timing > 0 {
                    felt.push(longer(&load, throttle, now, point));
                }
                let end = Time(now.0 + point.nanos);
                load.add(throttle, tokens, now, end);
                now = end;
            }
            behind = tokens;
        }
        // Then the link, or what else is timed: the card rests.
        now = Time(now.0 + BETWEEN_ROUNDS);
    }
    for (point, felt) in points.iter_mut().zip(felt) {
        let mean = felt.iter().copied().map(u64::from).sum::<u64>() / felt.len().max(1) as u64;
        point.load_ppm = mean as u32;
    }
}

/// So much longer takes a step with prompts that begins now \[ppm\]. What it takes on a rested card is known as soon as that is: two rounds leave next
/// to nothing.
fn longer(load: &Load, throttle: &Throttle, now: Time, point: &StepPoint) -> u32 {
    (0..2).fold(0, |ppm, _| {
        let rested = (point.nanos as f64 / (1.0 + f64::from(ppm) / 1e6)) as u64;
        load.ppm(throttle, now, point.totals.prefill_tokens, Nanos(rested))
    })
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

    /// Bursts as they are timed, in another order: each number of prompts with each length, some that last, and prompts in part of the time.
    fn history(throttle: &Throttle, wrong: f64) -> Vec<RanStep> {
        let mut card = Card {
            throttle: *throttle,
            wrong,
            load: Load::default(),
            now: Time(1_000),
            ran: Vec::new(),
        };
        let short = BURSTS
            .iter()
            .flat_map(|burst| BURST_TOKENS.map(|tokens| (*burst, tokens)));
        let lasting = [(180, 512), (50, 2_048)];
        for (turn, (burst, tokens)) in short.clone().chain(short).chain(lasting).enumerate() {
            for _ in 0..burst {
                card.step(tokens);
            }
            for place in 0..BEHIND as usize {
                let short = SHORT_PROMPTS[(turn + place / 2) % SHORT_PROMPTS.len()];
                card.step(if place % 2 == 0 { 0 } else { short });
            }
            card.now = card.now + REST;
        }
        for place in 0..200 {
            card.step(if place % 5 == 0 { 2_048 } else { 0 });
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
        // Far from the reference, so that the bursts must tell it.
        let other = Throttle {
            half_life_ns: 57_000_000,
            full_tokens: 1_024,
            light_tokens: 48,
            from_ppm: 500_000,
            ..TRUTH
        };
        for (truth, wrong) in [(TRUTH, 1.0), (TRUTH, 1.07), (other, 1.0), (LASTING, 1.0)] {
            let found = fit(&history(&truth, wrong), &cost());
            let limits = |of: &Throttle| Throttle {
                prompt_ppm: 0,
                decode_ppm: 0,
                sustained: Sustained {
                    prompt_ppm: 0,
                    ..of.sustained
                },
                ..*of
            };
            assert_eq!(limits(&found), limits(&truth), "{found:?}");
            let slow = |of: &Throttle| [of.prompt_ppm, of.decode_ppm, of.sustained.prompt_ppm];
            let off = std::iter::zip(slow(&found), slow(&truth)).map(|(a, b)| a.abs_diff(b));
            assert!(off.max() < Some(5_000), "{found:?}");
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
        // 28 ms of decode between two timings of a prompt that takes a half-life: x -> (1 + x) / 2 -> half of that; 0, 1/4, 5/16. From there towards
        // full load: 3/4 · 1/4 + 1/4 and 3/4 · 5/16 + 1/4 on the average. The card has no limit below which it keeps its clock.
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
        let want = 150_000 * 59 / 128;
        // On a rested card it takes less than a half-life.
        assert!(
            (want - 2_000..=want).contains(&points[0].load_ppm),
            "{points:?}"
        );
        // Decode behind it: 42 ms later, and 84 + 60 ms.
        let left = [points[1].load_ppm, points[2].load_ppm];
        assert!(
            (14_000..16_000).contains(&left[0]) && left[1] < 2_000,
            "{left:?}"
        );
    }
}
