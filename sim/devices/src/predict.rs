//! What the cost model expects of one operation of a recorded run, given when it began and what ran beside it.
//!
//! The *open loop* of a validation: an error here is the model's alone, for everything that leads up to the operation (its
//! start, its shape, its neighbours) is taken from the recording.

use crate::link::{moved_bytes, transfer_ns};
use crate::{Beside, LaneCost, LinkCost, Load, SlowDown, StepCost, StepTotals, Work};
use model::{Bytes, Direction, Nanos, Time};

/// When a server was busy: spans that do not overlap, in order.
#[derive(Clone, Debug, Default)]
pub struct Busy(Vec<(Time, Time)>);

impl Busy {
    /// From spans in any order. Those that touch or overlap become one.
    pub fn new(mut spans: Vec<(Time, Time)>) -> Self {
        spans.sort_unstable();
        let mut merged: Vec<(Time, Time)> = Vec::with_capacity(spans.len());
        for (start, end) in spans {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        Self(merged)
    }

    /// Whether it is busy from `at` on, and when that changes.
    fn state(&self, at: Time) -> (bool, Option<Time>) {
        let next = self.0.partition_point(|&(_, end)| end <= at);
        match self.0.get(next) {
            Some(&(start, end)) if start <= at => (true, Some(end)),
            Some(&(start, _)) => (false, Some(start)),
            None => (false, None),
        }
    }

    /// Whether it is busy at some time from `start` to `end`.
    pub fn meets(&self, start: Time, end: Time) -> bool {
        let next = self.0.partition_point(|&(_, until)| until <= start);
        self.0.get(next).is_some_and(|&(from, _)| from < end)
    }

    /// For how long it had been idle when it became busy at `at`; `None`: since ever.
    pub fn idle_before(&self, at: Time) -> Option<Nanos> {
        let here = self.0.partition_point(|&(start, _)| start < at);
        let &(_, end) = self.0.get(here.checked_sub(1)?)?;
        // Busy at `at` already: not idle.
        Some(at.since(end.min(at)))
    }
}

/// A copy as it was recorded.
#[derive(Clone, Copy, Debug)]
pub struct CopyShape {
    /// KV blocks.
    pub blocks: u32,
    /// KV blocks in a chunk.
    pub chunk_blocks: u32,
    /// Bytes of a block.
    pub block_bytes: Bytes,
}

/// How long a copy takes that begins at `start`, beside these copies of the other direction and these steps.
pub fn copy_time(
    lane: &LaneCost,
    copy: CopyShape,
    start: Time,
    other: &Busy,
    steps: &Busy,
) -> Nanos {
    let mut now = start;
    let mut left = copy.blocks;
    while left > 0 {
        let blocks = left.min(copy.chunk_blocks.max(1));
        left -= blocks;
        now = now + Nanos(lane.overhead_ns(blocks));
        let mut bytes = u64::from(blocks) * copy.block_bytes.0;
        while bytes > 0 {
            let ((other, other_until), (steps, steps_until)) = (other.state(now), steps.state(now));
            let rate = lane.rate(Beside { other, steps });
            let end = now + Nanos(transfer_ns(bytes, rate));
            let change = [other_until, steps_until].into_iter().flatten().min();
            if let Some(change) = change.filter(|change| *change < end) {
                bytes -= moved_bytes(change.since(now).0, rate).min(bytes);
                now = change;
            } else {
                (now, bytes) = (end, 0);
            }
        }
    }
    now.since(start)
}

/// A run of steps as it was recorded.
#[derive(Clone, Copy, Debug)]
pub struct StepsShape {
    /// The first. One with prompt tokens is followed by decode steps of one sequence (the serial engine's run); otherwise each step reads one token
    /// more of each sequence than the one before.
    pub first: StepTotals,
    /// How many.
    pub count: u32,
}

/// How long a run of steps takes that begins at `start`, on a GPU that had computed nothing for `idle` by then (`None`: since
/// ever; the time of the dispatch is part of it) and `load` before, beside these copies, D2H and H2D.
pub fn steps_time(
    cost: &StepCost,
    link: &LinkCost,
    StepsShape { first, count }: StepsShape,
    start: Time,
    idle: Option<Nanos>,
    load: &Load,
    copies: &[Busy; 2],
) -> Nanos {
    let undispatched = |idle: Nanos| Nanos(idle.0.saturating_sub(cost.idle.dispatch_ns));
    let longer = cost.idle.longer(idle.map(undispatched));
    let begins = start + longer;
    let (mut now, mut totals) = (begins, first);
    let rested = SlowDown::NONE.nanos(cost.totals_ps(&first));
    for _ in 0..count {
        let ppm: u32 = Direction::LINK
            .iter()
            .filter(|direction| copies[direction.index()].state(now).0)
            .map(|direction| link.lane(*direction).slowdown_ppm)
            .sum();
        // A run with prompts is slowed down by the load at which it begins.
        let at = if first.prefill_tokens > 0 {
            begins
        } else {
            now
        };
        let ppm = ppm + load.ppm(&cost.throttle, at, Work::of(&first), rested);
        now = now + SlowDown::ppm(ppm).nanos(cost.totals_ps(&totals));
        if totals.prefill_tokens > 0 {
            totals = StepTotals {
                decode_seqs: totals.decode_seqs + 1,
                decode_kv_tokens: totals.decode_kv_tokens + totals.prefill_kv_tokens + 1,
                ..StepTotals::default()
            };
        } else {
            totals.decode_kv_tokens += u64::from(totals.decode_seqs);
        }
    }
    now.since(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IdleCost;
    use std::num::NonZeroU64;

    /// 1 B/ns alone, half of it beside the other direction; a fifth slower beside steps; 10 ns a chunk, 1 ns a block.
    const LANE: LaneCost = LaneCost {
        copy_ns: 10,
        block_ns: 1,
        bytes_per_s: NonZeroU64::new(1_000_000_000).unwrap(),
        bytes_per_s_shared: NonZeroU64::new(500_000_000).unwrap(),
        slowdown_ppm: 100_000,
        beside_steps_ppm: 250_000,
    };
    const COPY: CopyShape = CopyShape {
        blocks: 5,
        chunk_blocks: 2,
        block_bytes: Bytes(100),
    };

    fn busy(spans: &[(u64, u64)]) -> Busy {
        Busy::new(
            spans
                .iter()
                .map(|&(from, to)| (Time(from), Time(to)))
                .collect(),
        )
    }

    #[test]
    fn a_copy_alone_is_its_chunks_one_after_the_other() {
        // Chunks of 2, 2 and 1 blocks: 3 * 10 + 5 * 1 + 500 ns.
        let time = copy_time(&LANE, COPY, Time(7), &busy(&[]), &busy(&[]));
        assert_eq!(time, Nanos(535));
    }

    #[test]
    fn a_copy_is_slower_exactly_while_something_runs_beside_it() {
        // Bytes of the first chunk move from 12 to 212. Half the rate from 112 on: 100 ns become 200, up to 312; nothing after.
        let time = copy_time(&LANE, COPY, Time(0), &busy(&[(112, 312)]), &busy(&[]));
        assert_eq!(time, Nanos(635));
        // Steps from the start to the end of the first chunk's bytes: 200 B at 0.8 B/ns take 250 ns.
        let time = copy_time(&LANE, COPY, Time(0), &busy(&[]), &busy(&[(0, 262)]));
        assert_eq!(time, Nanos(585));
    }

    #[test]
    fn a_step_is_slowed_by_what_runs_when_it_begins() {
        let cost = StepCost::linear(1_000_000, 0, 0, 1_000);
        let lane = LinkCost::new(LANE, LANE);
        let decode = StepTotals {
            decode_seqs: 2,
            decode_kv_tokens: 100,
            ..StepTotals::default()
        };
        let steps = StepsShape {
            first: decode,
            count: 2,
        };
        let rested = Load::default();
        let time =
            |copies: &[Busy; 2]| steps_time(&cost, &lane, steps, Time(0), None, &rested, copies);
        // 1,000 + 100 ns, then 1,000 + 102 ns.
        assert_eq!(time(&[busy(&[]), busy(&[])]), Nanos(2_202));
        // The first is a tenth slower beside D2H: 1,210; the second begins when D2H is over.
        assert_eq!(time(&[busy(&[(0, 1_200)]), busy(&[])]), Nanos(2_312));
        // Both directions add up: a fifth.
        assert_eq!(
            time(&[busy(&[(0, 1_200)]), busy(&[(0, 1_200)])]),
            Nanos(2_422)
        );
    }

    #[test]
    fn a_serial_run_decodes_what_it_has_prefilled() {
        let cost = StepCost::linear(0, 1_000_000, 0, 1_000);
        let lane = LinkCost::new(LANE, LANE);
        let prefill = StepTotals {
            prefill_tokens: 10,
            prefill_kv_tokens: 30,
            prefill_pairs: 255,
            ..StepTotals::default()
        };
        // 10 us + 30 ns; then 31 and 32 tokens read.
        let time = |cost: &StepCost, idle| {
            let idle = Some(Nanos(idle));
            let (steps, rested) = (
                StepsShape {
                    first: prefill,
                    count: 3,
                },
                Load::default(),
            );
            steps_time(
                cost,
                &lane,
                steps,
                Time(0),
                idle,
                &rested,
                &Default::default(),
            )
        };
        assert_eq!(time(&cost, 0), Nanos(10_030 + 31 + 32));
        // Behind a pause the first takes 500 ns longer, and only then.
        let slow_starter = StepCost {
            idle: IdleCost {
                dispatch_ns: 100,
                pause_ns: 1_900,
                longer_ns: 500,
            },
            ..cost
        };
        assert_eq!(time(&slow_starter, 1_999), Nanos(10_030 + 31 + 32));
        assert_eq!(time(&slow_starter, 2_000), Nanos(10_530 + 31 + 32));
    }

    #[test]
    fn a_server_has_been_idle_since_the_span_before() {
        let steps = busy(&[(10, 20), (20, 30), (50, 60)]);
        assert_eq!(steps.idle_before(Time(10)), None);
        // The second begins as the first ends.
        assert_eq!(steps.idle_before(Time(20)), Some(Nanos(0)));
        assert_eq!(steps.idle_before(Time(50)), Some(Nanos(20)));
        let meets = |start, end| steps.meets(Time(start), Time(end));
        assert!(meets(0, 11) && meets(29, 50) && meets(55, 56) && meets(0, 99));
        assert!(!meets(0, 10) && !meets(30, 50) && !meets(60, 99));
    }
}
