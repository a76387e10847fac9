//! A device on host memory: real bytes, real threads, no GPU.
//!
//! ```text
//!   HBM arena  ══ D2H mover ══►  host arena       one thread per direction, chunk after chunk
//!              ◄══ H2D mover ══                    stamps checked before leaving and after arriving
//! ```
//!
//! Under a *virtual* clock time is [`SimDevice`]'s, and a completion is delivered only after its bytes have arrived, so that
//! simulated and host-memory runs give equal logs while data movement and ordering are tested. Under a *wall* clock copies
//! take what they take and steps sleep for as long as the cost model says.
//!
//! **Absent on purpose:** the content of steps. A step's only trace in memory is what the engine says it
//! [wrote](Device::wrote).

mod arena;
mod fault;
mod lanes;
mod mover;
mod virtual_clock;
mod wall;

pub use fault::{CopyFault, FaultPlan};

use crate::{DiskCost, LinkCost, SimDevice, StepCost};
use arena::Arena;
use engine::device::{Completion, CopyRun, Device, Op};
use lanes::Lanes;
use model::{ContentId, Direction, Nanos, OpId, Tier, Time};
use mover::Arenas;
use std::sync::Arc;
use std::time::Duration;
use wall::WallClock;

/// Sizes of the two pools, and how they are backed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPools {
    /// Blocks of the pool that stands for HBM.
    pub hbm_blocks: u32,
    /// Blocks of the host pool.
    pub host_blocks: u32,
    /// Blocks of the pool that stands for the disk; 0 is none. It is memory like the others.
    pub disk_blocks: u32,
    /// Real bytes behind a modelled block, at least 8. Memory is taken as blocks are first written.
    pub backing_bytes: usize,
    /// Wall time that a chunk may take before its copy counts as failed.
    pub patience: Duration,
}

impl HostPools {
    /// Pools of so many blocks, 4 KiB behind each, and 10 s of patience.
    pub fn new(hbm_blocks: u32, host_blocks: u32) -> Self {
        Self {
            hbm_blocks,
            host_blocks,
            disk_blocks: 0,
            backing_bytes: 4_096,
            patience: Duration::from_secs(10),
        }
    }
}

/// Host memory as a device.
pub struct HostDevice {
    clock: Clock,
    arenas: Arc<Arenas>,
    lanes: Lanes,
    faults: FaultPlan,
    copies_submitted: u64,
    /// Completions of one wait, before they are passed on.
    taken: Vec<Completion>,
}

enum Clock {
    Virtual(Box<SimDevice>),
    Wall(Box<WallClock>),
}

impl HostDevice {
    /// A device whose time is the cost model's.
    pub fn with_virtual_clock(
        steps: StepCost,
        link: &LinkCost,
        ahead: u32,
        pools: HostPools,
    ) -> Self {
        Self::new(
            Clock::Virtual(Box::new(SimDevice::new(steps, link, ahead))),
            pools,
        )
    }

    /// A device on the wall clock, which starts now.
    pub fn with_wall_clock(steps: StepCost, link: &LinkCost, ahead: u32, pools: HostPools) -> Self {
        Self::new(
            Clock::Wall(Box::new(WallClock::new(steps, link, ahead))),
            pools,
        )
    }

    fn new(clock: Clock, pools: HostPools) -> Self {
        let arenas = Arc::new(Arenas {
            hbm: Arena::new(Tier::Hbm, pools.hbm_blocks, pools.backing_bytes),
            host: Arena::new(Tier::Host, pools.host_blocks, pools.backing_bytes),
            disk: Arena::new(Tier::Disk, pools.disk_blocks, pools.backing_bytes),
        });
        Self {
            clock,
            lanes: Lanes::new(&arenas, pools.patience),
            arenas,
            faults: FaultPlan::none(),
            copies_submitted: 0,
            taken: Vec::new(),
        }
    }

    /// The same device with a disk of these costs; under a wall clock copies of the disk take what they take.
    #[must_use]
    pub fn with_disk(mut self, cost: Option<DiskCost>) -> Self {
        self.clock = match self.clock {
            Clock::Virtual(sim) => Clock::Virtual(Box::new(sim.with_disk(cost))),
            wall @ Clock::Wall(_) => wall,
        };
        self
    }

    /// The same device with faults.
    #[must_use]
    pub fn with_faults(mut self, faults: FaultPlan) -> Self {
        self.faults = faults;
        self
    }

    fn submit_copy(&mut self, run: CopyRun) {
        assert_eq!(
            run.blocks.len(),
            run.block_count as usize,
            "copy {} does not name its blocks",
            run.id
        );
        let (from, to) = self.arenas.ends(run.direction);
        for block in &run.blocks {
            let inside = from.contains(block.source) && to.contains(block.destination);
            assert!(
                inside,
                "copy {} names a block outside the pools: {block:?}",
                run.id
            );
        }
        let (op, direction) = (run.id, run.direction);
        let fault = self.faults.of(self.copies_submitted);
        self.copies_submitted += 1;
        if let Clock::Virtual(sim) = &mut self.clock {
            sim.submit(Op::Copy(CopyRun {
                blocks: Vec::new(),
                ..run.clone()
            }));
        }
        self.lanes.submit(run, fault);
        let handed = match &self.clock {
            Clock::Virtual(sim) => sim.handed(op),
            Clock::Wall(wall) => wall.lane_depth(),
        };
        self.lanes.hand(direction, handed);
    }
}

impl Device for HostDevice {
    /// # Panics
    /// If a copy does not name its blocks, or names one outside the pools.
    fn submit(&mut self, op: Op) {
        match (op, &mut self.clock) {
            (Op::Copy(run), _) => self.submit_copy(run),
            (Op::Steps(run), Clock::Virtual(sim)) => sim.submit(Op::Steps(run)),
            (Op::Steps(run), Clock::Wall(wall)) => wall.submit(&run),
        }
    }

    fn cut(&mut self, op: OpId) -> u32 {
        if let Some(chunks) = self.lanes.lost(op) {
            return chunks;
        }
        match &mut self.clock {
            Clock::Virtual(sim) => {
                let handed = sim.cut(op);
                if let Some(moving) = self.lanes.find_mut(op) {
                    moving.chunks = handed;
                }
                handed
            }
            Clock::Wall(wall) => match self.lanes.find_mut(op) {
                Some(moving) => {
                    moving.chunks = moving.handed;
                    moving.handed
                }
                None => wall.cut(op),
            },
        }
    }

    fn progress(&self, op: OpId) -> u32 {
        if let Some(chunks) = self.lanes.lost(op) {
            return chunks;
        }
        match &self.clock {
            Clock::Virtual(sim) => sim.progress(op),
            Clock::Wall(wall) => match self.lanes.find(op) {
                Some(moving) => moving.moved,
                None => wall.progress(op),
            },
        }
    }

    fn wait(&mut self, until: Option<Time>, done: &mut Vec<Completion>) -> Time {
        let lanes = &mut self.lanes;
        match &mut self.clock {
            Clock::Virtual(sim) => virtual_clock::wait(sim, lanes, until, &mut self.taken, done),
            Clock::Wall(wall) => wall.wait(lanes, until, done),
        }
    }

    fn places_blocks(&self) -> bool {
        true
    }

    fn wrote(&mut self, block: u32, content: ContentId) {
        assert!(
            self.arenas.hbm.contains(block),
            "a step wrote block {block}, which is outside the pool"
        );
        self.arenas.hbm.stamp(block, content);
    }

    fn lane_busy(&self, direction: Direction) -> Nanos {
        match &self.clock {
            Clock::Virtual(sim) => sim.lane_busy(direction),
            Clock::Wall(wall) => wall.lane_busy(&self.lanes, direction),
        }
    }
}

#[cfg(test)]
mod tests;
