//! A card that lowers its clock under load, within tens of milliseconds.
//!
//! ```text
//!   load  1 ┤        ╭──── prompts           a step under load L takes 1 + L·slow-down as long
//!           │     ╭──╯     ╲__               as on a rested card
//!         0 ┤ ────╯           ╲_____ decode, or nothing
//! ```
//!
//! Prompts keep all the multipliers busy and draw what the board may have at most; the power management then lowers the clock. The load is what the steps of
//! late have drawn: an average that forgets half in each half-life. Decode steps draw little, wait for memory for the most part, and suffer less.
//!
//! A step with prompts draws, too: what counts is the mean over it, from the load that it begins under towards what it draws itself. A short step feels
//! the former, a step of many half-lives the latter, whatever was before.
//!
//! Integers throughout: halving by shifts, linear between two half-lives (at most 6 % off the exponential), and a slow-down of 32
//! levels, so that a decode run has few points at which its steps begin to cost less.
//!
//! **Absent on purpose:** the seconds and minutes in which a card warms up, and neighbours that share its supply.

use model::{Nanos, Time};
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
    /// Steps with prompts that begin take so much longer by it \[ppm\]; by it and by themselves, [`OverStep::ppm`].
    pub prompt_ppm: u32,
    /// The same of steps without, however long.
    pub decode_ppm: u32,
    /// Until then, if no step with prompts comes; `None`: for ever.
    pub until: Option<Time>,
}

/// The mean of the slow-down over a step with prompts: part of that under which it begins, and the rest of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OverStep {
    /// What is left on the average of the load before, in millionths.
    left: u64,
    /// The slow-down by what it draws itself \[ppm\].
    own_ppm: u64,
}

impl OverStep {
    /// The slow-down of the step, if it is `begins_ppm` by the load under which it begins \[ppm\].
    pub(crate) fn ppm(self, begins_ppm: u32) -> u32 {
        ((u64::from(begins_ppm) * self.left + self.own_ppm * (FULL - self.left)) / FULL) as u32
    }
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

    /// What is left of a load on the average over the `nanos` that follow, in millionths of it: the area under [`Throttle::decayed`].
    fn left_on_average(&self, nanos: u64) -> u64 {
        if !self.is_on() || nanos == 0 {
            return FULL;
        }
        let (halvings, rest) = (nanos / self.half_life_ns, nanos % self.half_life_ns);
        // Three quarters in the first half-life, half as much in each that follows: one and a half in all.
        let for_ever = u128::from(FULL) * u128::from(self.half_life_ns) * 3 / 2;
        if halvings >= FORGOTTEN {
            return (for_ever / u128::from(nanos)) as u64;
        }
        let whole = for_ever - (for_ever >> halvings);
        let ends = (FULL >> halvings) + self.decayed(FULL, nanos);
        ((whole + u128::from(rest) * u128::from(ends) / 2) / u128::from(nanos)) as u64
    }

    /// How a step with so many prompt tokens that takes `rested` on a rested card is slowed down, whatever the load under which it begins.
    pub(crate) fn over_step(&self, prompt_tokens: u32, rested: Nanos) -> OverStep {
        OverStep {
            left: self.left_on_average(rested.0),
            own_ppm: u64::from(self.prompt_ppm) * self.drawn(prompt_tokens) / FULL,
        }
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

    /// The same on the average over a step with so many prompt tokens that begins now and takes `rested` on a rested card.
    pub fn share_over(
        &self,
        throttle: &Throttle,
        now: Time,
        prompt_tokens: u32,
        rested: Nanos,
    ) -> f64 {
        if !throttle.is_on() {
            return 0.0;
        }
        let left = throttle.left_on_average(rested.0) as f64 / FULL as f64;
        let own = throttle.drawn(prompt_tokens) as f64 / FULL as f64;
        self.share(throttle, now) * left + own * (1.0 - left)
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

    /// So much longer takes a step with so many prompt tokens that begins at `now` and takes `rested` on a rested card \[ppm\].
    pub fn prompt_ppm(
        &self,
        throttle: &Throttle,
        now: Time,
        prompt_tokens: u32,
        rested: Nanos,
    ) -> u32 {
        let begins_ppm = self.of(throttle, now, throttle.prompt_ppm);
        throttle.over_step(prompt_tokens, rested).ppm(begins_ppm)
    }

    /// So much longer takes a step without prompts that begins at `now` \[ppm\].
    pub fn decode_ppm(&self, throttle: &Throttle, now: Time) -> u32 {
        self.of(throttle, now, throttle.decode_ppm)
    }

    /// What `ppm` under full load are at `now`.
    fn of(&self, throttle: &Throttle, now: Time, ppm: u32) -> u32 {
        (u64::from(ppm) * self.level(throttle, now) / LEVELS) as u32
    }

    /// The slow-down from `now` on.
    pub(crate) fn slowed_down(&self, throttle: &Throttle, now: Time) -> SlowedDown {
        SlowedDown {
            prompt_ppm: self.of(throttle, now, throttle.prompt_ppm),
            decode_ppm: self.decode_ppm(throttle, now),
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
        assert_eq!(
            load.prompt_ppm(&THROTTLE, Time(6_000), 512, Nanos(0)),
            80_000
        );
        assert_eq!(load.decode_ppm(&THROTTLE, Time(6_000)), 32_000);
        // A quarter is left, and three eighths of the full load half-way.
        assert_eq!(
            load.prompt_ppm(&THROTTLE, Time(7_000), 512, Nanos(0)),
            40_000
        );
        assert_eq!(
            load.prompt_ppm(&THROTTLE, Time(6_500), 512, Nanos(0)),
            60_000
        );
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
        // From 1 to 1/2 in a half-life: 3/4 of it on the average; then to 1/4: 9/8 of a half-life in two, 3/2 in all that follow.
        assert_eq!(THROTTLE.left_on_average(1_000), FULL * 3 / 4);
        assert_eq!(THROTTLE.left_on_average(500), FULL * 7 / 8);
        assert_eq!(THROTTLE.left_on_average(2_000), FULL * 9 / 16);
        assert_eq!(THROTTLE.left_on_average(2_500), FULL * 79 / 160);
        assert_eq!(THROTTLE.left_on_average(100_000), FULL * 3 / 200);
        // Half the full load, towards the full one that it draws, or an eighth.
        let ppm = |tokens, nanos| load.prompt_ppm(&THROTTLE, Time(6_000), tokens, Nanos(nanos));
        assert_eq!(ppm(512, 1_000), 160_000 * 5 / 8);
        assert_eq!(ppm(64, 1_000), 160_000 * 13 / 32);
        assert_eq!(ppm(512, 10_000_000), 160_000 - 12);
        // A rested card slows down within the step.
        let rested = Load::default().prompt_ppm(&THROTTLE, Time(0), 512, Nanos(2_000));
        assert_eq!(rested, 160_000 * 7 / 16);
    }

    #[test]
    fn a_card_without_a_limit_keeps_its_clock() {
        let mut load = Load::default();
        load.add(&Throttle::default(), 2_048, Time(0), Time(1_000_000));
        assert_eq!(
            load.prompt_ppm(&Throttle::default(), Time(1_000_000), 512, Nanos(5)),
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
            let at = |time: u64| load.prompt_ppm(&throttle, Time(time), 512, Nanos(0));
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
