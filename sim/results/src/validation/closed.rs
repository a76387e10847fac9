//! What two independent runs come to: quantities, their errors, and single wake-ups.

use super::rows::{ClosedLoopRow, WakeupPairRow};
use crate::compare::{Bootstrap, CompareError, Difference, Metric, RunSample, Statistic, compare};
use crate::folder::{FolderError, RunFolder};
use crate::metrics::{Measure, RunMetrics};
use crate::rows::TurnRow;
use crate::stats::{P99_SAMPLES_MIN, Quantile};
use std::collections::BTreeMap;

/// The quantity that is the largest distance of the distributions of wake-ups.
pub const DISTANCE: &str = "wakeup_cdf_distance";

/// The verdict on what is beyond its target and beyond the spread.
pub(super) const MISSED: &str = "missed";

/// One run, as far as it is compared.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// Its metrics.
    pub metrics: RunMetrics,
    /// Its latencies.
    pub sample: RunSample,
    /// Its wake-ups, by session and turn.
    pub wakeups: BTreeMap<(u32, u32), TurnRow>,
}

impl Side {
    /// Reads a run folder.
    ///
    /// # Errors
    /// If a row is damaged.
    pub fn of_folder(folder: &RunFolder) -> Result<Self, FolderError> {
        let measure = Measure::of(&folder.manifest().spec);
        let mut wakeups = BTreeMap::new();
        for row in folder.turns()? {
            let row = row?;
            if row.wait_ns.is_some() && measure.counts(row.ready_ns) {
                wakeups.insert((row.session, row.turn), row);
            }
        }
        // A measured run has no draw: any is compared with it.
        let mut sample = RunSample::of_folder(folder)?;
        sample.draw = 0;
        Ok(Self {
            metrics: folder.metrics()?,
            sample,
            wakeups,
        })
    }
}

/// The runs of one policy on one workload.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The policy.
    pub policy: String,
    /// Simulated, steps that cost the same taking the same.
    pub simulated: Side,
    /// Simulated by draws of what such steps differ by. If there are any, the median of what they come to is judged: a simulation without is one
    /// course of many.
    pub drawn: Vec<Side>,
    /// Simulated again, with calibrations of like machines: how far one result carries.
    pub again: Vec<Side>,
    /// Measured, once or repeatedly; at least one.
    pub measured: Vec<Side>,
}

impl Pair {
    /// The simulations that are judged.
    pub(super) fn judged(&self) -> &[Side] {
        match self.drawn.as_slice() {
            [] => std::slice::from_ref(&self.simulated),
            drawn => drawn,
        }
    }

    /// What they come to: the median.
    pub(super) fn simulated(&self, quantity: Quantity) -> Option<f64> {
        median(quantity.of_each(self.judged()))
    }

    /// The row of what each simulation comes to by `of`; of the measured runs it says nothing yet.
    fn simulated_row(&self, quantity: &str, of: impl Fn(&Side) -> Option<f64>) -> ClosedLoopRow {
        let each = |sides: &[Side]| -> Vec<f64> { sides.iter().filter_map(&of).collect() };
        let draws = each(&self.drawn);
        let drawn = (!draws.is_empty()).then(|| ends(&draws));
        let without_jitter = of(&self.simulated);
        let mut all = each(&self.again);
        all.extend(&draws);
        all.extend(without_jitter);
        let (simulated_min, simulated_max) = ends(&all);
        ClosedLoopRow {
            policy: self.policy.clone(),
            quantity: quantity.to_owned(),
            draws: draws.len() as u64,
            drawn_min: drawn.map(|(least, _)| least),
            drawn_max: drawn.map(|(_, most)| most),
            without_jitter,
            simulated_min,
            simulated_max,
            ..ClosedLoopRow::default()
        }
    }
}

/// The median, by nearest rank; `None` of none.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    Quantile::P50.of_sorted(&values)
}

/// What is compared of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Mean wake-up latency.
    WakeupMean,
    /// Median wake-up latency.
    WakeupP50,
    /// 99 % quantile of the wake-up latency.
    WakeupP99,
    /// Mean of a part of the wake-up latency, by place in `PARTS`.
    Part(usize),
    /// Mean TTFT of turns without a wait.
    TtftMean,
    /// Mean session completion time.
    JctMean,
    /// Swap-outs begun.
    Swaps,
    /// Swap-ins completed.
    Restores,
    /// Bytes to the host.
    D2hBytes,
    /// Bytes back.
    H2dBytes,
    /// Tokens computed again.
    Recomputed,
}

/// A metric and its name.
type Named = (&'static str, fn(&RunMetrics) -> Option<u64>);

/// Names of the parts, and where they are in the metrics.
const PARTS: [Named; 7] = [
    ("wake_signal_ns_mean", |m| m.wake_signal_ns_mean),
    ("wake_hold_ns_mean", |m| m.wake_hold_ns_mean),
    ("wake_copy_ns_mean", |m| m.wake_copy_ns_mean),
    ("wake_stall_ns_mean", |m| m.wake_stall_ns_mean),
    ("wake_queue_ns_mean", |m| m.wake_queue_ns_mean),
    ("wake_recompute_ns_mean", |m| m.wake_recompute_ns_mean),
    ("wake_prefill_ns_mean", |m| m.wake_prefill_ns_mean),
];

impl Quantity {
    /// All of them, in the order of reports.
    pub fn all() -> impl Iterator<Item = Self> {
        let latencies = [Self::WakeupP50, Self::WakeupMean, Self::WakeupP99];
        let counts = [
            Self::TtftMean,
            Self::JctMean,
            Self::Swaps,
            Self::Restores,
            Self::D2hBytes,
            Self::H2dBytes,
            Self::Recomputed,
        ];
        latencies
            .into_iter()
            .chain((0..PARTS.len()).map(Self::Part))
            .chain(counts)
    }

    /// Name of the column of `runs.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::WakeupMean => "wakeup_ns_mean",
            Self::WakeupP50 => "wakeup_ns_p50",
            Self::WakeupP99 => "wakeup_ns_p99",
            Self::Part(part) => PARTS[part].0,
            Self::TtftMean => "ttft_ns_mean",
            Self::JctMean => "jct_ns_mean",
            Self::Swaps => "swaps",
            Self::Restores => "restores",
            Self::D2hBytes => "d2h_bytes",
            Self::H2dBytes => "h2d_bytes",
            Self::Recomputed => "recomputed_tokens",
        }
    }

    /// The relative error that is aimed at, where one is. A P99 of fewer than 1,000 wake-ups has none.
    pub fn target(self, samples: u64) -> Option<f64> {
        match self {
            Self::WakeupP50 => Some(0.03),
            Self::WakeupP99 if samples >= P99_SAMPLES_MIN as u64 => Some(0.05),
            Self::JctMean => Some(0.05),
            Self::Swaps | Self::Restores => Some(0.01),
            _ => None,
        }
    }

    pub(super) fn of(self, m: &RunMetrics) -> Option<f64> {
        let value = match self {
            Self::WakeupMean => m.wakeup_ns_mean?,
            Self::WakeupP50 => m.wakeup_ns_p50?,
            Self::WakeupP99 => m.wakeup_ns_p99?,
            Self::Part(part) => PARTS[part].1(m)?,
            Self::TtftMean => m.ttft_ns_mean?,
            Self::JctMean => m.jct_ns_mean?,
            Self::Swaps => m.swaps,
            Self::Restores => m.restores,
            Self::D2hBytes => m.d2h_bytes,
            Self::H2dBytes => m.h2d_bytes,
            Self::Recomputed => m.recomputed_tokens,
        };
        Some(value as f64)
    }

    /// What each of some runs has.
    pub(super) fn of_each(self, sides: &[Side]) -> Vec<f64> {
        let values = sides.iter().filter_map(|side| self.of(&side.metrics));
        values.collect()
    }

    fn samples(self, m: &RunMetrics) -> u64 {
        match self {
            Self::WakeupMean | Self::WakeupP50 | Self::WakeupP99 | Self::Part(_) => m.wakeups,
            Self::TtftMean => m.ttft_count,
            Self::JctMean => m.jct_count,
            Self::Swaps | Self::Restores | Self::D2hBytes | Self::H2dBytes => m.sessions,
            Self::Recomputed => m.turns,
        }
    }

    /// The difference of this quantity among those of a comparison.
    pub(super) fn difference(self, all: &[Difference]) -> Option<&Difference> {
        let (metric, statistic) = match self {
            Self::WakeupMean => (Metric::Wakeup, Statistic::Mean),
            Self::WakeupP50 => (Metric::Wakeup, Statistic::P50),
            Self::WakeupP99 => (Metric::Wakeup, Statistic::P99),
            Self::TtftMean => (Metric::Ttft, Statistic::Mean),
            Self::JctMean => (Metric::Jct, Statistic::Mean),
            _ => return None,
        };
        all.iter()
            .find(|one| one.metric == metric && one.statistic == statistic)
    }
}

/// Every quantity of a pair, and the distance of the two distributions of wake-ups.
///
/// # Errors
/// If the runs have no turn in common.
pub fn closed_loop(pair: &Pair, bootstrap: Bootstrap) -> Result<Vec<ClosedLoopRow>, CompareError> {
    let Some(first) = pair.measured.first() else {
        return Err(CompareError::Empty { a: 0, b: 1 });
    };
    let compared = compare(
        std::slice::from_ref(&first.sample),
        std::slice::from_ref(&pair.simulated.sample),
        bootstrap,
    )?;
    let mut rows: Vec<ClosedLoopRow> = Quantity::all()
        .filter_map(|quantity| row(pair, quantity, &compared.differences))
        .collect();
    rows.extend(distance(pair));
    Ok(rows)
}

fn row(pair: &Pair, quantity: Quantity, differences: &[Difference]) -> Option<ClosedLoopRow> {
    let simulated = pair.simulated(quantity)?;
    let values = quantity.of_each(&pair.measured);
    let measured = mean(&values)?;
    let repeats = values.len();
    let (least, most) = ends(&values);
    // A part of nothing is no large error: it counts by what it adds to the wake-up.
    let scale = match quantity {
        Quantity::Part(_) => {
            let whole = Quantity::WakeupMean.of_each(&pair.measured);
            whole.iter().sum::<f64>() / repeats as f64
        }
        _ => measured,
    };
    let error = if scale > 0.0 {
        Some((simulated - measured) / scale)
    } else {
        (simulated == 0.0).then_some(0.0)
    };
    let samples = quantity.samples(&pair.simulated.metrics);
    let target = quantity.target(samples);
    let verdict = target.map_or("", |target| {
        verdict(error, target, simulated - measured, most - least)
    });
    let interval = quantity
        .difference(differences)
        .map(|difference| difference.by_session);
    Some(ClosedLoopRow {
        samples,
        simulated,
        measured,
        repeats: repeats as u64,
        measured_min: least,
        measured_max: most,
        error,
        difference_low: interval.map(|interval| interval.low),
        difference_high: interval.map(|interval| interval.high),
        target,
        verdict: verdict.to_owned(),
        ..pair.simulated_row(quantity.name(), |side| quantity.of(&side.metrics))
    })
}

/// What is said of an error: whether it is within its target or else, in absolute terms, within what the runs of the GPU differ by, where there are several.
pub(super) fn verdict(error: Option<f64>, target: f64, off: f64, spread: f64) -> &'static str {
    match error {
        Some(error) if error.abs() <= target => "ok",
        // One run differs from itself by nothing.
        _ if off.abs() <= spread => "ok-within-spread",
        _ => MISSED,
    }
}

/// The mean of some values; `None` of none.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The least and the most of some values.
pub(super) fn ends(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (least, most)
}

/// The largest vertical distance of the two distributions (Kolmogorov and Smirnov), of a draw and the first repeat: the median of the draws, for draws
/// taken together are smoother than a run; and that of the first two repeats.
fn distance(pair: &Pair) -> Option<ClosedLoopRow> {
    let first = latencies(pair.measured.get(..1)?);
    let to_first = |side: &Side| cdf_distance(&latencies(std::slice::from_ref(side)), &first);
    let distances: Option<Vec<f64>> = pair.judged().iter().map(to_first).collect();
    let own = match pair.measured.get(1) {
        Some(second) => to_first(second)?,
        None => 0.0,
    };
    Some(ClosedLoopRow {
        samples: pair.simulated.wakeups.len() as u64,
        simulated: median(distances?)?,
        measured: own,
        repeats: pair.measured.len() as u64,
        measured_min: own,
        measured_max: own,
        ..pair.simulated_row(DISTANCE, to_first)
    })
}

/// The largest difference between the shares of two sorted samples that are at most x, over all x.
pub(super) fn cdf_distance(a: &[u64], b: &[u64]) -> Option<f64> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let share = |sorted: &[u64], x: u64| {
        sorted.partition_point(|&value| value <= x) as f64 / sorted.len() as f64
    };
    let at = |&x: &u64| (share(a, x) - share(b, x)).abs();
    Some(a.iter().chain(b).map(at).fold(0.0, f64::max))
}

/// Wake-up latencies of some runs together, sorted.
pub(super) fn latencies(sides: &[Side]) -> Vec<u64> {
    let rows = sides.iter().flat_map(|side| side.wakeups.values());
    let mut all: Vec<u64> = rows.map(latency).collect();
    all.sort_unstable();
    all
}

pub(super) fn latency(row: &TurnRow) -> u64 {
    row.first_token_ns.saturating_sub(row.ready_ns)
}

/// The wake-ups that both runs have, of every repeat.
pub fn wakeups(pair: &Pair) -> Vec<WakeupPairRow> {
    let mut rows = Vec::new();
    for (repeat, side) in (0..).zip(&pair.measured) {
        for (key, measured) in &side.wakeups {
            let Some(simulated) = pair.simulated.wakeups.get(key) else {
                continue;
            };
            let [m, s] = [measured, simulated].map(|row| {
                [
                    row.wake_signal_ns + row.wake_hold_ns,
                    row.wake_copy_ns,
                    row.wake_queue_ns + row.wake_stall_ns,
                    row.wake_recompute_ns + row.wake_prefill_ns,
                ]
            });
            rows.push(WakeupPairRow {
                policy: pair.policy.clone(),
                repeat,
                session: key.0,
                turn: key.1,
                measured_ns: latency(measured),
                simulated_ns: latency(simulated),
                measured_signal_hold_ns: m[0],
                measured_copy_ns: m[1],
                measured_queue_ns: m[2],
                measured_step_ns: m[3],
                simulated_signal_hold_ns: s[0],
                simulated_copy_ns: s[1],
                simulated_queue_ns: s[2],
                simulated_step_ns: s[3],
            });
        }
    }
    rows
}
