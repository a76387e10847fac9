//! How many times as large is a number of one run as that of its partner, and where does that change sides?
//!
//! ```text
//!   ratio   1 ┼ ─ ─ ─ ─ ╲─ ─ ─ ─     a curve over what was varied, one value per seed and point
//!             │          ╲___        ► it crosses 1 between two points, on a straight line in ln x
//!             └───┬───┬───┬───┬─
//! ```
//!
//! Runs are paired by seed. Ratios are averaged as logarithms (a geometric mean), so that `a / b` and `b / a` tell the same story. The
//! 95 % intervals are those of [`Bootstrap`]: seeds are drawn again. For a crossing each resample draws seeds once for all points, because
//! a seed stands for the same sessions at every point.

use super::{Bootstrap, SEEDS_MIN};
use crate::stats::{Draws, Interval, bootstrap_mean};

/// A geometric mean of ratios.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Pairs of runs.
    pub pairs: usize,
    /// Geometric mean over pairs.
    pub mean: f64,
    /// 95 % interval over seeds; from [`SEEDS_MIN`] pairs on.
    pub interval: Option<Interval>,
}

/// Where a curve of ratios crosses 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crossing {
    /// Of the mean curve.
    pub at: f64,
    /// 95 % interval over seeds: of the crossing in the same direction that each resample has nearest to `at`.
    pub interval: Interval,
    /// Share of the resamples that have such a crossing.
    pub share: f64,
    /// The ratio is below 1 to the left and above it to the right.
    pub rises: bool,
}

impl Bootstrap {
    /// The mean of `b / a` over pairs `(a, b)`; `None` of none, or where one of them is not above 0.
    pub fn ratio(self, pairs: &[(f64, f64)]) -> Option<Ratio> {
        let logs: Vec<f64> = pairs.iter().map(|(a, b)| (b / a).ln()).collect();
        if !logs.iter().all(|log| log.is_finite()) {
            return None;
        }
        let (mean, interval) = bootstrap_mean(&logs, self.resamples, Draws::new(self.seed))?;
        let interval = (logs.len() >= SEEDS_MIN).then(|| Interval {
            low: interval.low.exp(),
            high: interval.high.exp(),
        });
        Some(Ratio {
            pairs: logs.len(),
            mean: mean.exp(),
            interval,
        })
    }

    /// Where the mean of `b / a` crosses 1 along `curve`: points of increasing `x > 0`, each with its pairs `(a, b)` in one order of
    /// seeds. A point whose mean is exactly 1 belongs to neither side, and is passed over.
    ///
    /// # Panics
    /// If points have different numbers of pairs.
    pub fn crossings(self, curve: &[(f64, Vec<(f64, f64)>)]) -> Vec<Crossing> {
        let seeds = curve.first().map_or(0, |(_, pairs)| pairs.len());
        assert!(
            curve.iter().all(|(_, pairs)| pairs.len() == seeds),
            "every point has the same seeds"
        );
        if seeds < SEEDS_MIN {
            return Vec::new();
        }
        let logs: Vec<(f64, Vec<f64>)> = curve
            .iter()
            .map(|(x, pairs)| (x.ln(), pairs.iter().map(|(a, b)| (b / a).ln()).collect()))
            .collect();
        let mean_curve = |drawn: &[usize]| -> Vec<(f64, f64)> {
            let mean = |of: &[f64]| drawn.iter().map(|&seed| of[seed]).sum::<f64>() / seeds as f64;
            logs.iter().map(|(x, of)| (*x, mean(of))).collect()
        };
        let all: Vec<usize> = (0..seeds).collect();
        let mut draws = Draws::new(self.seed);
        let resampled: Vec<Vec<(f64, bool)>> = (0..self.resamples)
            .map(|_| {
                let drawn: Vec<usize> = all.iter().map(|_| draws.below(seeds)).collect();
                changes(&mean_curve(&drawn))
            })
            .collect();
        let crossing = |(at, rises): (f64, bool)| {
            let nearest = resampled.iter().filter_map(|changes| {
                let same = changes.iter().filter(|(_, other)| *other == rises);
                same.map(|(x, _)| *x)
                    .min_by(|a, b| (a - at).abs().total_cmp(&(b - at).abs()))
            });
            let estimates: Vec<f64> = nearest.map(f64::exp).collect();
            let share = estimates.len() as f64 / self.resamples as f64;
            Interval::central_95(estimates).map(|interval| Crossing {
                at: at.exp(),
                interval,
                share,
                rises,
            })
        };
        changes(&mean_curve(&all))
            .into_iter()
            .filter_map(crossing)
            .collect()
    }
}

/// Where a curve of `(ln x, ln ratio)` changes sign, on straight lines between its points, and whether it rises there.
fn changes(curve: &[(f64, f64)]) -> Vec<(f64, bool)> {
    let sides: Vec<(f64, f64)> = curve
        .iter()
        .copied()
        .filter(|(_, y)| y.is_finite() && *y != 0.0)
        .collect();
    sides
        .windows(2)
        .filter(|pair| (pair[0].1 > 0.0) != (pair[1].1 > 0.0))
        .map(|pair| {
            let [(x0, y0), (x1, y1)] = [pair[0], pair[1]];
            (x0 + (x1 - x0) * y0 / (y0 - y1), y1 > 0.0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn ratios_are_averaged_as_logarithms() {
        // 2 and 1/2 cancel; 8 and 2 make the root of 16.
        let of = |pairs: &[(f64, f64)]| Bootstrap::default().ratio(pairs).unwrap();
        assert!(near(of(&[(1.0, 2.0), (2.0, 1.0)]).mean, 1.0));
        assert!(near(of(&[(1.0, 8.0), (1.0, 2.0)]).mean, 4.0));
        assert_eq!(of(&[(1.0, 2.0); 4]).interval, None);
    }

    #[test]
    fn equal_ratios_leave_no_uncertainty_and_unequal_ones_do() {
        let bootstrap = Bootstrap::default();
        let equal = bootstrap.ratio(&[(2.0, 3.0); 5]).unwrap();
        let Interval { low, high } = equal.interval.unwrap();
        assert!(near(low, 1.5) && near(high, 1.5));
        let unequal = [(1.0, 1.1), (1.0, 1.3), (1.0, 0.9), (1.0, 1.2), (1.0, 1.0)];
        let Ratio { mean, interval, .. } = bootstrap.ratio(&unequal).unwrap();
        let Interval { low, high } = interval.unwrap();
        assert!(0.9 < low && low < mean && mean < high && high < 1.3);
    }

    #[test]
    fn a_ratio_of_nothing_is_none() {
        assert_eq!(Bootstrap::default().ratio(&[]), None);
        assert_eq!(Bootstrap::default().ratio(&[(0.0, 1.0)]), None);
    }

    /// The same ratios for each of six seeds.
    fn curve(points: &[(f64, f64)]) -> Vec<(f64, Vec<(f64, f64)>)> {
        points
            .iter()
            .map(|&(x, y)| (x, vec![(1.0, y); 6]))
            .collect()
    }

    #[test]
    fn a_crossing_lies_on_the_straight_line_between_two_points() {
        // From 1/2 at 1 to 2 at 100: half-way in both logarithms, at 10. Then down from 2 to 1/4 between 100 and 800: ln 2 of ln 8, a third
        // of the way, at 200.
        let found =
            Bootstrap::default().crossings(&curve(&[(1.0, 0.5), (100.0, 2.0), (800.0, 0.25)]));
        let seen: Vec<bool> = found.iter().map(|crossing| crossing.rises).collect();
        assert_eq!(seen, [true, false]);
        assert!(near(found[0].at, 10.0) && near(found[1].at, 200.0));
        assert!(near(found[1].interval.low, 200.0) && near(found[1].share, 1.0));
    }

    #[test]
    fn a_curve_that_touches_one_or_stays_on_a_side_has_no_crossing() {
        let bootstrap = Bootstrap::default();
        assert_eq!(
            bootstrap.crossings(&curve(&[(1.0, 1.5), (2.0, 1.0), (3.0, 1.2)])),
            []
        );
        assert_eq!(bootstrap.crossings(&curve(&[(1.0, 1.0), (2.0, 1.2)])), []);
        // Through 1 at a point: the crossing lies between its neighbours, (ln 1, -ln 2) and (ln 4, ln 2): at 2.
        let found = bootstrap.crossings(&curve(&[(1.0, 0.5), (2.0, 1.0), (4.0, 2.0)]));
        assert!(found.len() == 1 && near(found[0].at, 2.0));
    }

    #[test]
    fn seeds_that_disagree_widen_the_interval_of_a_crossing_or_take_it_away() {
        let seeds = |ys: [f64; 6]| ys.map(|y| (1.0, y)).to_vec();
        let points = vec![
            (1.0, seeds([0.5, 0.6, 0.4, 0.5, 0.7, 0.5])),
            (10.0, seeds([1.2, 0.8, 1.5, 2.0, 1.1, 1.0])),
        ];
        let found = Bootstrap::default().crossings(&points);
        let Crossing {
            at,
            interval,
            share,
            ..
        } = found[0];
        assert!(interval.low < at && at <= interval.high && interval.low > 1.0);
        assert!(share > 0.5 && share < 1.0, "{share}");
        assert_eq!(found, Bootstrap::default().crossings(&points));
    }

    #[test]
    fn too_few_seeds_give_no_crossing() {
        let points = vec![(1.0, vec![(1.0, 0.5); 4]), (2.0, vec![(1.0, 2.0); 4])];
        assert_eq!(Bootstrap::default().crossings(&points), []);
    }
}
