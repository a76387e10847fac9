//! A device whose answers are kept.

use super::{Answer, WakeLog};
use engine::device::{Completion, Device, Op};
use model::{ContentId, Direction, Nanos, OpId, Time};
use std::cell::RefCell;

/// Passes everything on to `device`, and remembers what it said. Nothing is written while the run lasts.
pub struct Recording<'a, D> {
    device: &'a mut D,
    log: RefCell<WakeLog>,
}

impl<'a, D: Device> Recording<'a, D> {
    /// Nothing has been said yet.
    pub fn new(device: &'a mut D) -> Self {
        Self {
            device,
            log: RefCell::default(),
        }
    }

    /// What was said.
    pub fn into_log(self) -> WakeLog {
        self.log.into_inner()
    }

    fn keep(&self, answer: Answer) {
        self.log.borrow_mut().answers.push(answer);
    }
}

impl<D: Device> Device for Recording<'_, D> {
    fn submit(&mut self, op: Op) {
        self.device.submit(op);
    }

    fn cut(&mut self, op: OpId) -> u32 {
        let units = self.device.cut(op);
        self.keep(Answer::Cut(op, units));
        units
    }

    fn progress(&self, op: OpId) -> u32 {
        let units = self.device.progress(op);
        self.keep(Answer::Progress(op, units));
        units
    }

    fn wait(&mut self, until: Option<Time>, done: &mut Vec<Completion>) -> Time {
        let known = done.len();
        let woke = self.device.wait(until, done);
        self.keep(Answer::Woke(woke, done[known..].to_vec()));
        woke
    }

    fn places_blocks(&self) -> bool {
        self.device.places_blocks()
    }

    fn wrote(&mut self, block: u32, content: ContentId) {
        self.device.wrote(block, content);
    }

    fn lane_busy(&self, direction: Direction) -> Nanos {
        let span = self.device.lane_busy(direction);
        self.keep(Answer::Busy(direction, span));
        span
    }
}
