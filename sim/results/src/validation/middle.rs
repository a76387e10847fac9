//! What the wake-ups around the median are made of.
//!
//! A part of the mean wake-up says nothing of the median: long waits in the queue move the one and not the other.

use super::closed::{Pair, Side, latency};
use crate::parts;
use crate::rows::TurnRow;

/// The wake-ups of a run that count, by the ranks of their latencies.
const FROM: f64 = 0.45;
const TO: f64 = 0.55;

/// Parts of the wake-ups in the middle tenth of each run by latency, in the order of [`parts::NAMES`]: the mean over the simulations that are judged less
/// that over the measured runs \[ns\]; `None` without wake-ups. One draw alone would say by which parts it happens to get there.
pub(super) fn difference(pair: &Pair) -> Option<[f64; 7]> {
    let simulated = middle(pair.judged())?;
    let measured = middle(&pair.measured)?;
    Some(std::array::from_fn(|part| simulated[part] - measured[part]))
}

/// Means over the runs.
fn middle(sides: &[Side]) -> Option<[f64; 7]> {
    let runs: Vec<[f64; 7]> = sides.iter().filter_map(of_run).collect();
    means(&runs)
}

/// Means over the middle wake-ups of a run.
fn of_run(side: &Side) -> Option<[f64; 7]> {
    let mut rows: Vec<&TurnRow> = side.wakeups.values().collect();
    rows.sort_by_key(|row| latency(row));
    let rank = |share: f64| (rows.len() as f64 * share) as usize;
    // At least one, of however few.
    let own = rows.get(rank(FROM)..rank(TO).max(rank(FROM) + 1))?;
    let own: Vec<[f64; 7]> = own
        .iter()
        .map(|row| parts::of(row).map(|ns| ns as f64))
        .collect();
    means(&own)
}

/// The mean of each part; `None` of none.
fn means(all: &[[f64; 7]]) -> Option<[f64; 7]> {
    let sum = |part: usize| all.iter().map(|parts| parts[part]).sum::<f64>();
    (!all.is_empty()).then(|| std::array::from_fn(|part| sum(part) / all.len() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run whose wake-ups wait 1, 2 .. 20 ms in the queue, and compute `prefill` ms.
    fn side(prefill: u64) -> Side {
        let wakeup = |turn: u32| {
            let queue = u64::from(turn) * 1_000_000;
            let row = TurnRow {
                first_token_ns: queue + prefill * 1_000_000,
                wake_queue_ns: queue,
                wake_prefill_ns: prefill * 1_000_000,
                ..TurnRow::default()
            };
            ((0, turn), row)
        };
        Side {
            wakeups: (1..=20).map(wakeup).collect(),
            ..Side::default()
        }
    }

    #[test]
    fn the_middle_is_that_of_each_run_by_latency() {
        // The tenth and eleventh of twenty.
        let nanos = |parts: Option<[f64; 7]>| parts.map(|parts| parts.map(|part| part as i64));
        let own = [0, 0, 0, 0, 10_500_000, 0, 3_000_000];
        assert_eq!(nanos(of_run(&side(3))), Some(own));
        let pair = Pair {
            policy: String::new(),
            simulated: side(20),
            drawn: vec![side(9), side(7), side(5)],
            again: Vec::new(),
            measured: vec![side(1), side(3)],
        };
        let off = [0, 0, 0, 0, 0, 0, 5_000_000];
        assert_eq!(nanos(difference(&pair)), Some(off));
        assert_eq!(nanos(of_run(&Side::default())), None);
    }
}
