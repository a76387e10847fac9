//! Exact quantiles.

use serde::Serialize;

/// Percentiles of every row, in percent.
pub const PERCENTILES: [f64; 7] = [5.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0];

/// A distribution in nine numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// Number of values, at least 1.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// At [`PERCENTILES`].
    pub percentiles: [f64; PERCENTILES.len()],
    /// Largest value.
    pub max: f64,
}

impl Quantiles {
    /// Of `values`, which are sorted on the way; `None` if there are none.
    pub fn of(values: &mut [f64]) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let max = *values.last()?;
        Some(Self {
            count: values.len() as u64,
            mean: values.iter().sum::<f64>() / values.len() as f64,
            percentiles: PERCENTILES.map(|p| percentile(values, p)),
            max,
        })
    }

    /// The percentile `p`, which is one of [`PERCENTILES`].
    ///
    /// # Panics
    /// If it is not.
    pub fn at(&self, p: f64) -> f64 {
        let index = PERCENTILES
            .iter()
            .position(|known| known.total_cmp(&p).is_eq());
        self.percentiles[index.expect("one of PERCENTILES")]
    }
}

/// Linear between order statistics.
fn percentile(sorted: &[f64], p: f64) -> f64 {
    let position = (sorted.len() - 1) as f64 * p / 100.0;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_between_two_values_is_interpolated() {
        // Four values: p50 at position 1.5, p90 at 2.7.
        let quantiles = Quantiles::of(&mut [40.0, 10.0, 30.0, 20.0]).unwrap();
        assert!((quantiles.at(50.0) - 25.0).abs() < 1e-12);
        assert!((quantiles.at(90.0) - 37.0).abs() < 1e-12);
        assert_eq!(
            (quantiles.count, quantiles.max, quantiles.mean),
            (4, 40.0, 25.0)
        );
        assert_eq!(Quantiles::of(&mut []), None);
    }
}
