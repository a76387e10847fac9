//! A copy in flight: which chunks its lane has been handed, and which have arrived.
//!
//! **Invariant:** moved <= handed <= chunks; a chunk that a cut may still take back has not been handed over.

use devices::CopyFault;
use engine::device::{BlockCopy, CopyRun, DeviceError};
use model::{Nanos, Time};
use std::time::{Duration, Instant};

pub(super) struct Moving {
    pub run: CopyRun,
    pub fault: Option<CopyFault>,
    /// Chunks to move: all, or what a cut or a failure left.
    pub chunks: u32,
    pub handed: u32,
    pub moved: u32,
    pub submitted: Time,
    pub started: Option<Time>,
    pub ended: Time,
    pub gpu: Nanos,
    pub check: Nanos,
    pub failure: Option<DeviceError>,
    /// Since when the next chunk has been on its way.
    pub awaited_since: Instant,
}

impl Moving {
    pub fn new(run: CopyRun, fault: Option<CopyFault>, now: Time, instant: Instant) -> Self {
        Self {
            chunks: run.chunks().max(1),
            run,
            fault,
            handed: 0,
            moved: 0,
            submitted: now,
            started: None,
            ended: now,
            gpu: Nanos::ZERO,
            check: Nanos::ZERO,
            failure: None,
            awaited_since: instant,
        }
    }

    /// Blocks of the next chunk, if the lane has room for it.
    pub fn next(&self, lane_depth: u32) -> Option<&[BlockCopy]> {
        let room = self.handed - self.moved < lane_depth;
        (room && self.handed < self.chunks && self.failure.is_none())
            .then(|| self.chunk(self.handed))
    }

    /// Blocks of chunk `chunk`.
    pub fn chunk(&self, chunk: u32) -> &[BlockCopy] {
        let (from, to) = (self.run.blocks_in(chunk), self.run.blocks_in(chunk + 1));
        &self.run.blocks[from as usize..to as usize]
    }

    /// What has been handed over stays; the rest is forgotten.
    pub fn cut(&mut self) -> u32 {
        self.chunks = self.handed.clamp(1, self.chunks);
        self.chunks
    }

    pub fn is_over(&self) -> bool {
        self.moved == self.chunks || self.failure.is_some() && self.moved == self.handed
    }

    /// Chunks that its completion reports.
    pub fn units(&self) -> u32 {
        self.moved.max(1)
    }

    /// The next chunk is on its way for too long.
    pub fn give_up(&mut self, patience: Duration, at: Time) {
        let chunk = self.moved;
        self.fail(format!(
            "stalled: the completion of chunk {chunk} did not come within {patience:?}"
        ));
        self.moved = self.handed;
        self.ended = at.max(self.ended);
    }

    /// Notes why the copy failed, unless it has failed before.
    pub fn fail(&mut self, why: impl std::fmt::Display) {
        let run = &self.run;
        let (direction, op, session) = (run.direction, run.id, run.session);
        self.failure.get_or_insert_with(|| {
            DeviceError(format!("{direction} copy {op} of session {session}: {why}"))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::device::CopyClass;
    use model::{Bytes, ContentId, Direction, LineageId, OpId, SessionId};

    fn moving(blocks: u32, chunk_blocks: u32) -> Moving {
        let block = |at| BlockCopy {
            source: at,
            destination: at,
            content: ContentId {
                lineage: LineageId(1),
                index: at,
            },
        };
        let run = CopyRun {
            id: OpId(4),
            session: SessionId(7),
            direction: Direction::D2h,
            class: CopyClass::Demand,
            block_count: blocks,
            chunk_blocks,
            block_bytes: Bytes(4_096),
            blocks: (0..blocks).map(block).collect(),
        };
        Moving::new(run, None, Time::ZERO, Instant::now())
    }

    #[test]
    fn a_lane_is_handed_no_more_chunks_than_its_depth_and_the_last_may_be_smaller() {
        let mut moving = moving(7, 3);
        // 3 + 3 + 1 blocks.
        let mut sizes = Vec::new();
        while let Some(blocks) = moving.next(2) {
            sizes.push(blocks.len());
            moving.handed += 1;
        }
        assert_eq!(sizes, [3, 3]);
        moving.moved = 1;
        assert_eq!(moving.next(2).map(<[_]>::len), Some(1));
    }

    #[test]
    fn a_cut_keeps_what_was_handed_over() {
        let mut moving = moving(12, 3);
        moving.handed = 2;
        assert_eq!(moving.cut(), 2);
        assert!(moving.next(9).is_none());
        moving.moved = 2;
        assert!(moving.is_over());
    }

    #[test]
    fn a_copy_that_was_given_up_says_which_chunk_did_not_come() {
        let mut moving = moving(12, 3);
        (moving.handed, moving.moved) = (3, 1);
        moving.give_up(Duration::from_secs(2), Time(5));
        let failure = moving.failure.clone().unwrap().to_string();
        assert_eq!(
            failure,
            "device: D2H copy 4 of session 7: stalled: the completion of chunk 1 did not come within 2s"
        );
        assert!(moving.is_over());
        moving.fail("later");
        assert_eq!(moving.failure.unwrap().to_string(), failure);
    }
}
