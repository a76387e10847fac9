//! The engine's contract: what a driver calls, and how a wait passes.
//!
//! A wait takes in reports, launches what there is room for, looks for what is overdue, and returns with the first completion. It
//! spins while anything is in flight, and sleeps only on an idle device.

use super::ReplayDevice;
use super::lanes::Moving;
use crate::backend::Backend;
use engine::device::{Completion, Device, DeviceError, Op};
use model::{ContentId, Direction, Nanos, OpId, Time};
use std::thread;
use std::time::{Duration, Instant};

impl<B: Backend> Device for ReplayDevice<B> {
    fn submit(&mut self, op: Op) {
        match op {
            Op::Copy(run) => self.submit_copy(run),
            Op::Steps(run) => {
                let instant = Instant::now();
                self.steps.submit(self.time_of(instant), instant, run);
                self.launch();
            }
        }
    }

    fn cut(&mut self, op: OpId) -> u32 {
        if let Some(committed) = self.steps.cut(op) {
            return committed;
        }
        let moving = self
            .lanes
            .iter_mut()
            .flatten()
            .find(|moving| moving.run.id == op);
        moving.map_or_else(|| units(&self.over, op), Moving::cut)
    }

    fn progress(&self, op: OpId) -> u32 {
        if let Some(run) = self.steps.find(op) {
            return run.completed;
        }
        let moving = self
            .lanes
            .iter()
            .flatten()
            .find(|moving| moving.run.id == op);
        moving.map_or_else(|| units(&self.over, op), |moving| moving.moved)
    }

    fn wait(&mut self, until: Option<Time>, done: &mut Vec<Completion>) -> Time {
        let before = done.len();
        let now = self.clock();
        if let Some((_, until)) = self.awake.last_mut() {
            *until = now;
        }
        if let Err(error) = self.backend.flush() {
            self.broken.get_or_insert(DeviceError(error));
        }
        loop {
            while let Ok(report) = self.poller.reports.try_recv() {
                self.take_in(report);
            }
            while self.launch() {}
            for side in 0..2 {
                self.hand_over(side);
            }
            let instant = Instant::now();
            self.watch_dog(instant);
            self.deliver(done);
            let woken = self.steps.wakes();
            // Read after the reports: everything in them is past.
            let now = self.time_of(Instant::now()).max(self.now);
            let alarm = self.alarm(until);
            let endless = alarm.is_none() && self.steps.runs.is_empty();
            let caused = woken || done.len() > before || self.is_stopped();
            if caused || until.is_some_and(|until| until <= now) || endless {
                done[before..].sort_unstable_by_key(|completion| (completion.end, completion.op));
                self.over.clear();
                self.over.extend(
                    done[before..]
                        .iter()
                        .map(|completion| (completion.op, completion.units)),
                );
                let told = self.timings.len() - (done.len() - before);
                for timing in &mut self.timings[told..] {
                    timing.told_ns = now.0;
                }
                self.now = now;
                self.awake.push((now, now));
                return now;
            }
            self.idle_until(alarm.unwrap_or(now));
        }
    }

    fn places_blocks(&self) -> bool {
        true
    }

    fn wrote(&mut self, block: u32, content: ContentId) {
        let [hbm, _] = self.backend.pools();
        if block < hbm {
            self.backend.wrote(block, content);
        } else {
            let text =
                format!("a step wrote block {block}, which is outside the HBM pool of {hbm}");
            self.broken.get_or_insert(DeviceError(text));
        }
    }

    fn lane_busy(&self, direction: Direction) -> Nanos {
        let side = direction.index();
        let begun = self.lanes[side]
            .as_ref()
            .map(|moving| moving.started.unwrap_or(moving.submitted));
        self.busy[side] + begun.map_or(Nanos::ZERO, |begun| self.now.since(begun))
    }
}

/// Units of an operation that the last wait completed; 0 for one that nobody knows.
fn units(over: &[(OpId, u32)], op: OpId) -> u32 {
    over.iter()
        .find(|(known, _)| *known == op)
        .map_or(0, |(_, units)| *units)
}

impl<B: Backend> ReplayDevice<B> {
    /// Waits for the next report, no longer than until `alarm`.
    fn idle_until(&mut self, alarm: Time) {
        /// A sleeping thread wakes late by tens of microseconds; the rest is spent awake.
        const AWAKE: Nanos = Nanos(200_000);
        /// An idle device looks so often whether the run is to stop.
        const NAP: Duration = Duration::from_millis(50);
        let busy = self.lanes.iter().any(Option::is_some) || !self.steps.runs.is_empty();
        if !busy {
            let left = alarm
                .since(self.time_of(Instant::now()))
                .saturating_sub(AWAKE);
            thread::sleep(Duration::from_nanos(left.0).min(NAP));
        }
        if self.steps.runs.is_empty() {
            // What comes next, an arrival or the end of a copy, may begin a step.
            self.launcher.rouse();
        }
        loop {
            if let Ok(report) = self.poller.reports.try_recv() {
                return self.take_in(report);
            }
            let now = self.time_of(Instant::now());
            // With nothing in flight and the alarm far away: back to sleep.
            if now >= alarm || self.is_stopped() || !busy && alarm.since(now) > AWAKE {
                return;
            }
            thread::yield_now();
        }
    }

    /// When the watchdog must look again.
    fn alarm(&self, until: Option<Time>) -> Option<Time> {
        let patience = Nanos(u64::try_from(self.options.patience.as_nanos()).unwrap_or(u64::MAX));
        let lanes = self
            .lanes
            .iter()
            .flatten()
            .filter(|moving| moving.handed > moving.moved);
        let since = lanes
            .map(|moving| moving.awaited_since)
            .chain(self.steps.awaited_since());
        since
            .map(|since| self.time_of(since) + patience)
            .chain(until)
            .min()
    }
}
