//! What the harness itself costs: how late the driver hears, how long it decides, and how much of the wake-ups that is.
//!
//! ```text
//!   GPU done ── told ──► driver awake ── decision ──► next operation handed over
//! ```
//!
//! A simulator decides in no time. In a wake-up the harness takes the part in which the driver had not yet heard of an end, or
//! was deciding; whether that was about this session or another one is not told apart, so its share is an upper bound.

use crate::device::Timing;
use model::Time;
use results::rows::TurnRow;
use std::fmt::Write as _;

/// What a driver and its device have cost in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Harness {
    /// From the end of an operation to the driver.
    pub told: Spread,
    /// From a wake of the driver until it waits again, launches included.
    pub decision: Spread,
    /// Part of all wake-up latency that passed in either, at most.
    pub wakeup_share: f64,
}

/// Quantiles (nearest rank) of many times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many.
    pub count: usize,
    /// Half take at most this \[ns\].
    pub p50_ns: u64,
    /// 99 of 100 \[ns\].
    pub p99_ns: u64,
    /// All \[ns\].
    pub max_ns: u64,
}

impl Spread {
    fn of(times: impl Iterator<Item = u64>) -> Self {
        let mut times: Vec<u64> = times.collect();
        times.sort_unstable();
        let rank = |percent: usize| {
            let place = (times.len() * percent).div_ceil(100).max(1) - 1;
            times.get(place).copied().unwrap_or(0)
        };
        Self {
            count: times.len(),
            p50_ns: rank(50),
            p99_ns: rank(99),
            max_ns: rank(100),
        }
    }
}

impl Harness {
    /// Of a run: its operations, the spans in which its driver was not waiting, and its turns.
    pub fn of(timings: &[Timing], awake: &[(Time, Time)], turns: &[TurnRow]) -> Self {
        let told = timings
            .iter()
            .map(|timing| (Time(timing.end_ns), Time(timing.told_ns)));
        let covered = Covered::new(told.chain(awake.iter().copied()).collect());
        let wakeups = || {
            turns
                .iter()
                .filter(|turn| turn.wait_ns.is_some())
                .map(|turn| (Time(turn.ready_ns), Time(turn.first_token_ns)))
        };
        let all: u64 = wakeups().map(|(from, to)| to.since(from).0).sum();
        let harness: u64 = wakeups()
            .map(|(from, to)| covered.before(to) - covered.before(from))
            .sum();
        Self {
            told: Spread::of(timings.iter().map(Timing::harness_ns)),
            decision: Spread::of(awake.iter().map(|(from, to)| to.since(*from).0)),
            wakeup_share: harness as f64 / all.max(1) as f64,
        }
    }

    /// `harness.csv`.
    pub fn csv(&self) -> String {
        let mut text = "what,count,p50_ns,p99_ns,max_ns,wakeup_share\n".to_owned();
        for (what, spread) in [("told", self.told), ("decision", self.decision)] {
            let Spread {
                count,
                p50_ns,
                p99_ns,
                max_ns,
            } = spread;
            let _ = writeln!(text, "{what},{count},{p50_ns},{p99_ns},{max_ns},");
        }
        let _ = writeln!(text, "both,,,,,{:.6}", self.wakeup_share);
        text
    }
}

/// The union of spans, and how much of it lies before each of its starts.
struct Covered(Vec<(Time, Time, u64)>);

impl Covered {
    fn new(mut spans: Vec<(Time, Time)>) -> Self {
        spans.sort_unstable();
        let mut union: Vec<(Time, Time, u64)> = Vec::with_capacity(spans.len());
        for (from, to) in spans {
            match union.last_mut() {
                Some((_, end, _)) if from <= *end => *end = to.max(*end),
                last => {
                    let before =
                        last.map_or(0, |(start, end, before)| *before + end.since(*start).0);
                    union.push((from, to, before));
                }
            }
        }
        Self(union)
    }

    /// Covered time before `at` \[ns\].
    fn before(&self, at: Time) -> u64 {
        let place = self.0.partition_point(|(from, ..)| *from < at);
        let Some((from, to, before)) = place.checked_sub(1).and_then(|last| self.0.get(last))
        else {
            return 0;
        };
        before + at.min(*to).since(*from).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(end_ns: u64, told_ns: u64) -> Timing {
        Timing {
            op: 0,
            kind: "steps",
            units: 1,
            start_ns: 0,
            end_ns,
            gpu_ns: 0,
            check_ns: 0,
            told_ns,
        }
    }

    #[test]
    fn the_share_is_what_of_the_wake_ups_passed_unheard_or_deciding() {
        let turn = |wait_ns, ready_ns, first_token_ns| TurnRow {
            wait_ns,
            ready_ns,
            first_token_ns,
            ..TurnRow::default()
        };
        let awake = [(Time(105), Time(120)), (Time(200), Time(205))];
        // The first turn of a session is no wake-up.
        let turns = [turn(None, 0, 1_000), turn(Some(1), 110, 210)];
        let harness = Harness::of(&[timing(100, 108), timing(150, 152)], &awake, &turns);
        // Of 110..210: 110..120 deciding, 150..152 unheard, 200..205 deciding.
        assert!((harness.wakeup_share - 0.17).abs() < 1e-12);
        assert_eq!((harness.told.p50_ns, harness.told.max_ns), (2, 8));
        assert_eq!((harness.decision.count, harness.decision.p99_ns), (2, 15));
        let expected = "what,count,p50_ns,p99_ns,max_ns,wakeup_share\ntold,2,2,8,8,\ndecision,2,5,15,15,\nboth,,,,,0.170000\n";
        assert_eq!(harness.csv(), expected);
    }

    #[test]
    fn nothing_is_no_share() {
        let harness = Harness::of(&[], &[], &[]);
        assert_eq!(harness.told, Spread::default());
        assert!(harness.wakeup_share.abs() < 1e-12);
    }
}
