//! How far two traces are apart, quantity by quantity.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::TraceError;
use crate::format::{Meta, Session};
use crate::import::Sink;
use crate::stat::{Collector, Ecdf, Quantity};

/// One quantity in two traces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DiffRow {
    /// What.
    pub quantity: String,
    /// Number of values in the first.
    pub count_a: u64,
    /// Number of values in the second.
    pub count_b: u64,
    /// Median in the first.
    pub p50_a: Option<f64>,
    /// Median in the second.
    pub p50_b: Option<f64>,
    /// 90th percentile in the first.
    pub p90_a: Option<f64>,
    /// 90th percentile in the second.
    pub p90_b: Option<f64>,
    /// Kolmogorov-Smirnov distance; `None` where a trace lacks the quantity.
    pub ks: Option<f64>,
    /// Distance that two samples of one distribution exceed in 5 % of cases, if their values are independent. Calls of a session
    /// are not: for them this is a lower bound.
    pub ks_5_percent: Option<f64>,
    /// Distance that 95 % of resamples of the first trace's sessions stay within, where asked for.
    pub band_95: Option<f64>,
}

/// Collects the distributions of a trace for comparison.
#[derive(Default)]
pub struct Diff(Option<Collector>);

impl Sink for Diff {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        self.0 = Some(Collector::new(meta.clone()));
        Ok(())
    }

    fn session(&mut self, session: Session) -> Result<(), TraceError> {
        let collector = self.0.as_mut().expect("the meta line comes first");
        collector.add(&session);
        Ok(())
    }
}

impl Diff {
    /// The rows of `self` against `other`, for every quantity that one of them has. `floor_s`: waits below it are taken as equal,
    /// for sources that cannot resolve them. `band`: distances of resamples, see [`Band`](super::Band).
    pub fn rows(self, other: Self, floor_s: f64, band: &BTreeMap<Quantity, f64>) -> Vec<DiffRow> {
        let ecdfs = |diff: Self| diff.0.map(|mut all| all.ecdfs()).unwrap_or_default();
        let (a, b) = (ecdfs(self), ecdfs(other));
        let mut quantities: Vec<Quantity> = a.keys().chain(b.keys()).copied().collect();
        quantities.sort_unstable();
        quantities.dedup();
        quantities
            .into_iter()
            .filter(|quantity| quantity.is_told())
            .map(|quantity| DiffRow {
                band_95: band.get(&quantity).copied(),
                ..row(quantity, a.get(&quantity), b.get(&quantity), floor_s)
            })
            .collect()
    }
}

fn row(quantity: Quantity, a: Option<&Ecdf>, b: Option<&Ecdf>, floor_s: f64) -> DiffRow {
    let floor = if quantity.is_wait() { floor_s } else { 0.0 };
    let count = |values: Option<&Ecdf>| values.map_or(0, Ecdf::count);
    let (n, m) = (count(a) as f64, count(b) as f64);
    let both = a.zip(b);
    DiffRow {
        quantity: quantity.name(),
        count_a: count(a),
        count_b: count(b),
        p50_a: a.map(|values| values.percentile(50.0)),
        p50_b: b.map(|values| values.percentile(50.0)),
        p90_a: a.map(|values| values.percentile(90.0)),
        p90_b: b.map(|values| values.percentile(90.0)),
        ks: both.map(|(a, b)| a.ks(b, floor)),
        // Smirnov (1948): 1.358 sqrt((n + m) / (n m)).
        ks_5_percent: both.map(|_| 1.358 * libm::sqrt((n + m) / (n * m))),
        band_95: None,
    }
}
