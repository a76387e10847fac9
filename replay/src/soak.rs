//! Copies both ways for as long as it takes to move so many bytes, each block verified before it leaves and after it returns.
//!
//! ```text
//!   round 0   D2H: HBM half 0 ─► host half 0     H2D: host half 1 ─► HBM half 1      at once
//!   round 1   D2H: HBM half 1 ─► host half 1     H2D: host half 0 ─► HBM half 0
//! ```
//!
//! Every round rotates the blocks of a half by another step, so that no block returns to where its content still lies: a copy that is dropped
//! leaves another block's stamp, and is caught by the next look at it.

use crate::backend::Backend;
use crate::device::ReplayDevice;
use engine::device::{BlockCopy, CopyClass, CopyRun, Device, DeviceError, Op};
use model::{Bytes, ContentId, Direction, LineageId, OpId, SessionId};
use std::time::Instant;

/// What was moved, and in which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soaked {
    /// Bytes, D2H and H2D.
    pub moved: [u64; 2],
    /// Wall-clock time \[ns\].
    pub nanos: u64,
}

/// Half a pool: which content lies in each of its HBM blocks and in each of its host blocks.
struct Half {
    lineage: LineageId,
    first: u32,
    hbm: Vec<u32>,
    host: Vec<u32>,
}

impl Half {
    fn content(&self, index: u32) -> ContentId {
        ContentId {
            lineage: self.lineage,
            index,
        }
    }

    /// The blocks of a copy: what lies in block `at` goes to the one `step` further on.
    fn rotated(&mut self, direction: Direction, step: u32) -> Vec<BlockCopy> {
        let (from, count) = match direction {
            Direction::D2h => (&self.hbm, self.hbm.len() as u32),
            _ => (&self.host, self.host.len() as u32),
        };
        let mut to = vec![0; from.len()];
        let mut blocks = Vec::with_capacity(from.len());
        for (at, &index) in (0..).zip(from) {
            let destination = (at + step) % count;
            to[destination as usize] = index;
            blocks.push(BlockCopy {
                source: self.first + at,
                destination: self.first + destination,
                content: self.content(index),
            });
        }
        match direction {
            Direction::D2h => self.host = to,
            _ => self.hbm = to,
        }
        blocks
    }
}

/// Moves at least `bytes` in each direction; `progress` hears what was moved so far.
///
/// # Errors
/// The first copy that fails, or that brings back another content: by session, copy and block.
///
/// # Panics
/// If either pool has fewer than four blocks.
pub fn soak<B: Backend>(
    device: &mut ReplayDevice<B>,
    block_bytes: Bytes,
    chunk_blocks: u32,
    bytes: u64,
    progress: &mut dyn FnMut([u64; 2]),
) -> Result<Soaked, DeviceError> {
    let [hbm, host] = device.backend().pools();
    let count = hbm.min(host) / 2;
    assert!(count >= 2, "two halves of at least two blocks");
    let mut halves = [0, 1].map(|half| Half {
        lineage: LineageId(half),
        first: half * count,
        hbm: (0..count).collect(),
        host: (0..count).collect(),
    });
    for half in &halves {
        for &index in &half.hbm {
            device.wrote(half.first + index, half.content(index));
        }
    }
    let begun = Instant::now();
    let mut soaked = Soaked {
        moved: [0; 2],
        nanos: 0,
    };
    let mut round = 0;
    while soaked.moved.iter().any(|moved| *moved < bytes) {
        let out = round % 2;
        // Odd steps from 1 on: none is a whole turn of an even count, and no two rounds in a row have the same.
        let step = (2 * round as u32 + 1) % count.max(2);
        let mut copies = vec![(Direction::D2h, out)];
        // In the first round nothing is on the host yet.
        copies.extend((round > 0).then_some((Direction::H2d, 1 - out)));
        let submitted = copies.len();
        for (direction, half) in copies {
            let half = &mut halves[half];
            device.submit(Op::Copy(CopyRun {
                id: OpId(2 * round as u64 + direction.index() as u64),
                session: SessionId(half.lineage.0),
                direction,
                class: CopyClass::Demand,
                block_count: count,
                chunk_blocks,
                block_bytes,
                blocks: half.rotated(direction, step),
            }));
            soaked.moved[direction.index()] += u64::from(count) * block_bytes.0;
        }
        let mut done = Vec::with_capacity(submitted);
        while done.len() < submitted {
            device.wait(None, &mut done);
        }
        for completion in done {
            completion.status?;
        }
        round += 1;
        progress(soaked.moved);
    }
    soaked.nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Ok(soaked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{DeviceOptions, FaultPlan};
    use crate::fake::FakeGpu;
    use devices::CopyFault;

    const BLOCK: Bytes = Bytes(1 << 20);

    fn run(faults: FaultPlan) -> Result<Soaked, DeviceError> {
        let device = ReplayDevice::new(FakeGpu::new(16, 16), DeviceOptions::default()).unwrap();
        let mut device = device.with_faults(faults);
        soak(&mut device, BLOCK, 4, 40 << 20, &mut |_| ())
    }

    #[test]
    fn both_directions_move_what_was_asked_for() {
        // Halves of 8 blocks; H2D begins a round later: 5 rounds of 8 MiB come to 40, and D2H has one more.
        let soaked = run(FaultPlan::default()).unwrap();
        assert_eq!(soaked.moved, [48 << 20, 40 << 20]);
    }

    #[test]
    fn a_byte_that_flips_in_a_later_round_is_caught() {
        // Copies 0, then 1 and 2, then 3 and 4: copy 4 comes back wrong.
        let error = run(FaultPlan::default().with(4, CopyFault::FlipByte)).unwrap_err();
        assert!(error.to_string().contains("after arriving"), "{error}");
    }
}
