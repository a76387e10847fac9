//! Do simulation and measurement order the policies alike?
//!
//! A pair of policies is separated if the interval of their measured difference excludes 0, over the sessions of their first runs, and if all runs
//! of one lie below all of the other: sessions of one run share its chain of decisions, and tell nothing of another's. A simulation that orders such a
//! pair otherwise contradicts the measurement if its draws lie apart as well; if they overlap, it does not say which is the lower.

use super::closed::{Pair, Quantity, ends, mean};
use crate::compare::{Bootstrap, CompareError, Difference, compare, kendall_tau};
use serde::{Deserialize, Serialize};

/// By what policies are ranked.
pub(super) const RANKED: [Quantity; 4] = [
    Quantity::WakeupP50,
    Quantity::WakeupMean,
    Quantity::WakeupP99,
    Quantity::JctMean,
];

/// The order of policies by one quantity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RankRow {
    /// By what, smallest first.
    pub quantity: String,
    /// How many policies.
    pub policies: u64,
    /// Kendall's tau-b of the two orders; empty where it is not defined.
    pub tau: Option<f64>,
    /// Pairs of policies whose measured difference excludes 0 (95 %, over sessions), and whose runs do not overlap.
    pub separated: u64,
    /// Of these: pairs that the simulation orders the other way, by the medians of its draws; `a/b` separated by `;`.
    pub swapped: String,
    /// Of the separated pairs: those of which the draws of the simulation do not overlap either.
    pub decided: u64,
    /// Of these: pairs that the simulation orders the other way.
    pub contradicted: u64,
}

impl RankRow {
    /// The pairs that the simulation orders the other way.
    pub fn swapped_pairs(&self) -> impl Iterator<Item = &str> {
        self.swapped.split(';').filter(|pair| !pair.is_empty())
    }
}

/// The orders by mean and median wake-up, by its P99 and by mean completion time; of policies on one workload.
///
/// # Errors
/// If two measured runs have no turn in common.
pub fn rankings(pairs: &[Pair], bootstrap: Bootstrap) -> Result<Vec<RankRow>, CompareError> {
    let mut rows = RANKED.map(|quantity| RankRow {
        quantity: quantity.name().to_owned(),
        policies: pairs.len() as u64,
        ..RankRow::default()
    });
    for (row, quantity) in rows.iter_mut().zip(RANKED) {
        let simulated: Option<Vec<f64>> =
            pairs.iter().map(|pair| pair.simulated(quantity)).collect();
        let measured: Option<Vec<f64>> = pairs
            .iter()
            .map(|pair| mean(&quantity.of_each(&pair.measured)))
            .collect();
        row.tau = simulated
            .zip(measured)
            .and_then(|(simulated, measured)| kendall_tau(&simulated, &measured));
    }
    for (place, a) in pairs.iter().enumerate() {
        for b in &pairs[place + 1..] {
            let (Some(in_a), Some(in_b)) = (a.measured.first(), b.measured.first()) else {
                continue;
            };
            let [in_a, in_b] = [&in_a.sample, &in_b.sample].map(std::slice::from_ref);
            let measured = compare(in_a, in_b, bootstrap)?;
            for (row, quantity) in rows.iter_mut().zip(RANKED) {
                let difference = quantity.difference(&measured.differences);
                let [of_a, of_b] = [a, b].map(|pair| quantity.of_each(&pair.measured));
                let (Some(mean_a), Some(mean_b)) = (mean(&of_a), mean(&of_b)) else {
                    continue;
                };
                if !difference.is_some_and(Difference::shown) || overlap(&of_a, &of_b) {
                    continue;
                }
                row.separated += 1;
                let [of_a, of_b] = [a, b].map(|pair| quantity.of_each(pair.judged()));
                let both = !of_a.is_empty() && !of_b.is_empty();
                let decided = u64::from(both && !overlap(&of_a, &of_b));
                row.decided += decided;
                let simulated = b.simulated(quantity).zip(a.simulated(quantity));
                let simulated = simulated.map(|(b, a)| b - a);
                if simulated.is_none_or(|simulated| simulated * (mean_b - mean_a) <= 0.0) {
                    row.contradicted += decided;
                    if !row.swapped.is_empty() {
                        row.swapped.push(';');
                    }
                    let pair = [a.policy.as_str(), "/", b.policy.as_str()];
                    row.swapped.extend(pair);
                }
            }
        }
    }
    Ok(rows.into())
}

/// Whether neither set lies below the other.
fn overlap(a: &[f64], b: &[f64]) -> bool {
    let ((a_least, a_most), (b_least, b_most)) = (ends(a), ends(b));
    a_least <= b_most && b_least <= a_most
}
