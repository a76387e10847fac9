//! A card that lowers its clock under load, within tens of milliseconds.
//!
//! ```text
//!   load  1 ┤        ╭──── prompts           a step that begins at load L takes 1 + L·slow-down as long
//!           │     ╭──╯     ╲__               as on a rested card
//!         0 ┤ ────╯           ╲_____ decode, or nothing
//! ```
//!
//! Prompts keep all the multipliers busy and draw what the board may have at most; the power management then lowers the clock. The load is what the steps of
//! late have drawn: an average that forgets half in each half-life. Decode steps draw little, wait for memory for the most part, and suffer less.
//!
//! Integers throughout: halving by shifts, linear between two half-lives (at most 6 % off the exponential), and a slow-down of 32
//! levels, so that a decode run has few points at which its steps begin to cost less.
//!
//! **Absent on purpose:** the seconds and minutes in which a card warms up, and neighbours that share its supply.

use model::Time;
use serde::Deserialize;

/// How a card slows down under load. The default: not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// In so long the average forgets half of what was drawn \[ns\]; 0 for a card that keeps its clock.
    pub half_life_ns: u64,
    /// Prompt tokens of a step that draws all there is; one with fewer draws in proportion.
    pub full_tokens: u32,
    /// So much longer takes a step with prompts that begins under full load \[ppm\].
    pub prompt_ppm: u32,
    /// So much longer takes a step without.
    pub decode_ppm: u32,
}

/// Full load.
const FULL: u64 = 1_000_000;
/// Levels of the slow-down.
const LEVELS: u64 = 32;
/// Half-lives after which nothing is left.
const FORGOTTEN: u64 = 20;

/// What a card has drawn of late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// In millionths, at `at`.
    value: u64,
    at: Time,
}

/// A slow-down that holds for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlowedDown {
    /// Steps with prompts that begin take so much longer \[ppm\].
    pub prompt_ppm: u32,
    /// The same of steps without.
    pub decode_ppm: u32,
    /// Until then, if no step with prompts comes; `None`: for ever.
    pub until: Option<Time>,
}

impl Throttle {
    fn is_on(&self) -> bool {
        self.half_life_ns > 0
    }

    /// What `nanos` leave of `value`.
    fn decayed(&self, value: u64, nanos: u64) -> u64 {
        let (halvings, rest) = (nanos / self.half_life_ns, nanos % self.half_life_ns);
        if halvings >= FORGOTTEN {
            return 0;
        }
        let (whole, double) = (
            u128::from(value >> halvings),
            2 * u128::from(self.half_life_ns),
        );
        (whole * (double - u128::from(rest)) / double) as u64
    }

    /// What a step with so many prompt tokens draws.
    fn drawn(&self, prompt_tokens: u32) -> u64 {
        let full = u64::from(self.full_tokens.max(1));
        (FULL * u64::from(prompt_tokens) / full).min(FULL)
    }
}

impl Load {
    /// The load at `now`, as a share of the full one.
    pub fn share(&self, throttle: &Throttle, now: Time) -> f64 {
        self.value(throttle, now) as f64 / FULL as f64
    }

    fn value(&self, throttle: &Throttle, now: Time) -> u64 {
        if throttle.is_on() {
            throttle.decayed(self.value, now.since(self.at).0)
        } else {
            0
        }
    }

    fn level(&self, throttle: &Throttle, now: Time) -> u64 {
        (self.value(throttle, now) * LEVELS + FULL / 2) / FULL
    }

    /// So much longer takes a step that begins at `now` \[ppm\].
    pub fn slow_down_ppm(&self, throttle: &Throttle, now: Time, prompts: bool) -> u32 {
        let most = if prompts {
            throttle.prompt_ppm
        } else {
            throttle.decode_ppm
        };
        (u64::from(most) * self.level(throttle, now) / LEVELS) as u32
    }

    /// The slow-down from `now` on.
    pub(crate) fn slowed_down(&self, throttle: &Throttle, now: Time) -> SlowedDown {
        SlowedDown {
            prompt_ppm: self.slow_down_ppm(throttle, now, true),
            decode_ppm: self.slow_down_ppm(throttle, now, false),
            until: self.next_change(throttle, now),
        }
    }

    /// When the slow-down becomes less if no step with prompts comes; `None` once there is none.
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
        if !throttle.is_on() || prompt_tokens == 0 {
            return;
        }
        let (before, drawn) = (self.value(throttle, start), throttle.drawn(prompt_tokens));
        let nanos = end.since(start).0;
        // What differs from what is drawn now is forgotten.
        let value = if before > drawn {
            drawn + throttle.decayed(before - drawn, nanos)
        } else {
            drawn - throttle.decayed(drawn - before, nanos)
        };
        *self = Self { value, at: end };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const THROTTLE: Throttle = Throttle {
        half_life_ns: 1_000,
        full_tokens: 512,
        prompt_ppm: 160_000,
        decode_ppm: 64_000,
    };

    #[test]
    fn half_is_drawn_in_a_half_life_and_forgotten_in_another() {
        let mut load = Load::default();
        load.add(&THROTTLE, 2_048, Time(5_000), Time(6_000));
        assert_eq!(load.value, FULL / 2);
        assert_eq!(load.slow_down_ppm(&THROTTLE, Time(6_000), true), 80_000);
        assert_eq!(load.slow_down_ppm(&THROTTLE, Time(6_000), false), 32_000);
        // A quarter is left, and three eighths of the full load half-way.
        assert_eq!(load.slow_down_ppm(&THROTTLE, Time(7_000), true), 40_000);
        assert_eq!(load.slow_down_ppm(&THROTTLE, Time(6_500), true), 60_000);
        // Two more half-lives of full load: 1/4 -> 5/8 -> 13/16.
        load.add(&THROTTLE, 512, Time(7_000), Time(9_000));
        assert_eq!(load.value, FULL * 13 / 16);
        // A short prompt draws an eighth: what is above it is forgotten, half of it in a half-life.
        load.add(&THROTTLE, 64, Time(9_000), Time(10_000));
        assert_eq!(load.value, FULL / 8 + FULL * 11 / 32);
    }

    #[test]
    fn a_card_without_a_limit_keeps_its_clock() {
        let mut load = Load::default();
        load.add(&Throttle::default(), 2_048, Time(0), Time(1_000_000));
        assert_eq!(
            load.slow_down_ppm(&Throttle::default(), Time(1_000_000), true),
            0
        );
        assert_eq!(
            load.next_change(&Throttle::default(), Time(1_000_000)),
            None
        );
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
            let at = |time: u64| load.slow_down_ppm(&throttle, Time(time), true);
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
