//! Steps whose cost grows by a constant, added up in closed form.
//!
//! Step `j` of a run costs `a + b·j` picoseconds, times a slow-down; it is rounded down to a nanosecond once, after the
//! product: `floor((a + b·j) · num / den)`. Their sum over `n` steps is a sum of floors, which takes as many divisions as
//! Euclid's algorithm (at most some 40), not `n`. How many steps end by some time is found by a guess from the real-valued sum,
//! corrected with exact sums: the floating-point guess affects speed, never the result.

use model::Nanos;

/// Slow-down of a step by copies, and the change from picoseconds to nanoseconds: a fraction in lowest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowDown {
    num: u64,
    den: u64,
}

impl SlowDown {
    /// No slow-down.
    pub const NONE: Self = Self { num: 1, den: 1_000 };

    /// Steps take `ppm` parts per million longer.
    pub fn ppm(ppm: u32) -> Self {
        let (num, den) = (1_000_000 + u64::from(ppm), 1_000_000_000);
        let divisor = gcd(num, den);
        Self {
            num: num / divisor,
            den: den / divisor,
        }
    }

    /// Time of a step that costs so many picoseconds, rounded down.
    pub fn nanos(self, ps: u64) -> Nanos {
        Nanos((u128::from(ps) * u128::from(self.num) / u128::from(self.den)) as u64)
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Steps of growing cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ramp {
    /// Cost of the first step, in nanoseconds times `den`.
    first: u128,
    /// Growth per step, in the same unit.
    growth: u128,
    den: u64,
}

impl Ramp {
    /// Steps that cost `first_ps`, `first_ps + growth_ps`, …, slowed down.
    pub fn new(first_ps: u64, growth_ps: u64, slow_down: SlowDown) -> Self {
        let num = u128::from(slow_down.num);
        Self {
            first: u128::from(first_ps) * num,
            growth: u128::from(growth_ps) * num,
            den: slow_down.den,
        }
    }

    /// The same steps without the first `steps`.
    #[must_use]
    pub fn skip(self, steps: u32) -> Self {
        Self {
            first: self.first + self.growth * u128::from(steps),
            ..self
        }
    }

    /// Time of step `step`, from 0 \[ns\].
    pub fn step(&self, step: u32) -> u64 {
        narrow((self.first + self.growth * u128::from(step)) / u128::from(self.den))
    }

    /// Time of the first `steps` steps \[ns\], saturating.
    pub fn sum(&self, steps: u32) -> u64 {
        if steps == 1 {
            return self.step(0);
        }
        narrow(floor_sum(steps, self.den, self.growth, self.first))
    }

    /// How many of the first `steps` steps are over `after` nanoseconds after the beginning.
    pub fn over(&self, steps: u32, after: u64) -> u32 {
        let mut count = self.guess(after).min(steps);
        let mut sum = self.sum(count);
        // The guess is rarely off by more than one; should it be, halve the rest instead of walking.
        for _ in 0..4 {
            if sum > after {
                count -= 1;
                sum -= self.step(count);
            } else if count < steps && sum + self.step(count) <= after {
                sum += self.step(count);
                count += 1;
            } else {
                return count;
            }
        }
        let (mut low, mut high) = if sum > after {
            (0, count - 1)
        } else {
            (count, steps)
        };
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.sum(middle) <= after {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        low
    }

    /// How many of the first `steps` steps begin earlier than `after` nanoseconds after the beginning.
    pub fn begun(&self, steps: u32, after: u64) -> u32 {
        match after {
            0 => 0,
            // Step j begins when j steps are over.
            _ => self.over(steps, after - 1).saturating_add(1).min(steps),
        }
    }

    /// Steps that `after` nanoseconds hold if no step were rounded down, about.
    fn guess(&self, after: u64) -> u32 {
        let (first, growth, den) = (self.first as f64, self.growth as f64, self.den as f64);
        // (growth/2) n² + linear·n = after·den, where rounding takes half a nanosecond from a step on average.
        let linear = (first - growth / 2.0 - den / 2.0).max(1.0);
        let room = after as f64 * den;
        // The stable form of the root; it is right for growth = 0 too.
        (2.0 * room / (linear + (linear * linear + 2.0 * growth * room).sqrt())) as u32
    }
}

fn narrow(nanos: u128) -> u64 {
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

/// Σ over j < n of floor((growth·j + first) / den), for den ≤ 10^9.
///
/// Whole parts are taken out; what remains counts lattice points under a line, and swapping the axes
/// turns (growth, den) into (den mod growth, growth), as in Euclid's algorithm.
fn floor_sum(n: u32, den: u64, growth: u128, first: u128) -> u128 {
    let wide = u128::from(den);
    let mut count = u64::from(n);
    let mut total =
        u128::from(triangle(count)) * (growth / wide) + u128::from(count) * (first / wide);
    // Below den ≤ 10^9, and n < 2^32: every product fits 64 bits.
    let (mut growth, mut first, mut den) = ((growth % wide) as u64, (first % wide) as u64, den);
    loop {
        let top = growth * count + first;
        if top < den {
            return total;
        }
        count = top / den;
        (growth, den, first) = (den, growth, top % den);
        total += u128::from(triangle(count)) * u128::from(growth / den)
            + u128::from(count) * u128::from(first / den);
        growth %= den;
        first %= den;
    }
}

/// 0 + 1 + … + (n - 1).
fn triangle(n: u64) -> u64 {
    if n.is_multiple_of(2) {
        n / 2 * n.saturating_sub(1)
    } else {
        n * ((n - 1) / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_step_is_rounded_down_by_itself() {
        let ramp = Ramp::new(1_500, 700, SlowDown::NONE);
        // 1.5, 2.2, 2.9, 3.6 ns: 1 + 2 + 2 + 3 = 8, not floor(10.2).
        assert_eq!(ramp.sum(4), 8);
        assert_eq!((ramp.sum(0), ramp.step(3)), (0, 3));
    }

    #[test]
    fn a_slow_down_is_applied_before_rounding() {
        // 1.999 ns x 1.07 = 2.13893 ns; rounded first it would be 1.07.
        assert_eq!(Ramp::new(1_999, 0, SlowDown::ppm(70_000)).step(0), 2);
        assert_eq!(SlowDown::ppm(0), SlowDown::NONE);
    }

    #[test]
    fn a_step_that_begins_at_the_time_has_not_begun_before_it() {
        let ramp = Ramp::new(10_000, 0, SlowDown::NONE);
        // Steps of 10 ns begin at 0, 10, 20, 30 and are over at 10, 20, 30, 40.
        let at = |after| (ramp.begun(4, after), ramp.over(4, after));
        assert_eq!(
            [at(0), at(1), at(10), at(11), at(20), at(99)],
            [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (4, 4)]
        );
    }

    #[test]
    fn a_million_steps_add_up_to_the_real_sum_less_their_roundings() {
        let ramp = Ramp::new(5_000_000_123, 116_765, SlowDown::ppm(70_000));
        let n = 1_000_000_u128;
        // The real sum is 1.07 x (n x 5,000,000.123 + n(n - 1)/2 x 116.765) ns; each of 10^6 roundings takes less than 1 ns.
        let real = (n * 5_000_000_123 + n * (n - 1) / 2 * 116_765) * 107 / 100_000;
        let sum = u128::from(ramp.sum(1_000_000));
        assert!(sum <= real && real - sum < n, "{sum} against {real}");
    }

    proptest! {
        #[test]
        fn sums_and_their_inverse_equal_plain_loops(
            first in 0_u64..60_000_000,
            growth in prop_oneof![Just(0), 0_u64..3_000, 0_u64..40_000_000],
            ppm in prop_oneof![Just(0), Just(70_000), Just(80_000), 0_u32..2_000_000],
            steps in 0_u32..300,
            skip in 0_u32..20,
            share in 0.0_f64..1.2,
        ) {
            let plain = |step: u32| {
                let ps = u128::from(first) + u128::from(growth) * u128::from(step);
                (ps * (1_000_000 + u128::from(ppm)) / 1_000_000_000) as u64
            };
            let ramp = Ramp::new(first, growth, SlowDown::ppm(ppm)).skip(skip);
            let costs: Vec<u64> = (0..steps).map(|step| plain(step + skip)).collect();
            let total: u64 = costs.iter().sum();
            prop_assert_eq!(ramp.sum(steps), total);

            let mut ends = Vec::new();
            let mut clock = 0;
            for cost in &costs {
                clock += cost;
                ends.push(clock);
            }
            let picked = ends.get(steps as usize / 2).copied().unwrap_or(0);
            for after in [(total as f64 * share) as u64, picked, picked + 1, picked.saturating_sub(1)] {
                let over = ends.iter().filter(|end| **end <= after).count() as u32;
                prop_assert_eq!(ramp.over(steps, after), over, "over after {}", after);
                let begun = ends.iter().zip(&costs).filter(|(end, cost)| **end - **cost < after).count() as u32;
                prop_assert_eq!(ramp.begun(steps, after), begun, "begun before {}", after);
            }
        }
    }
}
