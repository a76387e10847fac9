//! Differences and their intervals, by resampling.

use super::SEEDS_MIN;
use super::sample::{Cluster, Metric};
use crate::stats::{Draws, Interval, Quantile, bootstrap_mean};
use std::fmt;

/// How to resample. Equal settings give equal intervals, bit for bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Resamples per interval.
    pub resamples: usize,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// 2,000 resamples: the ends of a 95 % interval then rest on 50 each.
    fn default() -> Self {
        Self {
            resamples: 2_000,
            seed: 1,
        }
    }
}

/// What is taken of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// The mean.
    Mean,
    /// The median, nearest rank.
    P50,
    /// The 99 % quantile, nearest rank.
    P99,
}

impl Statistic {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 3] = [Self::Mean, Self::P50, Self::P99];

    /// As in the column names of `runs.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::P50 => "p50",
            Self::P99 => "p99",
        }
    }

    /// Of at least one sample; reorders them.
    fn of(self, samples: &mut [u64]) -> f64 {
        let quantile = |q: Quantile, samples: &mut [u64]| {
            q.of_unsorted(samples).expect("at least one sample") as f64
        };
        match self {
            Self::Mean => {
                let total: u128 = samples.iter().map(|&x| u128::from(x)).sum();
                total as f64 / samples.len() as f64
            }
            Self::P50 => quantile(Quantile::P50, samples),
            Self::P99 => quantile(Quantile::P99, samples),
        }
    }
}

/// One statistic of one metric on both sides \[ns\], and the difference `b - a`.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// What is compared.
    pub metric: Metric,
    /// What is taken of it.
    pub statistic: Statistic,
    /// Paired samples, of all pairs together.
    pub samples: usize,
    /// On the first side: of all its samples; with enough pairs for `by_seed`, the mean over pairs of what each has.
    pub a: f64,
    /// On the second side.
    pub b: f64,
    /// `b - a`: in the second case the mean over pairs of the difference within a pair, which that interval is of.
    pub difference: f64,
    /// 95 % interval of `difference` over sessions.
    pub by_session: Interval,
    /// 95 % interval of the mean over pairs of the difference within a pair; from [`SEEDS_MIN`] pairs on.
    pub by_seed: Option<Interval>,
}

impl Difference {
    /// The interval that decides: over seeds where it exists, else over sessions.
    pub fn interval(&self) -> Interval {
        self.by_seed.unwrap_or(self.by_session)
    }

    /// Whether the deciding interval excludes 0.
    pub fn shown(&self) -> bool {
        !self.interval().contains(0.0)
    }
}

impl fmt::Display for Difference {
    /// For example `wakeup_ns_p99: -1.500 ms [-2.000, -1.000]`, or `...: no difference shown`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |ns: f64| ns / 1e6;
        let Interval { low, high } = self.interval();
        write!(
            f,
            "{}_{}: {:+.3} ms [{:+.3}, {:+.3}]",
            self.metric.name(),
            self.statistic.name(),
            ms(self.difference),
            ms(low),
            ms(high)
        )?;
        if self.shown() {
            Ok(())
        } else {
            f.write_str(", no difference shown")
        }
    }
}

impl Bootstrap {
    /// The differences of a metric, from the clusters of each pair; none where there are no samples.
    pub(super) fn differences(self, metric: Metric, pairs: &[Vec<Cluster>]) -> Vec<Difference> {
        let clusters: Vec<&Cluster> = pairs.iter().flatten().collect();
        if clusters.is_empty() {
            return Vec::new();
        }
        let by_session = self.over_sessions(metric, &clusters);
        let (mut a, mut b) = pooled(clusters.iter().copied());
        let entries = Statistic::ALL
            .into_iter()
            .zip(by_session)
            .map(|(statistic, by_session)| {
                let over_seeds = self.over_seeds(metric, statistic, pairs);
                let (in_a, in_b) = over_seeds.map_or_else(
                    || (statistic.of(&mut a), statistic.of(&mut b)),
                    |(means, _)| means,
                );
                Difference {
                    metric,
                    statistic,
                    samples: a.len(),
                    a: in_a,
                    b: in_b,
                    difference: in_b - in_a,
                    by_session,
                    by_seed: over_seeds.map(|(_, interval)| interval),
                }
            });
        entries.collect()
    }

    /// One interval per statistic, from drawing sessions.
    fn over_sessions(self, metric: Metric, clusters: &[&Cluster]) -> Vec<Interval> {
        let mut draws = self.draws(metric, 0);
        let mut estimates = Statistic::ALL.map(|_| Vec::with_capacity(self.resamples));
        for _ in 0..self.resamples {
            let drawn = (0..clusters.len()).map(|_| clusters[draws.below(clusters.len())]);
            let (mut a, mut b) = pooled(drawn);
            for (statistic, estimates) in Statistic::ALL.into_iter().zip(&mut estimates) {
                estimates.push(statistic.of(&mut b) - statistic.of(&mut a));
            }
        }
        let interval = |estimates| Interval::central_95(estimates).expect("at least one resample");
        estimates.into_iter().map(interval).collect()
    }

    /// The means over pairs of runs of what either side has, and the interval of their difference from drawing pairs.
    fn over_seeds(
        self,
        metric: Metric,
        statistic: Statistic,
        pairs: &[Vec<Cluster>],
    ) -> Option<((f64, f64), Interval)> {
        let of_each = pairs
            .iter()
            .filter(|clusters| !clusters.is_empty())
            .map(|clusters| {
                let (mut a, mut b) = pooled(clusters.iter());
                (statistic.of(&mut a), statistic.of(&mut b))
            });
        let (a, b): (Vec<f64>, Vec<f64>) = of_each.unzip();
        if a.len() < SEEDS_MIN {
            return None;
        }
        let within: Vec<f64> = a.iter().zip(&b).map(|(a, b)| b - a).collect();
        let draws = self.draws(metric, 1 + statistic as u64);
        let (_, interval) = bootstrap_mean(&within, self.resamples, draws)?;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        Some(((mean(&a), mean(&b)), interval))
    }

    /// A stream of its own for every interval, so that none shifts when another is added.
    fn draws(self, metric: Metric, stream: u64) -> Draws {
        let mut root = Draws::new(self.seed ^ ((metric as u64) << 8 | stream).rotate_right(16));
        Draws::new(root.bits())
    }
}

/// All samples of both sides.
fn pooled<'a>(clusters: impl Iterator<Item = &'a Cluster>) -> (Vec<u64>, Vec<u64>) {
    let mut both = (Vec::new(), Vec::new());
    for (a, b) in clusters {
        both.0.extend_from_slice(a);
        both.1.extend_from_slice(b);
    }
    both
}
