//! A distribution in a row of numbers.

use serde::Serialize;

use super::Ecdf;

/// Percentiles of every row, in percent.
pub const PERCENTILES: [f64; 7] = [5.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0];

/// A distribution in ten numbers.
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
    /// Of these values.
    pub fn of(values: &Ecdf) -> Self {
        Self {
            count: values.count(),
            mean: values.sum() / values.count() as f64,
            percentiles: PERCENTILES.map(|p| values.percentile(p)),
            max: values.max(),
        }
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
