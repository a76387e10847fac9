//! The host link: two lanes, each a first in, first out server, that slow each other down.
//!
//! ```text
//!   D2H ──► [ chunk 3 | chunk 2 | chunk 1 ] ──► done      rate alone, or shared
//!   H2D ──► [ chunk 2 | chunk 1 ] ──► done                while the other lane is busy
//! ```
//!
//! A copy never overtakes another of its direction, not even from another stream: the copy engine behaves so, and a
//! demand swap-in therefore waits behind a large swap-out. Callers that care copy in chunks.
//!
//! Steps read and write the same HBM, and slow either lane a little.
//!
//! The lanes look at each other only when time moves on ([`Link::settle`]): a lane that falls idle and takes its next
//! copy at the same instant was never idle.
//!
//! **Absent on purpose:** priorities. The hardware has none.
//! Checked against a slow obvious model, `link/reference.rs`.

mod cost;
mod lane;
#[cfg(test)]
mod reference;

pub use cost::{Beside, LaneCost, LinkCost};
pub(crate) use cost::{moved_bytes, transfer_ns};
pub(crate) use lane::Lane;

use engine::device::CopyRun;
use model::{Direction, Nanos, OpId, Time};

/// Both lanes.
#[derive(Debug)]
pub(crate) struct Link {
    lanes: [Lane; 2],
}

/// A copy that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    pub op: OpId,
    pub start: Time,
    pub end: Time,
    pub chunks: u32,
}

impl Link {
    pub fn new(cost: &LinkCost) -> Self {
        Self {
            lanes: Direction::LINK
                .map(|direction| Lane::new(*cost.lane(direction), cost.lane_depth())),
        }
    }

    /// Starts `run` at `now`.
    pub fn submit(&mut self, now: Time, run: &CopyRun) {
        self.lane_mut(run.direction).submit(now, run);
    }

    /// Which lanes are busy: bit 0 for D2H, bit 1 for H2D.
    pub fn busy(&self) -> usize {
        usize::from(self.lanes[0].is_busy()) | usize::from(self.lanes[1].is_busy()) << 1
    }

    /// Lets each lane see whether the other one is busy, and whether steps run. To be called before time moves on from `now`.
    pub fn settle(&mut self, now: Time, steps: bool) {
        let [d2h, h2d] = self.lanes.each_ref().map(Lane::is_busy);
        self.lanes[0].settle(now, Beside { other: h2d, steps });
        self.lanes[1].settle(now, Beside { other: d2h, steps });
    }

    /// When the first copy in flight ends, if nothing else happens.
    pub fn next_end(&self) -> Option<Time> {
        self.lanes.iter().filter_map(Lane::end).min()
    }

    /// Takes out the copies that are over at `now`.
    pub fn complete(&mut self, now: Time) -> impl Iterator<Item = Copied> {
        self.lanes
            .each_mut()
            .map(|lane| lane.complete(now))
            .into_iter()
            .flatten()
    }

    /// The lane that `op` is in.
    pub fn lane_of(&self, op: OpId) -> Option<Direction> {
        Direction::LINK
            .into_iter()
            .find(|direction| self.lane(*direction).holds(op))
    }

    pub fn lane(&self, direction: Direction) -> &Lane {
        &self.lanes[direction.index()]
    }

    pub fn lane_mut(&mut self, direction: Direction) -> &mut Lane {
        &mut self.lanes[direction.index()]
    }

    pub fn lane_busy(&self, now: Time, direction: Direction) -> Nanos {
        self.lane(direction).busy(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;
    use crate::hardware::CopyMethod;
    use model::{Bytes, SessionId};
    use std::num::NonZeroU64;

    const MIB: u64 = 1 << 20;

    fn link(alone: [u64; 2], shared: [u64; 2], copy_ns: u64) -> Link {
        let lane = |index: usize| LaneCost {
            copy_ns,
            block_ns: 0,
            bytes_per_s: NonZeroU64::new(alone[index]).unwrap(),
            bytes_per_s_shared: NonZeroU64::new(shared[index]).unwrap(),
            slowdown_ppm: 0,
            beside_steps_ppm: 0,
        };
        Link::new(&LinkCost::new(lane(0), lane(1)))
    }

    /// The link as a micro-benchmark on an H200 found it, which the H100's profile keeps.
    fn pcie5() -> Link {
        Link::new(
            &catalog::hardware("h100-80g-pcie5")
                .unwrap()
                .link_cost(CopyMethod::Gather, 0),
        )
    }

    fn copy(
        id: u64,
        direction: Direction,
        blocks: u32,
        chunk_blocks: u32,
        block_bytes: u64,
    ) -> CopyRun {
        CopyRun {
            id: OpId(id),
            session: SessionId(0),
            direction,
            class: engine::device::CopyClass::Demand,
            block_count: blocks,
            chunk_blocks,
            block_bytes: Bytes(block_bytes),
            blocks: Vec::new(),
        }
    }

    fn end_alone(mut link: Link, run: &CopyRun) -> u64 {
        link.submit(Time::ZERO, run);
        link.settle(Time::ZERO, false);
        link.next_end().unwrap().0
    }

    #[test]
    fn a_copy_takes_its_fixed_cost_plus_bytes_over_rate() {
        // 2 MiB at 54.6 GB/s: 2,097,152 B / 54.6 B/ns = 38,409.4 ns, rounded up, plus 4,200.
        let rate = 54_600_000_000;
        let end = end_alone(
            link([rate; 2], [rate; 2], 4_200),
            &copy(0, Direction::H2d, 1, 1, 2 * MIB),
        );
        assert_eq!(end, 4_200 + 38_410);
    }

    #[test]
    fn small_copies_cost_what_was_measured_on_an_pcie5() {
        // Measured: 4 KiB 4.2 us, 256 KiB 9.2 us, 2 MiB 42 us.
        for (bytes, ns) in [(4 << 10, 4_275), (256 << 10, 8_975), (2 << 20, 42_400)] {
            assert_eq!(
                end_alone(pcie5(), &copy(0, Direction::H2d, 1, 1, bytes)),
                ns
            );
        }
    }

    #[test]
    fn eight_mib_behind_two_gib_start_39_ms_later_unless_chunked() {
        // As one chunk: 2 GiB / 54.9 B/ns = 39,116.28 us, plus 4.2 us.
        let large = copy(0, Direction::H2d, 256, 256, 8 * MIB);
        assert_eq!(end_alone(pcie5(), &large), 39_116_278 + 4_200);

        // In chunks of one block, cut after a millisecond: 8 MiB take 152,798 + 4,200 ns, so 6 chunks are over, and the
        // seventh and eighth are in the lane. The small copy starts after 8 chunks, at 1.26 ms.
        let mut link = pcie5();
        let now = Time(1_000_000);
        link.submit(Time::ZERO, &copy(0, Direction::H2d, 256, 1, 8 * MIB));
        link.settle(Time::ZERO, false);
        assert_eq!(link.lane(Direction::H2d).progress(now), 6);
        assert_eq!(link.lane_mut(Direction::H2d).cut(now), 8);
        link.settle(now, false);
        assert_eq!(link.next_end(), Some(Time(8 * (152_798 + 4_200))));
    }

    #[test]
    fn both_ways_at_once_run_at_44_6_and_51_7_gb_per_s() {
        let mut link = pcie5();
        // As many bytes as each lane moves in 10 ms, beside the other, after its fixed cost.
        link.submit(Time::ZERO, &copy(0, Direction::D2h, 1, 1, 517_000_000));
        link.submit(Time::ZERO, &copy(1, Direction::H2d, 1, 1, 446_000_000));
        link.settle(Time::ZERO, false);
        assert_eq!(
            link.lanes.each_ref().map(Lane::end),
            [Some(Time(10_004_200)); 2]
        );
    }

    #[test]
    fn a_copy_goes_on_faster_once_the_other_lane_is_idle() {
        // Alone 10 B/ns, shared 4 B/ns. D2H moves 400 B, over at 100; until then H2D has moved 400 of its 1,000 B,
        // and takes 60 ns for the rest.
        let mut link = link([10_000_000_000; 2], [4_000_000_000; 2], 0);
        link.submit(Time::ZERO, &copy(0, Direction::D2h, 1, 1, 400));
        link.submit(Time::ZERO, &copy(1, Direction::H2d, 1, 1, 1_000));
        link.settle(Time::ZERO, false);
        assert_eq!(link.next_end(), Some(Time(100)));
        assert_eq!(
            link.complete(Time(100))
                .map(|copied| copied.op)
                .collect::<Vec<_>>(),
            [OpId(0)]
        );
        link.settle(Time(100), false);
        assert_eq!(link.next_end(), Some(Time(160)));
    }

    #[test]
    fn a_lane_that_is_idle_for_no_time_was_not_idle() {
        let schedule = |gap: bool| {
            let mut link = link([7_000_000_000; 2], [3_000_000_000; 2], 0);
            link.submit(Time::ZERO, &copy(0, Direction::D2h, 1, 1, 100));
            link.submit(Time::ZERO, &copy(1, Direction::H2d, 1, 1, 1_000));
            link.settle(Time::ZERO, false);
            // 100 B / 3 B/ns: over at 34.
            assert_eq!(link.complete(Time(34)).count(), 1);
            if gap {
                link.settle(Time(34), false);
                assert_eq!(link.busy(), 0b10);
            }
            link.submit(Time(34), &copy(2, Direction::D2h, 1, 1, 9_000));
            link.settle(Time(34), false);
            link.next_end()
        };
        // 1,000 B / 3 B/ns = 333.3. Seen to fall idle and return, the lane rounds once more, but never ends early.
        assert_eq!(schedule(false), Some(Time(334)));
        assert!(schedule(true) >= schedule(false));
    }
}
