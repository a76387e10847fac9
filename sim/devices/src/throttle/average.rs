//! An average that forgets half of what was in each half-life, in integers.
//!
//! What is left runs straight between the [`PARTS`] of a half-life, so that an average that is taken on from step to step hardly differs from one that is
//! taken at once: as if the half-life were at most half a per cent longer.

/// Shares are in millionths.
pub(super) const FULL: u64 = 1_000_000;
/// Half-lives after which nothing is left.
pub(super) const FORGOTTEN: u64 = 20;

/// Parts of a half-life.
const PARTS: usize = 64;
/// One, in [`LEFT`] and [`AREA`].
const ONE: u64 = 1 << 32;
/// What is left of one after each part of a half-life.
const LEFT: [u64; PARTS + 1] = left();
/// Twice the area under it, in parts.
const AREA: [u64; PARTS + 1] = area();

const fn left() -> [u64; PARTS + 1] {
    /// The 64th root of a half, of 2⁶⁴.
    const ROOT: u128 = 18_248_035_989_933_441_396;
    let mut exact = 1_u128 << 63;
    let mut left = [ONE; PARTS + 1];
    let mut part = 1;
    while part <= PARTS {
        exact = (exact * ROOT) >> 64;
        left[part] = ((exact + (1 << 30)) >> 31) as u64;
        part += 1;
    }
    left
}

const fn area() -> [u64; PARTS + 1] {
    let mut area = [0; PARTS + 1];
    let mut part = 0;
    while part < PARTS {
        area[part + 1] = area[part] + LEFT[part] + LEFT[part + 1];
        part += 1;
    }
    area
}

/// The longest half-life \[ns\], more than a minute.
pub(super) const LONGEST: u64 = 1 << 36;

/// The time in which half is forgotten \[ns\]; not 0, and at most [`LONGEST`].
#[derive(Clone, Copy, Debug)]
pub(super) struct HalfLife(u64);

/// A time, as an average sees it.
struct Place {
    /// Half-lives that are over.
    halvings: u64,
    /// Parts of the next that are over.
    part: usize,
    /// How far the next part is, of a half-life.
    into: u64,
    /// What the last half-life has left of one so far.
    left: u64,
}

impl HalfLife {
    /// Of so many nanoseconds, at most [`LONGEST`]; none of 0, which stands for no average.
    pub fn of(nanos: u64) -> Option<Self> {
        (nanos > 0).then_some(Self(nanos.min(LONGEST)))
    }

    fn place(self, nanos: u64) -> Place {
        let (halvings, parts) = (nanos / self.0, nanos % self.0 * PARTS as u64);
        let (part, into) = ((parts / self.0) as usize, parts % self.0);
        // 26 bits and those of the longest half-life.
        let fell = (LEFT[part] - LEFT[part + 1]) * into / self.0;
        Place {
            halvings,
            part,
            into,
            left: LEFT[part] - fell,
        }
    }

    /// What `nanos` leave of `value`.
    pub fn decayed(self, value: u64, nanos: u64) -> u64 {
        let Place { halvings, left, .. } = self.place(nanos);
        if halvings >= FORGOTTEN {
            return 0;
        }
        // 20 bits of millionths and 32 of what is left.
        (value * left / ONE) >> halvings
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
        let Place {
            halvings,
            part,
            into,
            left,
        } = self.place(nanos);
        let half_life = u128::from(self.0);
        // The first half-life has half of it.
        let for_ever = 2 * u128::from(AREA[PARTS]) * half_life;
        let so_far = if halvings >= FORGOTTEN {
            for_ever
        } else {
            let last = u128::from(AREA[part]) * half_life
                + u128::from(into) * u128::from(LEFT[part] + left);
            for_ever - (for_ever >> halvings) + (last >> halvings)
        };
        let mean = (so_far / (2 * PARTS as u128 * u128::from(nanos))) as u64;
        mean * FULL / ONE
    }

    /// After how many nanoseconds no more than this is left of what was: where [`HalfLife::decayed`] meets it.
    fn until(self, left: u64) -> u64 {
        let halvings = (0..FORGOTTEN).find(|halvings| left > FULL >> (halvings + 1));
        let Some(halvings) = halvings else {
            return FORGOTTEN * self.0;
        };
        let left = ((left * ONE / FULL) << halvings).min(ONE);
        let part = LEFT[1..PARTS].partition_point(|after| *after >= left);
        let (above, below) = (LEFT[part], LEFT[part + 1]);
        let into = u128::from(self.0) * u128::from(above - left) / u128::from(above - below);
        let parts = (part as u128 * u128::from(self.0) + into) / PARTS as u128;
        halvings * self.0 + parts as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HALF: HalfLife = HalfLife(1_000);

    #[test]
    fn half_is_left_after_a_half_life_however_often_it_is_asked() {
        for (nanos, left) in [
            (0, 1.0),
            (500, 0.5_f64.sqrt()),
            (1_000, 0.5),
            (2_500, 0.5_f64.powf(2.5)),
        ] {
            let decayed = HALF.decayed(FULL, nanos) as f64;
            assert!(
                (decayed / FULL as f64 - left).abs() < 2e-5,
                "{nanos}: {decayed}"
            );
        }
        // In turns that are no parts of a half-life.
        let half = HalfLife(1_000_000);
        let often = (0..1_000).fold(FULL, |left, _| half.decayed(left, 1_000)) as f64;
        assert!((often / FULL as f64 - 0.5).abs() < 3e-3, "{often}");
    }

    #[test]
    fn a_load_that_is_forgotten_is_felt_by_its_mean() {
        for nanos in [1, 500, 1_000, 2_500, 100_000] {
            let half_lives = nanos as f64 / 1_000.0;
            let mean = (1.0 - 0.5_f64.powf(half_lives)) / (2.0_f64.ln() * half_lives);
            let felt = HALF.above_on_average(0, FULL, 0, nanos) as f64 / FULL as f64;
            assert!((felt / mean - 1.0).abs() < 1e-4, "{nanos}: {felt} {mean}");
        }
        assert_eq!(HALF.above_on_average(0, FULL, 0, 0), FULL);
    }

    #[test]
    fn what_is_below_the_limit_is_not_felt() {
        let above = |value, drawn, nanos| {
            HALF.above_on_average(FULL / 2, value, drawn, nanos) as f64 / FULL as f64
        };
        let near = |found: f64, want: f64| assert!((found - want).abs() < 1e-4, "{found} {want}");
        // Below it all the time; above it all the time, by 1/2 at first and 1/4 in the end.
        near(above(FULL / 4, FULL / 2, 5_000), 0.0);
        near(above(FULL, FULL / 2, 1_000), 1.0 / 2.0_f64.ln() / 2.0);
        // It rises to the limit in one half-life, and to 3/4 in the next.
        near(above(0, FULL, 1_000), 0.0);
        near(
            above(0, FULL, 2_000),
            (1.0 - 1.0 / 2.0_f64.ln() / 2.0) / 2.0,
        );
        // It falls to the limit in one half-life, a tenth of the time.
        near(above(FULL, 0, 10_000), (1.0 / 2.0_f64.ln() - 1.0) / 10.0);
        near(above(FULL, 0, 0), 1.0);
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
