//! A GPU made of a clock and two lists: its queues are first in, first out, and its blocks hold a content id each.

use crate::backend::{Backend, Chunk, Mark, Mismatch, Sabotage, StepQueue, Work};
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

    fn done_at(&self) -> Option<Instant> {
        Some(self.0)
    }
}

pub(crate) struct FakeGpu {
    hbm: Vec<Option<ContentId>>,
    host: Vec<Option<ContentId>>,
    /// When each lane is free.
    free: [Instant; 2],
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
            free: [Instant::now(); 2],
            block: Duration::from_micros(5),
            slots: Vec::new(),
            checks: true,
            steps_left: u32::MAX,
        }
    }
}

/// Puts work of `span` into a queue that is free from `free` on.
fn queue(free: &mut Instant, late: Duration, span: Duration) -> Work<At> {
    let begun = (*free).max(Instant::now()) + late;
    *free = begun + span;
    Work {
        begun: At(begun),
        ended: At(*free),
        checked: None,
        slot: None,
    }
}

/// Its steps take 50 us, whatever they compute.
pub(crate) struct FakeSteps {
    free: Instant,
    left: u32,
}

impl StepQueue for FakeSteps {
    type Mark = At;

    fn step(&mut self, _: &StepShape) -> Result<Work<At>, String> {
        self.left = self.left.checked_sub(1).ok_or("the launch was refused")?;
        Ok(queue(
            &mut self.free,
            Duration::ZERO,
            Duration::from_micros(50),
        ))
    }

    fn finish(&mut self, _: Work<At>) {}
}

impl Backend for FakeGpu {
    type Mark = At;
    type Steps = FakeSteps;

    fn take_steps(&mut self) -> Option<FakeSteps> {
        Some(FakeSteps {
            free: Instant::now(),
            left: self.steps_left,
        })
    }

    fn pools(&self) -> [u32; 2] {
        [self.hbm.len() as u32, self.host.len() as u32]
    }

    fn greeting(&self) -> Box<dyn FnOnce() + Send> {
        Box::new(|| ())
    }

    fn copy(&mut self, chunk: &Chunk<'_>) -> Result<Work<At>, String> {
        let late = match chunk.sabotage {
            Some(Sabotage::Stall(span)) => span,
            _ => Duration::ZERO,
        };
        let span = self.block * chunk.blocks.len() as u32;
        let mut work = queue(&mut self.free[chunk.direction.index()], late, span);
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
