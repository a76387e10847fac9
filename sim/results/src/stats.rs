//! The statistics that results use, each defined once.
//!
//! **Percentile** here is the *nearest rank*: of `n` sorted samples, the `p` quantile is the one at rank
//! `ceil(p * n)`, counted from 1. It is always a value that occurred, never an interpolation. The
//! original evaluation of Djinn indexed differently; [`seed_p50`] and [`seed_p99`] are its definitions,
//! kept apart so that its numbers can be compared like with like.
//!
//! A mean of integers is rounded to the nearest integer, ties upwards, so that results stay integers.

/// A P99 of fewer samples rests on the ten slowest or less, and is marked.
pub const P99_SAMPLES_MIN: usize = 1_000;

/// A quantile as an exact fraction, so that a rank is never a matter of rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantile {
    part: u64,
    whole: u64,
}

impl Quantile {
    /// The median.
    pub const P50: Self = Self {
        part: 50,
        whole: 100,
    };
    /// 90 %.
    pub const P90: Self = Self {
        part: 90,
        whole: 100,
    };
    /// 99 %.
    pub const P99: Self = Self {
        part: 99,
        whole: 100,
    };
    /// 99.9 %.
    pub const P999: Self = Self {
        part: 999,
        whole: 1_000,
    };

    /// `part` of `whole`: `Quantile::new(999, 1000)` is 99.9 %.
    ///
    /// # Panics
    /// If `whole` is zero or less than `part`.
    pub const fn new(part: u64, whole: u64) -> Self {
        assert!(
            whole > 0 && part <= whole,
            "a quantile lies between 0 and 1"
        );
        Self { part, whole }
    }

    /// Index (from 0) of this quantile among `n` sorted samples: rank `ceil(p * n)`, at least 1.
    fn index(self, n: usize) -> usize {
        let rank = (n as u128 * u128::from(self.part)).div_ceil(u128::from(self.whole)) as usize;
        rank.max(1) - 1
    }

    /// The nearest-rank quantile of samples sorted upwards; `None` of none.
    pub fn of_sorted<T: Copy + PartialOrd>(self, sorted: &[T]) -> Option<T> {
        debug_assert!(sorted.is_sorted(), "a quantile is taken of sorted samples");
        sorted.get(self.index(sorted.len())).copied()
    }

    /// The nearest-rank quantile in linear time, for resampling; reorders `samples`. `None` of none.
    pub fn of_unsorted(self, samples: &mut [u64]) -> Option<u64> {
        if samples.is_empty() {
            return None;
        }
        let index = self.index(samples.len());
        Some(*samples.select_nth_unstable(index).1)
    }
}

/// Mean rounded to the nearest integer, ties upwards; `None` of none.
pub fn mean(samples: &[u64]) -> Option<u64> {
    let total: u128 = samples.iter().map(|&x| u128::from(x)).sum();
    mean_of_total(total, samples.len() as u64)
}

/// [`mean`] from a running total of `count` samples.
pub fn mean_of_total(total: u128, count: u64) -> Option<u64> {
    let count = u128::from(count);
    (count > 0).then(|| ((2 * total + count) / (2 * count)) as u64)
}

/// The median as the original evaluation took it: `sorted[n // 2]`, the upper one of an even count.
///
/// Source: `run_poisson_experiment.py` of the original evaluation. `None` of none.
pub fn seed_p50(sorted: &[u64]) -> Option<u64> {
    sorted.get(sorted.len() / 2).copied()
}

/// The P99 as the original evaluation took it: `sorted[min(int(0.99 n), n - 1)]`. Of 160 samples that
/// is the second largest, of 80 the maximum.
///
/// Source: `run_poisson_experiment.py` of the original evaluation. `None` of none.
pub fn seed_p99(sorted: &[u64]) -> Option<u64> {
    let n = sorted.len();
    // Python's `int(.99 * n)` in double precision, which equals the exact floor for every n in reach:
    // the product of an n that is a multiple of 100 rounds to the exact integer.
    let index = ((0.99 * n as f64) as usize).min(n.saturating_sub(1));
    sorted.get(index).copied()
}

/// Mean, percentiles and extremes of one quantity, with the number of samples behind them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Number of samples.
    pub count: u64,
    /// Mean, rounded to the nearest integer.
    pub mean: Option<u64>,
    /// Median.
    pub p50: Option<u64>,
    /// 90 % quantile.
    pub p90: Option<u64>,
    /// 99 % quantile.
    pub p99: Option<u64>,
    /// 99.9 % quantile.
    pub p999: Option<u64>,
    /// Largest sample.
    pub max: Option<u64>,
}

impl Summary {
    /// Sorts the samples and reads everything off.
    pub fn of(mut samples: Vec<u64>) -> Self {
        samples.sort_unstable();
        Self {
            count: samples.len() as u64,
            mean: mean(&samples),
            p50: Quantile::P50.of_sorted(&samples),
            p90: Quantile::P90.of_sorted(&samples),
            p99: Quantile::P99.of_sorted(&samples),
            p999: Quantile::P999.of_sorted(&samples),
            max: samples.last().copied(),
        }
    }

    /// Whether the P99 exists and rests on fewer than [`P99_SAMPLES_MIN`] samples.
    pub fn p99_marked(&self) -> bool {
        self.count > 0 && self.count < P99_SAMPLES_MIN as u64
    }
}

/// Deterministic random numbers for resampling: output `i` is a hash of `(seed, i)`, so a draw depends on
/// nothing but its number.
///
/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
#[derive(Clone, Copy, Debug)]
pub struct Draws {
    state: u64,
}

impl Draws {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An index below `n`; the bias of at most n / 2^64 is of no account for resampling.
    ///
    /// # Panics
    /// If `n` is zero.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "nothing to draw from");
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }
}

/// An interval around an estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// The central 95 % of bootstrap estimates (percentile bootstrap: Efron 1979), nearest rank at 2.5 %
    /// and 97.5 %. `None` of none.
    pub fn central_95(mut estimates: Vec<f64>) -> Option<Self> {
        estimates.sort_unstable_by(f64::total_cmp);
        let at = |q: Quantile| estimates.get(q.index(estimates.len())).copied();
        Some(Self {
            low: at(Quantile::new(25, 1_000))?,
            high: at(Quantile::new(975, 1_000))?,
        })
    }

    /// Whether `value` lies in it, ends included.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// Mean of `values` and its 95 % interval from `resamples` draws of as many of them, with replacement; `None` of none.
///
/// A percentile interval of few values is a little too narrow (of ten, it covers the truth about nine times in ten): read a difference that
/// it only just shows as none.
pub fn bootstrap_mean(
    values: &[f64],
    resamples: usize,
    mut draws: Draws,
) -> Option<(f64, Interval)> {
    let mean = |sum: f64| sum / values.len() as f64;
    let estimates = (0..resamples).map(|_| {
        let drawn = (0..values.len()).map(|_| values[draws.below(values.len())]);
        mean(drawn.sum())
    });
    if values.is_empty() {
        return None;
    }
    let interval = Interval::central_95(estimates.collect())?;
    Some((mean(values.iter().sum()), interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nearest_rank_quantile_is_a_sample_and_never_in_between() {
        let samples: Vec<u64> = (1..=10).map(|x| x * 10).collect();
        // Ranks: ceil(.5 * 10) = 5, ceil(.9 * 10) = 9, ceil(.99 * 10) = 10.
        assert_eq!(Quantile::P50.of_sorted(&samples), Some(50));
        assert_eq!(Quantile::P90.of_sorted(&samples), Some(90));
        assert_eq!(Quantile::P99.of_sorted(&samples), Some(100));
        assert_eq!(Quantile::new(0, 1).of_sorted(&samples), Some(10));
        assert_eq!(Quantile::P50.of_sorted::<u64>(&[]), None);
    }

    #[test]
    fn an_exact_rank_is_not_rounded_up() {
        // .99 * 100 = 99 exactly, though 0.99 * 100 in doubles could be off by one ulp: the 99th of 100.
        let samples: Vec<u64> = (1..=100).collect();
        assert_eq!(Quantile::P99.of_sorted(&samples), Some(99));
        // .999 * 1000 = 999.
        let samples: Vec<u64> = (1..=1_000).collect();
        assert_eq!(Quantile::P999.of_sorted(&samples), Some(999));
    }

    #[test]
    fn selection_and_sorting_agree() {
        let mut draws = Draws::new(7);
        for n in 1..200 {
            let mut samples: Vec<u64> = (0..n).map(|_| draws.bits() % 50).collect();
            let mut sorted = samples.clone();
            sorted.sort_unstable();
            for q in [Quantile::P50, Quantile::P90, Quantile::P99, Quantile::P999] {
                assert_eq!(q.of_unsorted(&mut samples), q.of_sorted(&sorted), "n = {n}");
            }
        }
    }

    #[test]
    fn the_original_p99_of_160_is_the_second_largest_and_of_80_the_largest() {
        let samples: Vec<u64> = (0..160).collect();
        // int(.99 * 160) = int(158.4) = 158: the second largest of 0..=159.
        assert_eq!(seed_p99(&samples), Some(158));
        // int(.99 * 80) = int(79.2) = 79: the largest of 0..=79.
        assert_eq!(seed_p99(&samples[..80]), Some(79));
        // 116 operations: int(114.84) = 114, again the second largest.
        assert_eq!(seed_p99(&samples[..116]), Some(114));
        // int(.99 * 100) = 99: the maximum, where the nearest rank takes the 99th.
        assert_eq!(seed_p99(&samples[..100]), Some(99));
        assert_eq!(seed_p99(&[]), None);
    }

    #[test]
    fn the_original_median_is_the_upper_one_of_an_even_count() {
        assert_eq!(seed_p50(&[1, 2, 3, 4]), Some(3));
        assert_eq!(Quantile::P50.of_sorted(&[1, 2, 3, 4]), Some(2));
        assert_eq!(seed_p50(&[5]), Some(5));
    }

    #[test]
    fn a_mean_rounds_to_the_nearest_integer() {
        assert_eq!(mean(&[1, 2]), Some(2)); // 1.5, ties upwards
        assert_eq!(mean(&[1, 1, 2]), Some(1)); // 1.33
        assert_eq!(mean(&[u64::MAX, u64::MAX]), Some(u64::MAX));
        assert_eq!(mean(&[]), None);
    }

    #[test]
    fn a_p99_of_few_samples_is_marked() {
        assert!(Summary::of(vec![1; 999]).p99_marked());
        assert!(!Summary::of(vec![1; 1_000]).p99_marked());
        assert!(!Summary::of(Vec::new()).p99_marked());
    }

    #[test]
    fn draws_follow_the_published_sequence() {
        // The first outputs of SplitMix64 from state 0, as in the reference implementation.
        let mut draws = Draws::new(0);
        assert_eq!(draws.bits(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(draws.bits(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn a_central_interval_drops_a_fortieth_on_each_side() {
        let estimates: Vec<f64> = (1..=1_000).rev().map(f64::from).collect();
        let interval = Interval::central_95(estimates).unwrap();
        // Ranks 25 and 975 of 1,000.
        assert!((interval.low - 25.0).abs() < 1e-9 && (interval.high - 975.0).abs() < 1e-9);
        assert!(interval.contains(500.0) && !interval.contains(0.0));
    }
}
