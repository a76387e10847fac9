//! Values of one quantity, in memory that is bounded.
//!
//! Up to [`EXACT_MAX`] values are kept as they are. Beyond, each falls to the nearest number below it that differs
//! in the first 12 significant bits: at most 0.05 % less than it was, whole numbers below 4,096 and zero exactly. Some ten
//! thousand such numbers span all that occurs, so memory stays constant however long the trace is.

use std::collections::BTreeMap;

/// Values kept exactly: 8 MiB per quantity.
pub const EXACT_MAX: usize = 1 << 20;

/// Bits of a number that are dropped once a sample is binned: of 52 in the mantissa, 11 stay.
const DROPPED_BITS: u32 = 41;

/// Values that are finite and at least 0, in the order of their arrival.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    exact: Vec<f64>,
    /// Number of values by their leading bits.
    binned: BTreeMap<u64, u64>,
    sum: f64,
    max: f64,
}

impl Sample {
    /// Takes in one value.
    pub fn push(&mut self, value: f64) {
        self.sum += value;
        self.max = self.max.max(value);
        if self.binned.is_empty() && self.exact.len() < EXACT_MAX {
            self.exact.push(value);
            return;
        }
        for value in self.exact.drain(..).chain([value]) {
            *self
                .binned
                .entry(value.to_bits() >> DROPPED_BITS)
                .or_default() += 1;
        }
    }

    /// Takes in all values of another sample.
    pub fn extend(&mut self, other: &Self) {
        for &value in &other.exact {
            self.push(value);
        }
        if other.binned.is_empty() {
            return;
        }
        for value in self.exact.drain(..) {
            *self
                .binned
                .entry(value.to_bits() >> DROPPED_BITS)
                .or_default() += 1;
        }
        for (&key, &count) in &other.binned {
            *self.binned.entry(key).or_default() += count;
        }
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// The empirical distribution; `None` without values.
    pub fn ecdf(self) -> Option<Ecdf> {
        let mut points: Vec<(f64, u64)> = if self.binned.is_empty() {
            let mut values = self.exact;
            values.sort_by(f64::total_cmp);
            let runs = values.chunk_by(|a, b| a.total_cmp(b).is_eq());
            runs.map(|run| (run[0], run.len() as u64)).collect()
        } else {
            let bins = self.binned.into_iter();
            bins.map(|(key, count)| (f64::from_bits(key << DROPPED_BITS), count))
                .collect()
        };
        let mut below = 0;
        for (_, count) in &mut points {
            below += *count;
            *count = below;
        }
        (below > 0).then_some(Ecdf {
            points,
            sum: self.sum,
            max: self.max,
        })
    }
}

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sample = Self::default();
        for value in values {
            sample.push(value);
        }
        sample
    }
}

/// An empirical distribution function of at least one value.
#[derive(Clone, Debug, PartialEq)]
pub struct Ecdf {
    /// Different values, ascending, each with the number of values up to and including it.
    points: Vec<(f64, u64)>,
    sum: f64,
    max: f64,
}

impl Ecdf {
    /// Number of values.
    pub fn count(&self) -> u64 {
        self.points[self.points.len() - 1].1
    }

    /// Their sum.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The largest.
    pub fn max(&self) -> f64 {
        self.max
    }

    /// Different values, ascending, each with the share of the values below it and up to it.
    pub fn steps(&self) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
        let all = self.count() as f64;
        let mut below = 0;
        self.points.iter().map(move |&(value, count)| {
            let step = (value, below as f64 / all, count as f64 / all);
            below = count;
            step
        })
    }

    /// Different values, ascending, and how often each occurs.
    pub fn counts(&self) -> impl DoubleEndedIterator<Item = (f64, u64)> + '_ {
        (0..self.points.len()).map(|i| {
            let below = i.checked_sub(1).map_or(0, |before| self.points[before].1);
            (self.points[i].0, self.points[i].1 - below)
        })
    }

    /// Share of the values that are at most `x`.
    pub fn at(&self, x: f64) -> f64 {
        let after = self.points.partition_point(|&(value, _)| value <= x);
        let count = after.checked_sub(1).map_or(0, |last| self.points[last].1);
        count as f64 / self.count() as f64
    }

    /// The percentile `p`, linear between order statistics: of n values it lies at position p (n - 1) from 0.
    pub fn percentile(&self, p: f64) -> f64 {
        let position = (self.count() - 1) as f64 * p / 100.0;
        let below = position.floor();
        let low = self.order_statistic(below as u64);
        let high = self.order_statistic((below as u64 + 1).min(self.count() - 1));
        low + (high - low) * (position - below)
    }

    /// The value at `rank`, from 0.
    fn order_statistic(&self, rank: u64) -> f64 {
        let index = self.points.partition_point(|&(_, count)| count <= rank);
        self.points[index].0
    }

    /// Kolmogorov-Smirnov distance: the largest difference between the two distribution functions, in 0..=1. Both are
    /// compared from `floor` upwards: what lies below is taken as one value, for sources that cannot resolve it.
    pub fn ks(&self, other: &Self, floor: f64) -> f64 {
        let points = self.points.iter().chain(&other.points);
        let difference = |x: f64| (self.at(x) - other.at(x)).abs();
        points
            .filter(|(value, _)| *value >= floor)
            .map(|&(value, _)| difference(value))
            .fold(difference(floor), f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ecdf(values: &[f64]) -> Ecdf {
        values.iter().copied().collect::<Sample>().ecdf().unwrap()
    }

    #[test]
    fn a_percentile_between_two_values_is_interpolated() {
        // Four values: p50 at position 1.5, p90 at 2.7.
        let ecdf = ecdf(&[40.0, 10.0, 30.0, 20.0]);
        assert!((ecdf.percentile(50.0) - 25.0).abs() < 1e-12);
        assert!((ecdf.percentile(90.0) - 37.0).abs() < 1e-12);
        assert_eq!((ecdf.count(), ecdf.max(), ecdf.sum()), (4, 40.0, 100.0));
        assert!(Sample::default().ecdf().is_none());
    }

    #[test]
    fn the_distance_of_two_samples_is_the_largest_gap_between_their_steps() {
        // At 2: 2 of 4 against 3 of 4; elsewhere at most as much.
        let (a, b) = (ecdf(&[1.0, 2.0, 3.0, 4.0]), ecdf(&[1.0, 2.0, 2.0, 4.0]));
        assert!((a.ks(&b, 0.0) - 0.25).abs() < 1e-12);
        assert!(a.ks(&a, 0.0).abs() < 1e-12);
        // Apart altogether; and from 10 upwards alike.
        let c = ecdf(&[7.0, 8.0]);
        assert!((a.ks(&c, 0.0) - 1.0).abs() < 1e-12);
        assert!(a.ks(&c, 10.0).abs() < 1e-12);
    }

    #[test]
    fn a_sample_that_outgrows_its_memory_keeps_quantiles_to_a_twentieth_of_a_percent() {
        let value = |i: usize| (i as f64 * 0.37).powi(2);
        let n = EXACT_MAX + 1_000;
        let binned: Sample = (0..n).map(value).collect();
        assert!(binned.exact.is_empty() && binned.binned.len() < 100_000);
        let binned = binned.ecdf().unwrap();
        assert_eq!(binned.count(), n as u64);
        for p in [5.0, 50.0, 99.0] {
            let exact = value(((n - 1) as f64 * p / 100.0) as usize);
            assert!((binned.percentile(p) / exact - 1.0).abs() < 6e-4, "{p}");
        }
        // Both halves of a split sample together are the whole.
        let mut half: Sample = (0..n / 2).map(value).collect();
        half.extend(&(n / 2..n).map(value).collect());
        half.extend(&Sample::default());
        assert_eq!(half.ecdf().unwrap().count(), n as u64);
    }
}
