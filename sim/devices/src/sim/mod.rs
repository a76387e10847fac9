//! The simulated device: time is the cost model's.
//!
//! ```text
//!   steps ──► [ run | next run ]      slowed down while lanes are busy, as seen when a step begins
//!   copies ─► the link's two lanes, and the disk's
//! ```
//!
//! Nothing is done per step or per chunk: a wake costs a closed form or two, however much time it spans.
//! What depends on the link's state (rates, slow-down) is brought up to date when time is about to move on, in
//! [`Device::wait`]: what the driver submits at one instant takes effect at once and in no order.

mod over;
mod steps;

pub(crate) use over::Over;
pub(crate) use steps::StepQueue;

use crate::disk::Disk;
use crate::link::{Copied, Link};
use crate::{DiskCost, LinkCost, StepCost};
use engine::device::{Completion, Device, Op};
use model::{Direction, Nanos, OpId, Time};

/// A device that computes when things end.
#[derive(Debug)]
pub struct SimDevice {
    now: Time,
    steps: StepQueue,
    link: Link,
    disk: Option<Disk>,
    /// By [`Link::busy`].
    slow_down_ppm: [u32; 4],
    over: Over,
}

impl SimDevice {
    /// A device with these costs. `ahead` is the number of steps it stays ahead of the running one: 0 with synchronous
    /// scheduling, 1 with asynchronous.
    pub fn new(steps: StepCost, link: &LinkCost, ahead: u32) -> Self {
        Self {
            now: Time::ZERO,
            steps: StepQueue::new(steps, ahead),
            link: Link::new(link),
            disk: None,
            slow_down_ppm: slow_downs_ppm(link),
            over: Over::default(),
        }
    }

    /// The same device with a disk behind host memory, if there is one.
    #[must_use]
    pub fn with_disk(mut self, cost: Option<DiskCost>) -> Self {
        self.disk = cost.map(|cost| Disk::new(&cost));
        self
    }

    /// The same device with steps that differ by the [`Jitter`](crate::Jitter) of their costs, drawn by this number; 0 for none.
    #[must_use]
    pub fn with_jitter(mut self, draw: u32) -> Self {
        if draw > 0 {
            self.steps.draw(draw);
        }
        self
    }

    /// The present: what the last `wait` returned.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Chunks of a copy that its lane has been handed by now; all of them once it is over.
    pub(crate) fn handed(&self, op: OpId) -> u32 {
        match self.link.lane_of(op) {
            Some(direction) => self.link.lane(direction).handed(self.now),
            None => match self.disk.as_ref().and_then(|disk| disk.lane_of(op)) {
                Some(lane) => lane.handed(self.now),
                None => self.over.units(op),
            },
        }
    }
}

/// How much longer steps take, by the lanes that are busy \[ppm\]. Slow-downs of both add up.
pub(crate) fn slow_downs_ppm(link: &LinkCost) -> [u32; 4] {
    let [d2h, h2d] = Direction::LINK.map(|direction| link.lane(direction).slowdown_ppm);
    [0, d2h, h2d, d2h + h2d]
}

impl Device for SimDevice {
    fn submit(&mut self, op: Op) {
        match op {
            Op::Steps(run) => self.steps.submit(self.now, &run),
            Op::Copy(run) if Direction::LINK.contains(&run.direction) => {
                self.link.submit(self.now, &run);
            }
            Op::Copy(run) => {
                let disk = self.disk.as_mut();
                let disk = disk.expect("a run with a disk has a device with one");
                disk.submit(self.now, &run);
            }
        }
    }

    fn cut(&mut self, op: OpId) -> u32 {
        if let Some(committed) = self.steps.cut(self.now, op) {
            return committed;
        }
        match self.link.lane_of(op) {
            Some(direction) => self.link.lane_mut(direction).cut(self.now),
            None => match self.disk.as_mut().and_then(|disk| disk.holding(op)) {
                Some(lane) => lane.cut(self.now),
                None => self.over.units(op),
            },
        }
    }

    fn progress(&self, op: OpId) -> u32 {
        if let Some(done) = self.steps.progress(self.now, op) {
            return done;
        }
        match self.link.lane_of(op) {
            Some(direction) => self.link.lane(direction).progress(self.now),
            None => match self.disk.as_ref().and_then(|disk| disk.lane_of(op)) {
                Some(lane) => lane.progress(self.now),
                None => self.over.units(op),
            },
        }
    }

    /// # Panics
    /// If nothing is in flight and `until` is `None`: the wait would never end.
    fn wait(&mut self, until: Option<Time>, done: &mut Vec<Completion>) -> Time {
        let now = loop {
            self.steps
                .settle(self.now, self.slow_down_ppm[self.link.busy()]);
            self.link.settle(self.now, self.steps.is_busy(self.now));

            let disk = self.disk.as_ref().and_then(Disk::next_end);
            let next = [self.steps.next_wake(), self.link.next_end(), disk, until]
                .into_iter()
                .flatten()
                .min();
            let next = next
                .expect("a wait without end: nothing is in flight, and no time was given")
                .max(self.now);
            // A run that is being dispatched is beside no copy until it starts; and as the load falls, steps take less.
            let change = self.steps.next_change(self.now);
            match change.filter(|change| *change < next) {
                Some(change) => self.now = change,
                None => break next,
            }
        };
        self.now = now;

        let first = done.len();
        done.extend(self.steps.complete(now));
        done.extend(self.link.complete(now).map(completion));
        if let Some(disk) = &mut self.disk {
            done.extend(disk.complete(now).map(completion));
        }
        done[first..].sort_unstable_by_key(|completion| (completion.end, completion.op));
        self.over.remember(&done[first..]);
        now
    }

    fn lane_busy(&self, direction: Direction) -> Nanos {
        match &self.disk {
            _ if Direction::LINK.contains(&direction) => self.link.lane_busy(self.now, direction),
            Some(disk) => disk.lane_busy(self.now, direction),
            None => Nanos::ZERO,
        }
    }
}

fn completion(copied: Copied) -> Completion {
    Completion {
        op: copied.op,
        start: copied.start,
        end: copied.end,
        units: copied.chunks,
        status: Ok(()),
    }
}

#[cfg(test)]
mod tests;
