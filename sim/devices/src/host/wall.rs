//! Wall time: steps sleep for as long as the cost model says, copies take what they take.
//!
//! Between two waits the present is what the last wait returned, as everywhere; what movers do meanwhile is taken in by
//! the next wait. A lane is handed its next chunk when the driver waits, so a driver that computes for long leaves
//! lanes idle behind the chunks that they hold, as it would on a GPU.

use super::lanes::Lanes;
use crate::sim::{Over, StepQueue, slow_downs_ppm};
use crate::{LinkCost, StepCost};
use engine::device::{Completion, StepRun};
use model::{Direction, Nanos, OpId, Time};
use std::time::{Duration, Instant};

pub(super) struct WallClock {
    origin: Instant,
    /// What the last wait returned.
    now: Time,
    steps: StepQueue,
    slow_down_ppm: [u32; 4],
    lane_depth: u32,
    /// Time of the copies that are over, by direction.
    busy: [Nanos; 4],
    over: Over,
}

impl WallClock {
    pub fn new(steps: StepCost, link: &LinkCost, ahead: u32) -> Self {
        Self {
            origin: Instant::now(),
            now: Time::ZERO,
            steps: StepQueue::new(steps, ahead),
            slow_down_ppm: slow_downs_ppm(link),
            lane_depth: link.lane_depth(),
            busy: [Nanos::ZERO; 4],
            over: Over::default(),
        }
    }

    pub fn lane_depth(&self) -> u32 {
        self.lane_depth
    }

    pub fn submit(&mut self, run: &StepRun) {
        self.steps.submit(self.time_of(Instant::now()), run);
    }

    pub fn cut(&mut self, op: OpId) -> u32 {
        self.steps
            .cut(self.now, op)
            .unwrap_or_else(|| self.over.units(op))
    }

    pub fn progress(&self, op: OpId) -> u32 {
        self.steps
            .progress(self.now, op)
            .unwrap_or_else(|| self.over.units(op))
    }

    pub fn lane_busy(&self, lanes: &Lanes, direction: Direction) -> Nanos {
        let begun = lanes
            .get(direction)
            .map_or(self.now, |moving| self.time_of(moving.started));
        self.busy[direction.index()] + self.now.since(begun)
    }

    pub fn wait(
        &mut self,
        lanes: &mut Lanes,
        until: Option<Time>,
        done: &mut Vec<Completion>,
    ) -> Time {
        let before = done.len();
        loop {
            while lanes.receive(Some(Duration::ZERO)) {}
            // Read after the reports: everything in them is past.
            let instant = Instant::now();
            let now = self.time_of(instant);
            let woken = self.finish(lanes, instant, done);
            if woken || done.len() > before || until.is_some_and(|until| until <= now) {
                done[before..].sort_unstable_by_key(|completion| (completion.end, completion.op));
                self.over.remember(&done[before..]);
                self.now = now;
                return now;
            }
            let overdue = Direction::ALL
                .into_iter()
                .filter_map(|direction| lanes.overdue(direction));
            let give_up = overdue.map(|overdue| self.time_of(overdue)).min();
            let alarm = [self.steps.next_wake(), give_up, until]
                .into_iter()
                .flatten()
                .min();
            let alarm =
                alarm.expect("a wait without end: nothing is in flight, and no time was given");
            lanes.receive(Some(Duration::from_nanos(alarm.since(now).0)));
        }
    }

    /// Completes what is over at `instant`, and hands lanes what they have room for. Whether the driver is to be woken
    /// because a last step has begun.
    fn finish(&mut self, lanes: &mut Lanes, instant: Instant, done: &mut Vec<Completion>) -> bool {
        let now = self.time_of(instant);
        let mut busy = 0;
        for direction in Direction::ALL {
            lanes.give_up_overdue(direction, instant);
            let Some(moving) = lanes.get(direction) else {
                continue;
            };
            if moving.is_over() {
                let (start, end) = (self.time_of(moving.started), self.time_of(moving.latest));
                self.busy[direction.index()] += end.since(start);
                let (op, units) = (moving.run.id, moving.chunks);
                let over = Completion {
                    op,
                    start,
                    end,
                    units,
                    status: Ok(()),
                };
                lanes.finish(direction, &over, done);
            } else {
                lanes.hand(direction, moving.moved + self.lane_depth);
                if Direction::LINK.contains(&direction) {
                    busy |= 1 << direction.index();
                }
            }
        }
        self.steps.settle(now, self.slow_down_ppm[busy]);
        let woken = self.steps.next_wake().is_some_and(|wake| wake <= now);
        done.extend(self.steps.complete(now));
        woken
    }

    fn time_of(&self, instant: Instant) -> Time {
        Time(
            u64::try_from(instant.saturating_duration_since(self.origin).as_nanos())
                .unwrap_or(u64::MAX),
        )
    }
}
