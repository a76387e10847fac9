//! A card that lowers its clock under load, within tens of milliseconds, and once more if the load lasts.
//!
//! ```text
//!   load  1 ┤        ╭──── prompts           a step that computes takes longer by how far the load is above `from`,
//!           │ from ┄╭╯┄┄┄┄┄╲┄┄┄              on the average over the step; one that waits for memory by all of the load
//!         0 ┤ ──────╯       ╲___ decode, or nothing
//! ```
//!
//! Prompts keep all the multipliers busy and draw more than the board may have; the power management then lowers the clock. The load is what the steps of
//! late have drawn: an average that forgets half in each half-life. The board may have more than decode draws: where prompts are a part of the time, or
//! begin on a rested card, they hardly take longer. A second average, over some tenths of a second, tells whether load lasts: the clock is then lowered
//! further, in turns.
//!
//! Decode steps wait for memory for the most part, and suffer less; so do prompts of a few tokens.
//!
//! Integers throughout ([`average`]). Decode steps are slowed down by 32 levels, so that a decode run has few points at which its steps begin to
//! cost less; steps with prompts by the load at which they begin.
//!
//! **Absent on purpose:** the minutes in which a card warms up, the turns of the lowered clock, neighbours that share its supply, what decode draws (more,
//! with more sequences), and that a step with few prompt tokens and many sequences computes as well.

mod average;

use average::{FORGOTTEN, FULL, HalfLife};
use model::{Nanos, Time};
use serde::{Deserialize, Deserializer, de::Error};

/// How a card slows down under load. The default: not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// In so long the average forgets half of what was drawn \[ns\]; 0 for a card that keeps its clock.
    pub half_life_ns: u64,
    /// Prompt tokens of a step that draws all there is; one with fewer draws in proportion.
    pub full_tokens: u32,
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

/// Levels of the slow-down of decode steps.
const LEVELS: u64 = 32;

/// What a card has drawn of late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// In millionths, at `at`.
    value: u64,
    /// The same of the longer average.
    sustained: u64,
    at: Time,
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
        (parts.into_iter().sum::<u64>() / FULL) as u32
    }

    /// What a step with so many prompt tokens draws.
    fn drawn(&self, prompt_tokens: u32) -> u64 {
        let full = u64::from(self.full_tokens.max(1));
        (FULL * u64::from(prompt_tokens) / full).min(FULL)
    }

    /// How far a step with so many prompt tokens computes rather than wait for memory.
    fn computes(&self, prompt_tokens: u32) -> u64 {
        let light = u64::from(self.light_tokens);
        let over = u64::from(prompt_tokens).saturating_sub(light);
        (FULL * over.min(light)).checked_div(light).unwrap_or(FULL)
    }
}

impl Load {
    /// What is left at `now` of an average that was `value`.
    fn left(&self, half_life: HalfLife, value: u64, now: Time) -> u64 {
        half_life.decayed(value, now.since(self.at).0)
    }

    fn level(&self, throttle: &Throttle, now: Time) -> u64 {
        let half_life = HalfLife::of(throttle.half_life_ns);
        let value = half_life.map_or(0, |half_life| self.left(half_life, self.value, now));
        (value * LEVELS + FULL / 2) / FULL
    }

    /// What a step with so many prompt tokens feels that begins at `now` and takes `rested` on a rested card.
    pub fn felt(&self, throttle: &Throttle, now: Time, prompt_tokens: u32, rested: Nanos) -> Felt {
        if prompt_tokens == 0 {
            let decode = (FULL * self.level(throttle, now) / LEVELS) as u32;
            return Felt {
                decode,
                ..Felt::default()
            };
        }
        let Some(half_life) = HalfLife::of(throttle.half_life_ns) else {
            return Felt::default();
        };
        let (drawn, computes) = (
            throttle.drawn(prompt_tokens),
            throttle.computes(prompt_tokens),
        );
        let above = |half_life: HalfLife, from: u64, value: u64, part: u64| {
            if part == 0 {
                return 0;
            }
            let value = self.left(half_life, value, now);
            let above = half_life.above_on_average(from, value, drawn, rested.0);
            (above * part / FULL) as u32
        };
        let sustained = HalfLife::of(throttle.sustained.half_life_ns).map_or(0, |half_life| {
            let from = u64::from(throttle.sustained.from_ppm);
            above(half_life, from, self.sustained, computes)
        });
        Felt {
            prompt: above(half_life, throttle.from_ppm.into(), self.value, computes),
            decode: above(half_life, 0, self.value, FULL - computes),
            sustained,
        }
    }

    /// So much longer takes a step with so many prompt tokens that begins at `now` and takes `rested` on a rested card \[ppm\].
    pub fn ppm(&self, throttle: &Throttle, now: Time, prompt_tokens: u32, rested: Nanos) -> u32 {
        throttle.ppm(self.felt(throttle, now, prompt_tokens, rested))
    }

    /// The slow-down of decode steps from `now` on.
    pub(crate) fn slowed_down(&self, throttle: &Throttle, now: Time) -> SlowedDown {
        SlowedDown {
            decode_ppm: self.ppm(throttle, now, 0, Nanos(0)),
            until: self.next_change(throttle, now),
        }
    }

    /// When decode steps begin to take less if no step with prompts comes; `None` once they take what they do on a rested card.
    fn next_change(&self, throttle: &Throttle, now: Time) -> Option<Time> {
        let level = self.level(throttle, now);
        if level == 0 {
            return None;
        }
        let nanos = now.since(self.at).0;
        let (mut low, mut high) = (nanos, FORGOTTEN * throttle.half_life_ns);
        // The first time at which the level is another.
        while low + 1 < high {
            let middle = u64::midpoint(low, high);
            if self.level(throttle, Time(self.at.0 + middle)) == level {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(Time(self.at.0 + high))
    }

    /// A step with so many prompt tokens ran from `start` to `end`.
    pub fn add(&mut self, throttle: &Throttle, prompt_tokens: u32, start: Time, end: Time) {
        let Some(half_life) = HalfLife::of(throttle.half_life_ns).filter(|_| prompt_tokens > 0)
        else {
            return;
        };
        let (drawn, nanos) = (throttle.drawn(prompt_tokens), end.since(start).0);
        let after = |half_life: HalfLife, value: u64| {
            half_life.towards(self.left(half_life, value, start), drawn, nanos)
        };
        let sustained = HalfLife::of(throttle.sustained.half_life_ns);
        *self = Self {
            value: after(half_life, self.value),
            sustained: sustained.map_or(0, |half_life| after(half_life, self.sustained)),
            at: end,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const THROTTLE: Throttle = Throttle {
        half_life_ns: 1_000,
        full_tokens: 512,
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

    #[test]
    fn half_is_drawn_in_a_half_life_and_forgotten_in_another() {
        let mut load = Load::default();
        load.add(&THROTTLE, 2_048, Time(5_000), Time(6_000));
        assert_eq!(load.value, FULL / 2);
        let prompt = |load: &Load, now| load.ppm(&THROTTLE, Time(now), 512, Nanos(0));
        assert_eq!(prompt(&load, 6_000), 80_000);
        assert_eq!(load.ppm(&THROTTLE, Time(6_000), 0, Nanos(0)), 32_000);
        // A quarter is left, and three eighths of the full load half-way.
        assert_eq!(prompt(&load, 7_000), 40_000);
        assert_eq!(prompt(&load, 6_500), 60_000);
        // Two more half-lives of full load: 1/4 -> 5/8 -> 13/16.
        load.add(&THROTTLE, 512, Time(7_000), Time(9_000));
        assert_eq!(load.value, FULL * 13 / 16);
        // A short prompt draws an eighth: what is above it is forgotten, half of it in a half-life.
        load.add(&THROTTLE, 64, Time(9_000), Time(10_000));
        assert_eq!(load.value, FULL / 8 + FULL * 11 / 32);
    }

    #[test]
    fn a_long_step_feels_the_load_that_it_began_under_only_at_first() {
        let mut load = Load::default();
        load.add(&THROTTLE, 2_048, Time(5_000), Time(6_000));
        // Half the full load, towards the full one that it draws, or an eighth.
        let ppm = |tokens, nanos| load.ppm(&THROTTLE, Time(6_000), tokens, Nanos(nanos));
        assert_eq!(ppm(512, 1_000), 160_000 * 5 / 8);
        assert_eq!(ppm(64, 1_000), 160_000 * 13 / 32);
        assert_eq!(ppm(512, 10_000_000), 160_000 - 12);
        // A rested card slows down within the step.
        let rested = Load::default().ppm(&THROTTLE, Time(0), 512, Nanos(2_000));
        assert_eq!(rested, 160_000 * 7 / 16);
    }

    #[test]
    fn up_to_its_limit_a_card_keeps_its_clock_for_what_computes() {
        let throttle = Throttle {
            from_ppm: 500_000,
            light_tokens: 100,
            ..THROTTLE
        };
        let mut load = Load::default();
        load.add(&throttle, 512, Time(0), Time(1_000));
        let ppm = |load: &Load, now, tokens| load.ppm(&throttle, Time(now), tokens, Nanos(0));
        assert_eq!(ppm(&load, 1_000, 512), 0);
        // 3/4: half of what can be above it.
        load.add(&throttle, 512, Time(1_000), Time(2_000));
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
        load.add(&throttle, 512, Time(0), Time(10_000));
        let ppm = |load: &Load, now| load.ppm(&throttle, Time(now), 512, Nanos(0));
        assert!((159_000..160_000).contains(&ppm(&load, 10_000)));
        load.add(&throttle, 512, Time(10_000), Time(20_000));
        assert!((179_000..=180_000).contains(&ppm(&load, 20_000)));
        // Half a half-life of the longer average later: 9/16 of the longer, an eighth of what can be above its limit; a 32nd of the shorter.
        let left = ppm(&load, 25_000);
        assert!((9_900..=10_000).contains(&left), "{left}");
        // Without the first there is no second.
        let off = Throttle {
            half_life_ns: 0,
            ..throttle
        };
        assert_eq!(load.ppm(&off, Time(20_000), 512, Nanos(0)), 0);
    }

    #[test]
    fn a_card_without_a_limit_keeps_its_clock() {
        let mut load = Load::default();
        let none = Throttle::default();
        load.add(&none, 2_048, Time(0), Time(1_000_000));
        assert_eq!(load.ppm(&none, Time(1_000_000), 512, Nanos(5)), 0);
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
            load.add(&throttle, tokens, Time(100), Time(100 + length));
            let at = |time: u64| load.ppm(&throttle, Time(time), 0, Nanos(0));
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
