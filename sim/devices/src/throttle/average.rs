//! An average that forgets half of what was in each half-life, in integers.
//!
//! Halving by shifts, linear between two half-lives: at most 6 % off the exponential.

/// Shares are in millionths.
pub(super) const FULL: u64 = 1_000_000;
/// Half-lives after which nothing is left.
pub(super) const FORGOTTEN: u64 = 20;

/// The time in which half is forgotten \[ns\]; not 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct HalfLife(u64);

impl HalfLife {
    /// Of so many nanoseconds; none of 0, which stands for no average.
    pub fn of(nanos: u64) -> Option<Self> {
        (nanos > 0).then_some(Self(nanos))
    }

    /// What `nanos` leave of `value`.
    pub fn decayed(self, value: u64, nanos: u64) -> u64 {
        let (halvings, rest) = (nanos / self.0, nanos % self.0);
        if halvings >= FORGOTTEN {
            return 0;
        }
        let (whole, double) = (u128::from(value >> halvings), 2 * u128::from(self.0));
        (whole * (double - u128::from(rest)) / double) as u64
    }

    /// The average after `nanos` in which `drawn` was drawn, if it was `value` before.
    pub fn towards(self, value: u64, drawn: u64, nanos: u64) -> u64 {
        // What differs from what is drawn now is forgotten.
        if value > drawn {
            drawn + self.decayed(value - drawn, nanos)
        } else {
            drawn - self.decayed(drawn - value, nanos)
        }
    }

    /// The mean over the `nanos` that follow of what is above `from`, as a share of what can be, where `drawn` is drawn and the average was `value`.
    pub fn above_on_average(self, from: u64, value: u64, drawn: u64, nanos: u64) -> u64 {
        let share = |above: u64| above * FULL / FULL.saturating_sub(from).max(1);
        if nanos == 0 {
            return share(value.saturating_sub(from));
        }
        // It is above from `begins` to `ends`.
        let (begins, ends) = match (value > from, drawn > from) {
            (true, true) => (0, nanos),
            (false, false) => return 0,
            (true, false) => (0, self.until((from - drawn) * FULL / (value - drawn))),
            (false, true) => (self.until((drawn - from) * FULL / (drawn - value)), nanos),
        };
        let (begins, ends) = (begins.min(nanos), ends.min(nanos));
        let area = |until: u64| {
            let above = i128::from(self.on_average(value, drawn, until)) - i128::from(from);
            above * i128::from(until)
        };
        let mean = (area(ends) - area(begins)).max(0) / i128::from(nanos);
        share(mean as u64)
    }

    /// The mean of [`HalfLife::towards`] over `nanos`.
    fn on_average(self, value: u64, drawn: u64, nanos: u64) -> u64 {
        let left = self.left_on_average(nanos);
        (value * left + drawn * (FULL - left)) / FULL
    }

    /// What is left on the average over the `nanos` that follow: the area under [`HalfLife::decayed`].
    fn left_on_average(self, nanos: u64) -> u64 {
        if nanos == 0 {
            return FULL;
        }
        let (halvings, rest) = (nanos / self.0, nanos % self.0);
        // Three quarters in the first half-life, half as much in each that follows: one and a half in all.
        let for_ever = u128::from(FULL) * u128::from(self.0) * 3 / 2;
        if halvings >= FORGOTTEN {
            return (for_ever / u128::from(nanos)) as u64;
        }
        let whole = for_ever - (for_ever >> halvings);
        let ends = (FULL >> halvings) + self.decayed(FULL, nanos);
        ((whole + u128::from(rest) * u128::from(ends) / 2) / u128::from(nanos)) as u64
    }

    /// After how many nanoseconds no more than this is left of what was: where [`HalfLife::decayed`] meets it.
    fn until(self, left: u64) -> u64 {
        let halvings = (0..FORGOTTEN).find(|halvings| left > FULL >> (halvings + 1));
        let Some(halvings) = halvings else {
            return FORGOTTEN * self.0;
        };
        let whole = u128::from(FULL >> halvings);
        let short = whole.saturating_sub(u128::from(left));
        halvings * self.0 + (2 * u128::from(self.0) * short / whole) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HALF: HalfLife = HalfLife(1_000);

    #[test]
    fn a_load_that_is_forgotten_is_felt_by_its_mean() {
        // From 1 to 1/2 in a half-life: 3/4 of it on the average; then to 1/4: 9/8 of a half-life in two, 3/2 in all that follow.
        for (nanos, mean) in [
            (0, FULL),
            (500, FULL * 7 / 8),
            (1_000, FULL * 3 / 4),
            (2_000, FULL * 9 / 16),
            (2_500, FULL * 79 / 160),
            (100_000, FULL * 3 / 200),
        ] {
            assert_eq!(HALF.above_on_average(0, FULL, 0, nanos), mean, "{nanos}");
        }
    }

    #[test]
    fn what_is_below_the_limit_is_not_felt() {
        let above = |value, drawn, nanos| HALF.above_on_average(FULL / 2, value, drawn, nanos);
        // Below it all the time, and above it all the time: 7/8 on the average are three quarters of what can be above.
        assert_eq!(above(FULL / 4, FULL / 2, 5_000), 0);
        assert_eq!(above(FULL, FULL / 2, 1_000), FULL * 3 / 4);
        // It rises to the limit in one half-life, and to 3/4 in the next: 5/8 on the average over that, a quarter of what can be, half of the time.
        assert_eq!(above(0, FULL, 1_000), 0);
        assert_eq!(above(0, FULL, 2_000), FULL / 8);
        // It falls to the limit in one half-life: half of what can be on the average over that, a tenth of the time.
        assert_eq!(above(FULL, 0, 10_000), FULL / 20);
        assert_eq!(above(FULL, 0, 0), FULL);
    }

    proptest! {
        #[test]
        fn the_mean_above_a_limit_is_that_of_many_moments(
            from in 0_u64..900_000,
            value in 0..=FULL,
            drawn in 0..=FULL,
            nanos in 1_u64..20_000_000,
        ) {
            const MOMENTS: u64 = 4_000;
            let half = HalfLife(1_000_000);
            let at = |moment: u64| half.towards(value, drawn, (2 * moment + 1) * nanos / (2 * MOMENTS));
            let sum: u64 = (0..MOMENTS).map(|moment| at(moment).saturating_sub(from)).sum();
            let mean = sum as f64 / MOMENTS as f64 / (FULL - from) as f64 * FULL as f64;
            let found = half.above_on_average(from, value, drawn, nanos) as f64;
            prop_assert!((found - mean).abs() < 50.0, "{} {}", found, mean);
        }
    }
}
