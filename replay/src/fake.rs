//! A GPU made of a clock and two lists: its queues are first in, first out, and its blocks hold a content id each.

use crate::backend::{Backend, Chunk, Mark, Mismatch, Sabotage, Work};
use engine::device::StepShape;
use model::{ContentId, Direction};
use std::time::{Duration, Instant};

/// What is done at an instant.
pub(crate) struct At(Instant);

impl Mark for At {
    fn is_done(&self) -> Result<bool, String> {
        Ok(Instant::now() >= self.0)
    }

    fn nanos_since(&self, earlier: &Self) -> Result<u64, String> {
        Ok(self.0.saturating_duration_since(earlier.0).as_nanos() as u64)
    }
}

pub(crate) struct FakeGpu {
    hbm: Vec<Option<ContentId>>,
    host: Vec<Option<ContentId>>,
    /// When each queue is free.
    free: [Instant; 3],
    step: Duration,
    /// Time of a block on the link.
    pub block: Duration,
    slots: Vec<Option<Mismatch>>,
    /// Whether blocks are compared with what they should hold.
    pub checks: bool,
    /// Steps that are still accepted.
    pub steps_left: u32,
}

impl FakeGpu {
    pub fn new(hbm: u32, host: u32) -> Self {
        Self {
            hbm: vec![None; hbm as usize],
            host: vec![None; host as usize],
            free: [Instant::now(); 3],
            step: Duration::from_micros(50),
            block: Duration::from_micros(5),
            slots: Vec::new(),
            checks: true,
            steps_left: u32::MAX,
        }
    }

    fn queue(&mut self, server: usize, late: Duration, span: Duration) -> Work<At> {
        let begun = self.free[server].max(Instant::now()) + late;
        let ended = begun + span;
        self.free[server] = ended;
        Work {
            begun: At(begun),
            ended: At(ended),
            checked: None,
            slot: None,
        }
    }
}

impl Backend for FakeGpu {
    type Mark = At;

    fn pools(&self) -> [u32; 2] {
        [self.hbm.len() as u32, self.host.len() as u32]
    }

    fn greeting(&self) -> Box<dyn FnOnce() + Send> {
        Box::new(|| ())
    }

    fn step(&mut self, _: &StepShape) -> Result<Work<At>, String> {
        self.steps_left = self
            .steps_left
            .checked_sub(1)
            .ok_or("the launch was refused")?;
        let step = self.step;
        Ok(self.queue(0, Duration::ZERO, step))
    }

    fn copy(&mut self, chunk: &Chunk<'_>) -> Result<Work<At>, String> {
        let late = match chunk.sabotage {
            Some(Sabotage::Stall(span)) => span,
            _ => Duration::ZERO,
        };
        let span = self.block * chunk.blocks.len() as u32;
        let mut work = self.queue(1 + chunk.direction.index(), late, span);
        let mut wrong = None;
        for (index, block) in chunk.blocks.iter().enumerate() {
            let (from, to) = (block.source as usize, block.destination as usize);
            let flipped = chunk.sabotage == Some(Sabotage::Flip) && index + 1 == chunk.blocks.len();
            let here = if chunk.direction == Direction::D2h {
                self.host[to] = self.hbm[from].filter(|_| !flipped);
                self.hbm[from]
            } else {
                self.hbm[to] = self.host[from].filter(|_| !flipped);
                self.hbm[to]
            };
            if self.checks && here != Some(block.content) {
                wrong.get_or_insert(Mismatch { index, words: 1 });
            }
        }
        work.slot = Some(self.slots.len());
        self.slots.push(wrong);
        Ok(work)
    }

    fn wrote(&mut self, block: u32, content: ContentId) {
        self.hbm[block as usize] = Some(content);
    }

    fn flush(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn finish(&mut self, work: Work<At>) -> Result<(), Mismatch> {
        let found = work.slot.and_then(|slot| self.slots[slot]);
        found.map_or(Ok(()), Err)
    }
}
