//! How the card slows down behind prompts: fitted to steps in the order in which they ran ([`super::bursts`]).
//!
//! ```text
//!   ln(measured / predicted) of each step = class + ln(1 + Σ slow-down·what the step feels)
//! ```
//!
//! A *class* is a range of prompt tokens and one of decoding sequences: whatever the cost of a step is wrong by for another reason is a constant of its class, and
//! only how steps of one class differ counts, large deviations by their size (Huber, 1964): under load that lasts a card lowers its clock in turns, by a
//! third for a tenth of a second. Half-lives, limits and what draws all there is are those of a grid that leave the least, if they explain more than those
//! of [`REFERENCE`] by enough; then it is asked whether load that lasts explains more. What is left is the jitter ([`super::jitter`]).

use super::bursts::RanStep;
use super::fit::{Weighed, least_squares_from_zero, median};
use devices::{Felt, Load, StepCost, Sustained, Throttle, Work};
use model::{Nanos, Time};
use std::collections::BTreeMap;

/// Of an H200: the best of a finer grid for eighteen calibrations together (`card-5` and later), each with slow-downs of its own. What is light was timed once more
/// (`lasting.bursts.csv` beside the validation): prompts of 96 tokens took 4 % longer behind three of 2,048, those of 144 tokens 6, of 192 and more 10 to 14.
const REFERENCE: Throttle = Throttle {
    half_life_ns: 33_000_000,
    full_tokens: 512,
    full_seqs: 70,
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
/// Prompt tokens of a step that waits for memory that are tried; the first where no burst has prompts so short, for then all are alike.
const LIGHT_TOKENS: [u32; 4] = [96, 48, 64, 144];
/// Sequences of a decode step under full load that are tried; 0: decode draws nothing.
const FULL_SEQS: [u32; 6] = [0, 40, 57, 80, 113, 160];
/// Loads that are tried up to which the clock stays \[ppm\].
const FROM_PPM: [u32; 7] = [0, 100_000, 200_000, 300_000, 400_000, 500_000, 600_000];
/// The same of load that lasts.
const SUSTAINED_MS: [u64; 7] = [120, 170, 240, 340, 480, 680, 960];
const SUSTAINED_FROM_PPM: [u32; 5] = [500_000, 600_000, 700_000, 800_000, 900_000];
/// Half-lives of prompts one behind another that tell what comes of load that lasts.
const TELLING: u64 = 3;
/// Longer pauses are none of prompts one behind another.
const PAUSE: Nanos = Nanos(2_000_000);
/// Deviations beyond this count by their size, not by its square.
const LARGE: f64 = 0.01;
/// What other constants, or more, must gain in steps times the logarithm of the loss. 20 would be beyond chance if steps differed each by itself, but those
/// that follow each other differ alike (a correlation of 0.3 to 0.6, and up to 0.9 in part of the time). Before decode drew anything, seven of
/// seventeen calibrations gained 35 to 55 by other constants, of which no half agrees with the other; load that lasts gained more than 400 in bursts of three seconds.
const WORTH: f64 = 60.0;
/// Steps of a class that make it count. Half octaves put lengths side by side that are not alike, so that few of them are timed.
const CLASS_MIN: usize = 10;
/// Steps that are further off their class than this are of another kind (the first of a process, a stalled one), and left out.
const OUTLIER: f64 = 0.25;
/// A smaller slow-down of prompts is none.
const LEAST: f64 = 0.005;

/// A step, as far as its slow-down is concerned.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    work: Work,
    /// It began.
    pub start: Time,
    /// It ended.
    pub end: Time,
    /// What it takes on a rested card.
    rested: Nanos,
    /// ln(measured / predicted).
    off: f64,
}

/// Prompt tokens and decoding sequences of a step by half octaves, 0 for none.
pub(super) type Class = [u32; 2];

fn class(work: Work) -> Class {
    let half_octave = |count: u32| match count {
        0 => 0,
        count => 1 + (f64::from(count).log2() * 2.0) as u32,
    };
    [work.prompt_tokens, work.decode_seqs].map(half_octave)
}

/// What is known of the bursts before anything is fitted.
pub(super) struct Bursts {
    /// All, in the order in which they ran.
    pub ran: Vec<Sample>,
    /// Those that count, by class.
    pub classes: BTreeMap<Class, Vec<usize>>,
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

/// The throttle with the slow-downs that explain best how steps of one kind differ in time. Load that lasts, and other limits than those of the
/// reference, must each explain much more. None, if prompts behind prompts take as long as others.
pub fn fit(bursts: &[RanStep], cost: &StepCost) -> Throttle {
    let bursts = Bursts::of(bursts, cost);
    let steps = bursts.classes.values().map(Vec::len).sum();
    let reference = bursts.slow_downs(REFERENCE);
    let other = bursts.other_limits();
    let lasting = [&reference, &other].map(|limits| bursts.lasting(limits.throttle));
    let [lasting, other_lasting] = lasting;
    let mut best = reference;
    for next in [lasting, Some(other), other_lasting].into_iter().flatten() {
        if next.is_worth(steps, &best) {
            best = next;
        }
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
            ..REFERENCE
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

impl Bursts {
    pub fn of(bursts: &[RanStep], cost: &StepCost) -> Self {
        let mut ran = Vec::with_capacity(bursts.len());
        let mut classes: BTreeMap<Class, Vec<usize>> = BTreeMap::new();
        for RanStep { totals, start, end } in bursts.iter().filter(|ran| ran.end > ran.start) {
            let work = Work::of(totals);
            classes.entry(class(work)).or_default().push(ran.len());
            let rested = Nanos((cost.totals_ps(totals) / 1000).max(1));
            ran.push(Sample {
                work,
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

    /// Whether decode of some numbers of sequences was timed.
    fn has_decode_of_many(&self) -> bool {
        self.classes
            .keys()
            .filter(|[prompts, _]| *prompts == 0)
            .count()
            > 1
    }

    /// The longest time in which prompts followed each other, from the end of the first.
    fn longest_of_prompts(&self) -> Nanos {
        let (mut longest, mut since, mut until) = (Nanos(0), Time(0), Time(0));
        for ran in &self.ran {
            if ran.work.prompt_tokens == 0 || ran.start.since(until) > PAUSE {
                since = ran.end;
            }
            until = ran.end;
            longest = longest.max(until.since(since));
        }
        longest
    }

    /// What each step felt.
    pub fn felt(&self, throttle: &Throttle) -> Vec<Felt> {
        let mut load = Load::default();
        let steps = self.ran.iter();
        steps
            .map(|ran| {
                let felt = load.felt(throttle, ran.start, ran.work, ran.rested);
                load.add(throttle, ran.work, ran.start, ran.end);
                felt
            })
            .collect()
    }

    /// What a step is longer by than predicted and slowed down, in logarithms.
    pub fn left(&self, at: usize, throttle: &Throttle, felt: &[Felt]) -> f64 {
        self.ran[at].off - (f64::from(throttle.ppm(felt[at])) / 1e6).ln_1p()
    }

    /// The best limits of the grid, without load that lasts.
    fn other_limits(&self) -> Left {
        let best = self.best(limits()).expect("the grid has limits");
        // Where decode was of one number of sequences, what it draws is in the other limits.
        if !self.has_decode_of_many() {
            return best;
        }
        let found = best.throttle;
        let seqs = FULL_SEQS
            .into_iter()
            .map(|full_seqs| Throttle { full_seqs, ..found });
        let other = self.best(seqs).expect("the grid has numbers of sequences");
        if other.loss < best.loss { other } else { best }
    }

    /// The best with these limits of what comes on top if load lasts; none if no load lasted for long.
    fn lasting(&self, limits: Throttle) -> Option<Left> {
        let longest = self.longest_of_prompts();
        let lasting = sustained().filter(|grid| TELLING * grid.half_life_ns <= longest.0);
        self.best(lasting.map(|sustained| Throttle {
            sustained,
            ..limits
        }))
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::calibrate::bursts::{BEHIND, BURST_TOKENS, BURSTS, SHORT_PROMPTS};
    use devices::StepTotals;

    const REST: Nanos = Nanos(150_000_000);
    pub const TRUTH: Throttle = Throttle {
        half_life_ns: 33_000_000,
        full_tokens: 512,
        full_seqs: 70,
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

    pub fn cost() -> StepCost {
        StepCost::linear(4_500_000_000, 19_000_000, 0, 100_000)
    }

    /// Steps on a card that slows down so, with 1 % of noise; `wrong` is the error of the cost.
    struct Card {
        throttle: Throttle,
        wrong: f64,
        load: Load,
        now: Time,
        ran: Vec<RanStep>,
        /// Under load that lasts it lowers its clock in turns: when the load began.
        turns: Option<Time>,
    }

    impl Card {
        fn step(&mut self, prompt: u32) {
            self.step_of(prompt, if prompt == 0 { 4 } else { 0 });
        }

        fn step_of(&mut self, prompt: u32, seqs: u32) {
            let totals = StepTotals {
                prefill_tokens: prompt,
                prefill_kv_tokens: u64::from(prompt),
                decode_seqs: seqs,
                decode_kv_tokens: u64::from(seqs) * 1_024,
                ..StepTotals::default()
            };
            let noise =
                1.0 + 0.01 * (f64::from(kernels::mix::mix64(self.now.0) as u32) / 4e9 - 0.5);
            let rested = cost().totals_ps(&totals) / 1000;
            let work = Work::of(&totals);
            let ppm = self.load.ppm(&self.throttle, self.now, work, Nanos(rested));
            let lasted = self.turns.map_or(0, |since| self.now.since(since).0);
            let turn = lasted > 800_000_000 && lasted % 1_000_000_000 < 150_000_000;
            let slow = (1.0 + f64::from(ppm) / 1e6) * if turn { 1.2 } else { 1.0 };
            let nanos = rested as f64 * slow * noise * self.wrong;
            let (start, end) = (self.now, Time(self.now.0 + nanos as u64));
            self.ran.push(RanStep { totals, start, end });
            self.load.add(&self.throttle, work, start, end);
            self.now = Time(end.0 + 60_000);
        }
    }

    /// Bursts as they are timed, in another order: each number of prompts with each length, some that last, and prompts in part of the time.
    pub fn history(throttle: &Throttle, wrong: f64, turns: bool) -> Vec<RanStep> {
        let mut card = Card {
            throttle: *throttle,
            wrong,
            load: Load::default(),
            now: Time(1_000),
            ran: Vec::new(),
            turns: None,
        };
        let short = BURSTS
            .iter()
            .flat_map(|burst| BURST_TOKENS.map(|tokens| (*burst, tokens)));
        let lasting = [(180, 512), (50, 2_048)];
        for (turn, (burst, tokens)) in short.clone().chain(short).chain(lasting).enumerate() {
            card.turns = turns.then_some(card.now);
            for _ in 0..burst {
                card.step(tokens);
            }
            for place in 0..BEHIND as usize {
                let short = SHORT_PROMPTS[(turn + place / 2) % SHORT_PROMPTS.len()];
                card.step(if place % 2 == 0 { 0 } else { short });
            }
            card.now = card.now + REST;
        }
        card.turns = turns.then_some(card.now);
        for seqs in [1, 4, 16, 32].into_iter().cycle().take(16) {
            for _ in 0..5 {
                card.step(2_048);
                for _ in 0..4 {
                    card.step_of(0, seqs);
                }
            }
        }
        card.ran
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
        let thirsty = Throttle {
            full_seqs: 40,
            ..other
        };
        for (truth, wrong, turns) in [
            (TRUTH, 1.0, false),
            (TRUTH, 1.07, false),
            (other, 1.0, false),
            (other, 1.0, true),
            (thirsty, 1.0, false),
            (LASTING, 1.0, false),
        ] {
            let found = fit(&history(&truth, wrong, turns), &cost());
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
            fit(&history(&Throttle::default(), 1.0, false), &cost()),
            Throttle::default()
        );
        assert_eq!(fit(&[], &cost()), Throttle::default());
    }
}
