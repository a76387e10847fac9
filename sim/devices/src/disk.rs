//! The disk behind host memory: a lane to write it and a lane to read it, first in, first out, like those of the link.
//!
//! ```text
//!   disk-write ──► [ chunk 2 | chunk 1 ] ──► done     at the rate of writes
//!   disk-read  ──► [ chunk 2 | chunk 1 ] ──► done     at the rate of reads
//! ```
//!
//! **Absent on purpose:** what reads and writes do to each other, and what either does to the link and to steps. Data sheets do not say,
//! and a disk moves a tenth of what host memory and the link do. Source of the rates: the table `disk` of a hardware profile.

use crate::link::{Copied, Lane, LaneCost};
use engine::device::CopyRun;
use model::{Bytes, CopyEstimate, Direction, Nanos, OpId, Time};
use std::num::{NonZeroU32, NonZeroU64};

/// Constants of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskCost {
    /// Fixed cost of a chunk, each way \[ns\]: the latency of the device.
    pub copy_ns: u64,
    /// Rate of writes.
    pub write_bytes_per_s: NonZeroU64,
    /// Rate of reads.
    pub read_bytes_per_s: NonZeroU64,
    /// Chunks that a lane holds, the one in service included.
    pub lane_depth: NonZeroU32,
}

impl DiskCost {
    /// What a server that knows the disk expects of a copy, to be written and to be read.
    pub fn estimates(&self) -> [CopyEstimate; 2] {
        [self.write_bytes_per_s, self.read_bytes_per_s].map(|rate| CopyEstimate {
            queued: Bytes::ZERO,
            bytes_per_s: rate.get(),
            fixed: Nanos(self.copy_ns),
        })
    }

    fn lane(&self, bytes_per_s: NonZeroU64) -> Lane {
        let cost = LaneCost {
            copy_ns: self.copy_ns,
            block_ns: 0,
            bytes_per_s,
            bytes_per_s_shared: bytes_per_s,
            slowdown_ppm: 0,
            beside_steps_ppm: 0,
        };
        Lane::new(cost, self.lane_depth.get())
    }
}

/// Both lanes.
#[derive(Debug)]
pub(crate) struct Disk {
    lanes: [Lane; 2],
}

impl Disk {
    pub fn new(cost: &DiskCost) -> Self {
        Self {
            lanes: [cost.write_bytes_per_s, cost.read_bytes_per_s].map(|rate| cost.lane(rate)),
        }
    }

    /// Starts `run` at `now`.
    pub fn submit(&mut self, now: Time, run: &CopyRun) {
        self.lane_mut(run.direction).submit(now, run);
    }

    /// When the first copy in flight ends.
    pub fn next_end(&self) -> Option<Time> {
        self.lanes.iter().filter_map(Lane::end).min()
    }

    /// Takes out the copies that are over at `now`.
    pub fn complete(&mut self, now: Time) -> impl Iterator<Item = Copied> {
        let over = self.lanes.each_mut().map(|lane| lane.complete(now));
        over.into_iter().flatten()
    }

    /// The lane that `op` is in.
    pub fn holding(&mut self, op: OpId) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.holds(op))
    }

    /// The same, to look at.
    pub fn lane_of(&self, op: OpId) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.holds(op))
    }

    /// Time in which a lane has been busy up to `now`.
    pub fn lane_busy(&self, now: Time, direction: Direction) -> Nanos {
        self.lanes[usize::from(direction == Direction::DiskRead)].busy(now)
    }

    fn lane_mut(&mut self, direction: Direction) -> &mut Lane {
        &mut self.lanes[usize::from(direction == Direction::DiskRead)]
    }
}

#[cfg(test)]
mod tests {
    use crate::{DiskCost, LaneCost, LinkCost, SimDevice, StepCost};
    use engine::device::{Completion, CopyClass, CopyRun, Device, Op};
    use model::{Bytes, Direction, OpId, SessionId, Time};
    use std::num::{NonZeroU32, NonZeroU64};

    fn rate(bytes_per_s: u64) -> NonZeroU64 {
        NonZeroU64::new(bytes_per_s).expect("not zero")
    }

    /// 4 GB/s to write, 8 to read, 50 us each; a link of 1 GB/s that halves when both ways are busy.
    fn device() -> SimDevice {
        let lane = LaneCost {
            copy_ns: 0,
            block_ns: 0,
            bytes_per_s: rate(1_000_000_000),
            bytes_per_s_shared: rate(500_000_000),
            slowdown_ppm: 0,
            beside_steps_ppm: 0,
        };
        let cost = DiskCost {
            copy_ns: 50_000,
            write_bytes_per_s: rate(4_000_000_000),
            read_bytes_per_s: rate(8_000_000_000),
            lane_depth: NonZeroU32::new(2).expect("not zero"),
        };
        let steps = StepCost::linear(1_000_000, 0, 0, 0);
        SimDevice::new(steps, &LinkCost::new(lane, lane), 0).with_disk(Some(cost))
    }

    fn copy(id: u64, direction: Direction, blocks: u32) -> Op {
        Op::Copy(CopyRun {
            id: OpId(id),
            session: SessionId(0),
            direction,
            class: CopyClass::WriteBack,
            block_count: blocks,
            chunk_blocks: 1,
            block_bytes: Bytes(1_000_000),
            blocks: Vec::new(),
        })
    }

    fn ends(device: &mut SimDevice, count: usize) -> Vec<(u64, u64, u32)> {
        let mut done: Vec<Completion> = Vec::new();
        while done.len() < count {
            device.wait(None, &mut done);
        }
        done.iter().map(|c| (c.op.0, c.end.0, c.units)).collect()
    }

    #[test]
    fn each_way_has_a_rate_and_a_latency_and_neither_slows_the_link() {
        let mut device = device();
        device.submit(copy(0, Direction::DiskWrite, 2));
        device.submit(copy(1, Direction::DiskRead, 2));
        device.submit(copy(2, Direction::D2h, 1));
        // 1 MB: 250 us written, 125 us read, 50 us of latency each; 1 ms over the link, alone in its way.
        let ends = ends(&mut device, 3);
        assert_eq!(ends, [(1, 350_000, 2), (0, 600_000, 2), (2, 1_000_000, 1)]);
        assert_eq!(device.lane_busy(Direction::DiskWrite).0, 600_000);
        assert_eq!(device.lane_busy(Direction::DiskRead).0, 350_000);
    }

    #[test]
    fn a_cut_leaves_what_the_lane_has_been_handed() {
        let mut device = device();
        device.submit(copy(0, Direction::DiskWrite, 10));
        let mut done = Vec::new();
        // A chunk takes 300 us: at 400 the second is in service, and the third is in the lane.
        device.wait(Some(Time(400_000)), &mut done);
        assert_eq!(device.progress(OpId(0)), 1);
        assert_eq!(device.cut(OpId(0)), 3);
        assert_eq!(ends(&mut device, 1), [(0, 900_000, 3)]);
    }
}
