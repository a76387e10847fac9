//! A card that lowers its clock under load, within tens of milliseconds, and once more if the load lasts.
//!
//! ```text
//!   load  1 ┤        ╭──── prompts           a step that computes takes longer by how far the load is above `from`,
//!           │ from ┄╭╯┄┄┄┄┄╲┄┄┄              on the average over the step; one that waits for memory by all of the load
//!         0 ┤ ──────╯       ╲___ decode of few, or nothing
//! ```
//!
//! Prompts keep all the multipliers busy and draw more than the board may have; the power management then lowers the clock. The load is what the steps of
//! late have drawn: an average that forgets half in each half-life. The board may have more than decode draws: where prompts are a part of the time, or
//! begin on a rested card, they hardly take longer. A second average, over some tenths of a second, tells whether load lasts: the clock is then lowered
//! further, in turns.
//!
//! Decode steps wait for memory for the most part, and suffer less; so do prompts of a few tokens. What decode itself draws goes with its sequences: it
//! brings prompts between them nearer to the limit, and slows no decode down that is not slow already.
//!
//! Integers throughout ([`average`]). Decode steps are slowed down by 32 levels, so that a decode run has few points at which its steps begin to
//! cost less; steps with prompts by the load at which they begin.
//!
//! **Absent on purpose:** the minutes in which a card warms up, the turns of the lowered clock, neighbours that share its supply, and that a step with few prompt tokens and many sequences computes as well.

mod average;

use crate::StepTotals;
use average::{FORGOTTEN, FULL, HalfLife, LONGEST};
use model::{Nanos, Time};
use serde::{Deserialize, Deserializer, de::Error};

/// How a card slows down under load. The default: not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// In so long the average forgets half of what was drawn \[ns\]; 0 for a card that keeps its clock.
    #[serde(deserialize_with = "half_life")]
    pub half_life_ns: u64,
    /// Prompt tokens of a step that draws all there is; one with fewer draws in proportion.
    pub full_tokens: u32,
    /// Sequences of a decode step that would draw all there is; one with fewer draws in proportion. 0: decode draws nothing.
    #[serde(default)]
    pub full_seqs: u32,
    /// Prompt tokens of a step that still waits for memory, as decode does; one with twice as many computes. 0: every prompt computes.
    #[serde(default)]
    pub light_tokens: u32,
    /// Up to this load, steps that compute keep their clock \[ppm\]; less than the full one.
    #[serde(default, deserialize_with = "limit")]
    pub from_ppm: u32,
    /// So much longer takes a step that computes under full load \[ppm\].
    pub prompt_ppm: u32,
    /// So much longer takes one that waits for memory \[ppm\].
    pub decode_ppm: u32,
    /// What comes on top if the load lasts.
    #[serde(default)]
    pub sustained: Sustained,
}

/// What load that lasts does to steps that compute, on a card that has a [`Throttle`]. The default: no more than load does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sustained {
    /// In so long this average forgets half \[ns\]; 0 for none.
    #[serde(deserialize_with = "half_life")]
    pub half_life_ns: u64,
    /// Up to this average nothing comes of it \[ppm\]; less than the full load.
    #[serde(deserialize_with = "limit")]
    pub from_ppm: u32,
    /// So much longer takes a step after long full load \[ppm\], on top of [`Throttle::prompt_ppm`].
    pub prompt_ppm: u32,
}

/// A load that another can be above.
fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let ppm = u32::deserialize(deserializer)?;
    if u64::from(ppm) < FULL {
        return Ok(ppm);
    }
    let text = format!("no load is above {ppm} ppm: the full one is {FULL}");
    Err(D::Error::custom(text))
}

/// Half-lives are of milliseconds to seconds.
fn half_life<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let nanos = u64::deserialize(deserializer)?;
    if nanos <= LONGEST {
        return Ok(nanos);
    }
    let text = format!("no card takes {nanos} ns to forget half of its load; at most {LONGEST} ns");
    Err(D::Error::custom(text))
}

/// Levels of the slow-down of decode steps.
const LEVELS: u64 = 32;

/// What a card has drawn of late: averages, in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Of what prompts drew, which is what decode feels: what decode draws is in what it takes.
    prompts: u64,
    /// When the last step with prompts ended.
    prompts_at: Time,
    /// Of what all steps drew.
    all: u64,
    /// The same of the longer average.
    sustained: u64,
    /// When the last step ended.
    at: Time,
}

/// What a step computes, as far as the load is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Tokens of its prompts.
    pub prompt_tokens: u32,
    /// Sequences that it decodes.
    pub decode_seqs: u32,
}

impl Work {
    /// Of a step that counts so.
    pub fn of(totals: &StepTotals) -> Self {
        Self {
            prompt_tokens: totals.prefill_tokens,
            decode_seqs: totals.decode_seqs,
        }
    }
}

/// What a step feels of the load: shares of the slow-downs of [`Throttle`], in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Felt {
    /// Of [`Throttle::prompt_ppm`].
    pub prompt: u32,
    /// Of [`Throttle::decode_ppm`].
    pub decode: u32,
    /// Of [`Sustained::prompt_ppm`].
    pub sustained: u32,
}

/// A slow-down of decode steps that holds for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlowedDown {
    /// Steps without prompts that begin take so much longer \[ppm\].
    pub decode_ppm: u32,
    /// Until then, if no step with prompts comes; `None`: for ever.
    pub until: Option<Time>,
}

impl Throttle {
    /// How much longer takes a step that feels this \[ppm\].
    pub fn ppm(&self, felt: Felt) -> u32 {
        let parts = [
            (self.prompt_ppm, felt.prompt),
            (self.decode_ppm, felt.decode),
            (self.sustained.prompt_ppm, felt.sustained),
        ];
        let parts = parts.map(|(ppm, share)| u64::from(ppm) * u64::from(share));
        u32::try_from(parts.into_iter().sum::<u64>() / FULL).unwrap_or(u32::MAX)
    }

    /// What the prompts of a step draw, and what all of it does.
    fn drawn(&self, work: Work) -> [u64; 2] {
        let share = |part: u32, full: u32| FULL * u64::from(part) / u64::from(full.max(1));
        let prompts = share(work.prompt_tokens, self.full_tokens).min(FULL);
        let decode = if self.full_seqs == 0 {
            0
        } else {
            share(work.decode_seqs, self.full_seqs)
        };
        [prompts, (prompts + decode).min(FULL)]
    }

    /// How far a step with so many prompt tokens computes rather than wait for memory.
    fn computes(&self, prompt_tokens: u32) -> u64 {
        let light = u64::from(self.light_tokens);
        let over = u64::from(prompt_tokens).saturating_sub(light);
        (FULL * over.min(light)).checked_div(light).unwrap_or(FULL)
    }
}

impl Load {
    fn level(&self, throttle: &Throttle, now: Time) -> u64 {
        let left = HalfLife::of(throttle.half_life_ns).map_or(0, |half_life| {
            half_life.decayed(self.prompts, now.since(self.prompts_at).0)
        });
        (left * LEVELS + FULL / 2) / FULL
    }

    /// What a step feels that begins at `now` and takes `rested` on a rested card.
    pub fn felt(&self, throttle: &Throttle, now: Time, work: Work, rested: Nanos) -> Felt {
        if work.prompt_tokens == 0 {
            let decode = (FULL * self.level(throttle, now) / LEVELS) as u32;
            return Felt {
                decode,
                ..Felt::default()
            };
        }
        let Some(half_life) = HalfLife::of(throttle.half_life_ns) else {
            return Felt::default();
        };
        let ([by_prompts, by_all], computes) =
            (throttle.drawn(work), throttle.computes(work.prompt_tokens));
        let waits = FULL - computes;
        let above = |half_life: HalfLife, from: u64, left: u64, drawn: u64, part: u64| {
            if part == 0 {
                return 0;
            }
            let above = half_life.above_on_average(from, left, drawn, rested.0);
            (above * part / FULL) as u32
        };
        let since = now.since(self.at).0;
        let sustained = HalfLife::of(throttle.sustained.half_life_ns).map_or(0, |half_life| {
            let left = half_life.decayed(self.sustained, since);
            let from = throttle.sustained.from_ppm.into();
            above(half_life, from, left, by_all, computes)
        });
        let all = half_life.decayed(self.all, since);
        let prompts = half_life.decayed(self.prompts, now.since(self.prompts_at).0);
        Felt {
            prompt: above(half_life, throttle.from_ppm.into(), all, by_all, computes),
            decode: above(half_life, 0, prompts, by_prompts, waits),
            sustained,
        }
    }

    /// So much longer takes a step that begins at `now` and takes `rested` on a rested card \[ppm\].
    pub fn ppm(&self, throttle: &Throttle, now: Time, work: Work, rested: Nanos) -> u32 {
        throttle.ppm(self.felt(throttle, now, work, rested))
    }

    /// The slow-down of decode steps from `now` on.
    pub(crate) fn slowed_down(&self, throttle: &Throttle, now: Time) -> SlowedDown {
        SlowedDown {
            decode_ppm: self.ppm(throttle, now, Work::default(), Nanos(0)),
            until: self.next_change(throttle, now),
        }
    }

    /// When decode steps begin to take less if no step with prompts comes; `None` once they take what they do on a rested card.
    fn next_change(&self, throttle: &Throttle, now: Time) -> Option<Time> {
        let level = self.level(throttle, now);
        if level == 0 {
            return None;
        }
        let nanos = now.since(self.prompts_at).0;
        let (mut low, mut high) = (nanos, FORGOTTEN * throttle.half_life_ns);
        // The first time at which the level is another.
        while low + 1 < high {
            let middle = u64::midpoint(low, high);
            if self.level(throttle, Time(self.prompts_at.0 + middle)) == level {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(Time(self.prompts_at.0 + high))
    }

    /// Steps of this work each ran from `start` to `end`.
    pub fn add(&mut self, throttle: &Throttle, work: Work, start: Time, end: Time) {
        let [by_prompts, by_all] = throttle.drawn(work);
        let Some(half_life) = HalfLife::of(throttle.half_life_ns).filter(|_| by_all > 0) else {
            return;
        };
        let nanos = end.since(start).0;
        let after = |half_life: HalfLife, value: u64, at: Time, drawn: u64| {
            half_life.towards(half_life.decayed(value, start.since(at).0), drawn, nanos)
        };
        if by_prompts > 0 {
            self.prompts = after(half_life, self.prompts, self.prompts_at, by_prompts);
            self.prompts_at = end;
        }
        self.all = after(half_life, self.all, self.at, by_all);
        if let Some(half_life) = HalfLife::of(throttle.sustained.half_life_ns) {
            self.sustained = after(half_life, self.sustained, self.at, by_all);
        }
        self.at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const THROTTLE: Throttle = Throttle {
        half_life_ns: 1_000,
        full_tokens: 512,
        full_seqs: 0,
        light_tokens: 0,
        from_ppm: 0,
        prompt_ppm: 160_000,
        decode_ppm: 64_000,
        sustained: Sustained {
            half_life_ns: 0,
            from_ppm: 0,
            prompt_ppm: 0,
        },
    };

    /// A step of prompts.
    fn work(prompt_tokens: u32) -> Work {
        Work {
            prompt_tokens,
            decode_seqs: 0,
        }
    }

    #[test]
    fn half_is_drawn_in_a_half_life_and_forgotten_in_another() {
        let mut load = Load::default();
        load.add(&THROTTLE, work(2_048), Time(5_000), Time(6_000));
        assert_eq!(load.prompts, FULL / 2);
        let prompt = |load: &Load, now| load.ppm(&THROTTLE, Time(now), work(512), Nanos(0));
        assert_eq!(prompt(&load, 6_000), 80_000);
        assert_eq!(load.ppm(&THROTTLE, Time(6_000), work(0), Nanos(0)), 32_000);
        // A quarter is left, and half-way as much as the square root of a half leaves.
        assert_eq!(prompt(&load, 7_000), 40_000);
        assert_eq!(prompt(&load, 6_500), 56_568);
        // Two more half-lives of full load: 1/4 -> 5/8 -> 13/16.
        load.add(&THROTTLE, work(512), Time(7_000), Time(9_000));
        assert_eq!(load.prompts, FULL * 13 / 16);
        // A short prompt draws an eighth: what is above it is forgotten, half of it in a half-life.
        load.add(&THROTTLE, work(64), Time(9_000), Time(10_000));
        assert_eq!(load.prompts, FULL / 8 + FULL * 11 / 32);
    }

    #[test]
    fn a_long_step_feels_the_load_that_it_began_under_only_at_first() {
        let mut load = Load::default();
        load.add(&THROTTLE, work(2_048), Time(5_000), Time(6_000));
        // What is half at first is 1 / 4 ln 2 on the average over a half-life.
        let near = |ppm: u32, share: f64| {
            let want = 160_000.0 * share;
            assert!((f64::from(ppm) - want).abs() < 10.0, "{ppm}, not {want}");
        };
        let half = 1.0 / (4.0 * 2.0_f64.ln());
        // Half the full load, towards the full one that it draws, or an eighth.
        let ppm = |tokens, nanos| load.ppm(&THROTTLE, Time(6_000), work(tokens), Nanos(nanos));
        near(ppm(512, 1_000), 1.0 - half);
        near(ppm(64, 1_000), 1.0 / 8.0 + half * 3.0 / 4.0);
        near(ppm(512, 10_000_000), 1.0 - 1e-4 / (2.0 * 2.0_f64.ln()));
        // A rested card slows down within the step.
        let rested = Load::default().ppm(&THROTTLE, Time(0), work(512), Nanos(2_000));
        near(rested, 1.0 - half * 3.0 / 2.0);
    }

    #[test]
    fn decode_draws_by_its_sequences_and_feels_none_of_it() {
        let throttle = Throttle {
            full_seqs: 100,
            from_ppm: 100_000,
            ..THROTTLE
        };
        let decode = |decode_seqs| Work {
            prompt_tokens: 0,
            decode_seqs,
        };
        let long = |seqs| {
            let mut load = Load::default();
            load.add(&throttle, decode(seqs), Time(0), Time(1_000_000));
            load
        };
        let ppm = |load: &Load, work| load.ppm(&throttle, Time(1_000_000), work, Nanos(0));
        // Up to the limit it matters to no prompt; above it by how far: 20 of the 90 hundredths that can be.
        assert_eq!(ppm(&long(10), work(512)), 0);
        assert_eq!(ppm(&long(30), work(512)), 160_000 * 2 / 9);
        assert_eq!(ppm(&long(200), work(512)), 160_000);
        assert_eq!(ppm(&long(200), decode(200)), 0);
        // What prompts drew is forgotten meanwhile, as on an idle card.
        let [mut busy, mut idle] = [Load::default(); 2];
        for load in [&mut busy, &mut idle] {
            load.add(&throttle, work(512), Time(0), Time(1_000));
        }
        busy.add(&throttle, decode(50), Time(1_000), Time(1_500));
        busy.add(&throttle, decode(50), Time(1_500), Time(2_000));
        let ppm = |load: &Load, work| load.ppm(&throttle, Time(2_000), work, Nanos(0));
        assert_eq!(ppm(&busy, decode(50)), ppm(&idle, decode(50)));
        // Half of the full load stays on the average, or a quarter of it is left: 40 or 15 of the 90.
        assert_eq!(ppm(&busy, work(512)), 160_000 * 4 / 9);
        assert_eq!(ppm(&idle, work(512)), 160_000 / 6);
    }

    #[test]
    fn up_to_its_limit_a_card_keeps_its_clock_for_what_computes() {
        let throttle = Throttle {
            from_ppm: 500_000,
            light_tokens: 100,
            ..THROTTLE
        };
        let mut load = Load::default();
        load.add(&throttle, work(512), Time(0), Time(1_000));
        let ppm = |load: &Load, now, tokens| load.ppm(&throttle, Time(now), work(tokens), Nanos(0));
        assert_eq!(ppm(&load, 1_000, 512), 0);
        // 3/4: half of what can be above it.
        load.add(&throttle, work(512), Time(1_000), Time(2_000));
        assert_eq!(ppm(&load, 2_000, 512), 80_000);
        // Prompts up to 100 tokens wait for memory; half of one with 150 does.
        assert_eq!(ppm(&load, 2_000, 100), 48_000);
        assert_eq!(ppm(&load, 2_000, 150), 40_000 + 24_000);
        assert_eq!(ppm(&load, 2_000, 200), 80_000);
        assert_eq!(ppm(&load, 2_000, 0), 48_000);
    }

    #[test]
    fn load_that_lasts_slows_down_further() {
        let throttle = Throttle {
            sustained: Sustained {
                half_life_ns: 10_000,
                from_ppm: 500_000,
                prompt_ppm: 40_000,
            },
            ..THROTTLE
        };
        let mut load = Load::default();
        load.add(&throttle, work(512), Time(0), Time(10_000));
        let ppm = |load: &Load, now| load.ppm(&throttle, Time(now), work(512), Nanos(0));
        assert!((159_000..160_000).contains(&ppm(&load, 10_000)));
        load.add(&throttle, work(512), Time(10_000), Time(20_000));
        assert!((179_000..=180_000).contains(&ppm(&load, 20_000)));
        // Half a half-life of the longer average later: 3/4 of full load there have become 0.53, and what is above its limit 6 % of what can be; a 32nd of
        // the shorter.
        let left = ppm(&load, 25_000);
        assert!((7_300..=7_500).contains(&left), "{left}");
        // Without the first there is no second.
        let off = Throttle {
            half_life_ns: 0,
            ..throttle
        };
        assert_eq!(load.ppm(&off, Time(20_000), work(512), Nanos(0)), 0);
    }

    #[test]
    fn a_card_without_a_limit_keeps_its_clock() {
        let mut load = Load::default();
        let none = Throttle::default();
        load.add(&none, work(2_048), Time(0), Time(1_000_000));
        assert_eq!(load.ppm(&none, Time(1_000_000), work(512), Nanos(5)), 0);
        assert_eq!(load.next_change(&none, Time(1_000_000)), None);
    }

    proptest! {
        #[test]
        fn between_two_changes_the_slow_down_is_one_and_in_the_end_there_is_none(
            tokens in 1_u32..4_000,
            length in 1_u64..20_000,
            half_life_ns in 1_u64..50_000,
        ) {
            let throttle = Throttle { half_life_ns, ..THROTTLE };
            let mut load = Load::default();
            load.add(&throttle, work(tokens), Time(100), Time(100 + length));
            let at = |time: u64| load.ppm(&throttle, Time(time), work(0), Nanos(0));
            let mut now = 100 + length;
            let mut changes = 0;
            while let Some(next) = load.next_change(&throttle, Time(now)) {
                prop_assert!(next.0 > now);
                prop_assert_eq!(at(next.0 - 1), at(now));
                prop_assert!(at(next.0) < at(now));
                now = next.0;
                changes += 1;
            }
            prop_assert!(changes <= LEVELS);
            prop_assert_eq!(at(now), 0);
        }
    }
}
