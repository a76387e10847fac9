//! Whether an open-loop run was stable: the backlog when arrivals end against the backlog half-way.
//!
//! ```text
//!   arrivals  |----------[ middle fifth ]----------[ last fifth ]|  drain ...
//!             first                                            last
//! ```
//!
//! The *backlog* at an instant is the number of turns that are ready and not finished. Where the service
//! cannot keep up it grows in proportion to time, and its mean over the last fifth (centre 0.9) is 1.8
//! times that over the middle fifth (centre 0.5). A run is called stable if it is at most
//! [`STABLE_GROWTH`] times as large, plus [`STABLE_SLACK`] turns for the noise of small backlogs.
//!
//! **Absent on purpose:** a verdict where it cannot be had: fewer than [`SESSIONS_MIN`] sessions, all
//! of them arriving at once (a closed loop or a burst), or a run that was cut off.

use crate::metrics::Measure;

/// Growth from the middle to the end up to which a run is called stable. Chosen: half-way between no
/// growth (1) and growth in proportion to time (1.8), rounded up.
pub const STABLE_GROWTH: f64 = 1.5;

/// Turns by which the backlog may grow in any case. Chosen: a queue at 60 % load has a mean backlog of
/// one to two turns, and its mean over a fifth of 80 arrivals strays by about as much.
pub const STABLE_SLACK: f64 = 4.0;

/// Fewer arrivals leave less than four in a fifth.
pub const SESSIONS_MIN: usize = 20;

/// Backlog in the middle and at the end of the arrivals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backlog {
    /// Mean over the middle fifth.
    pub mid: f64,
    /// Mean over the last fifth.
    pub end: f64,
}

impl Backlog {
    /// From the arrivals of sessions and the `(ready, end)` of every turn \[ns\]; `None` where no verdict
    /// can be had. Arrivals outside the measured time are not looked at, and where that has an end, it ends the arrivals: a sub-agent
    /// that a session starts in the drain is none.
    pub(super) fn of(measure: Measure, arrivals: &[u64], turns: &[(u64, u64)]) -> Option<Self> {
        let counted = arrivals
            .iter()
            .copied()
            .filter(|&start| measure.counts(start));
        let first = counted.clone().min()?;
        let last = counted.clone().max()?;
        let window = last - first;
        if !measure.drained || counted.count() < SESSIONS_MIN || window < 5 {
            return None;
        }
        let at = |tenths: u64| first + (u128::from(window) * u128::from(tenths) / 10) as u64;
        Some(Self {
            mid: mean_between(at(4), at(6), turns),
            end: mean_between(at(8), at(10), turns),
        })
    }

    /// Whether the backlog at the end is no larger than noise and the middle account for.
    pub fn stable(&self) -> bool {
        self.end <= STABLE_GROWTH * self.mid + STABLE_SLACK
    }
}

/// Mean number of turns that are ready and unfinished between `from` and `to`.
fn mean_between(from: u64, to: u64, turns: &[(u64, u64)]) -> f64 {
    let overlap = |&(ready, end): &(u64, u64)| end.min(to).saturating_sub(ready.max(from));
    let total: u128 = turns.iter().map(|turn| u128::from(overlap(turn))).sum();
    total as f64 / (to - from) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURE: Measure = Measure {
        warmup_ns: 0,
        until_ns: u64::MAX,
        slo_ns: 0,
        drained: true,
    };

    /// 101 sessions of one turn each, one every 10 ns, served one at a time in `service` ns.
    fn single_server(service: u64) -> (Vec<u64>, Vec<(u64, u64)>) {
        let arrivals: Vec<u64> = (0..101).map(|i| i * 10).collect();
        let mut free = 0;
        let turns = arrivals.iter().map(|&ready| {
            free = ready.max(free) + service;
            (ready, free)
        });
        (arrivals.clone(), turns.collect())
    }

    #[test]
    fn a_server_with_time_to_spare_is_stable() {
        let (arrivals, turns) = single_server(5);
        let backlog = Backlog::of(MEASURE, &arrivals, &turns).unwrap();
        // Busy 5 ns of every 10, one turn at a time.
        assert!((backlog.mid - 0.5).abs() < 1e-9 && (backlog.end - 0.5).abs() < 1e-9);
        assert!(backlog.stable());
    }

    #[test]
    fn a_server_that_falls_behind_is_not() {
        let (arrivals, turns) = single_server(20);
        let backlog = Backlog::of(MEASURE, &arrivals, &turns).unwrap();
        // At time t some t/10 have arrived and t/20 are done: about 25 are left half-way (t = 500), 45 at
        // the centre of the last fifth (t = 900).
        assert!((backlog.mid - 25.0).abs() < 1.5, "{backlog:?}");
        assert!((backlog.end - 45.0).abs() < 1.5, "{backlog:?}");
        assert!(!backlog.stable());
    }

    #[test]
    fn arrivals_end_with_the_measured_time_and_not_with_what_starts_in_the_drain() {
        let (mut arrivals, turns) = single_server(20);
        // A sub-agent started at 2,000 ns, when 1,000 ns of arrivals are over and the backlog shrinks.
        arrivals.push(2_000);
        let whole = Backlog::of(MEASURE, &arrivals, &turns).unwrap();
        assert!(whole.stable(), "the drain is taken for the end: {whole:?}");
        let measured = Measure {
            until_ns: 1_001,
            ..MEASURE
        };
        let backlog = Backlog::of(measured, &arrivals, &turns).unwrap();
        assert!(!backlog.stable(), "{backlog:?}");
    }

    #[test]
    fn there_is_no_verdict_on_a_burst_a_handful_or_a_run_cut_short() {
        let (arrivals, turns) = single_server(20);
        assert_eq!(Backlog::of(MEASURE, &[7; 101], &turns), None);
        assert_eq!(Backlog::of(MEASURE, &arrivals[..19], &turns), None);
        assert_eq!(Backlog::of(MEASURE, &[], &turns), None);
        let cut = Measure {
            drained: false,
            ..MEASURE
        };
        assert_eq!(Backlog::of(cut, &arrivals, &turns), None);
    }
}
