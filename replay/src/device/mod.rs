//! A GPU as a device of the engine: real copies and real kernels on the wall clock.
//!
//! ```text
//!   driver ── submit, wait ──► orders steps, hands chunks to lanes ──► launcher thread, Backend (CUDA)
//!          ◄── completions ──  accounts, watchdog, verdicts  ◄── poller thread ◄── marks
//! ```
//!
//! Chunks are launched by the driver's own thread, when it submits and while it waits; steps by a thread of their own, for that takes
//! up to milliseconds; completions are seen by a third one that does nothing else. Between two waits the present is what the last wait returned, as everywhere.
//!
//! **What must hold:** nothing panics; whatever goes wrong (a refused call, a wrong byte, a completion that never comes) ends the
//! operation with an error that names it.
//! **Absent on purpose:** retries. A replay that had to retry measures something else.

mod contract;
mod faults;
mod lanes;
mod launcher;
mod poller;
mod steps;
mod timing;

pub use faults::FaultPlan;
pub use timing::{Timing, csv};

use crate::backend::{Backend, Chunk, Mismatch};
use devices::CopyFault;
use engine::device::{BlockCopy, Completion, CopyRun, DeviceError};
use lanes::Moving;
use launcher::Launcher;
use model::{Direction, Nanos, OpId, Time};
use poller::{Poller, Report, Watch};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use steps::Steps;

/// How a device behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceOptions {
    /// Steps launched beyond the running one: 0 or 1.
    pub ahead: u32,
    /// Chunks in a lane at once, at least 1.
    pub lane_depth: u32,
    /// How long a step or a chunk may take before it counts as stalled.
    pub patience: Duration,
}

impl Default for DeviceOptions {
    fn default() -> Self {
        Self {
            ahead: 1,
            lane_depth: 2,
            patience: Duration::from_secs(10),
        }
    }
}

/// Counters that another thread may look at while the device runs.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Bytes that have arrived, D2H and H2D.
    pub moved: [AtomicU64; 2],
    /// Chunks in the lanes.
    pub in_flight: [AtomicU64; 2],
}

/// A device on a [`Backend`].
pub struct ReplayDevice<B: Backend> {
    // End before the backend whose marks and memory they hold; the first one feeds the second.
    launcher: Launcher<B::Mark>,
    poller: Poller<B::Mark>,
    backend: B,
    options: DeviceOptions,
    origin: Instant,
    /// What the last wait returned.
    now: Time,
    steps: Steps,
    lanes: [Option<Moving>; 2],
    /// End of the last unit of each server.
    ended: [Time; poller::SERVERS],
    busy: [Nanos; 2],
    faults: FaultPlan,
    copies_submitted: u64,
    /// What the last wait completed.
    over: Vec<(OpId, u32)>,
    /// A failure that belongs to no operation: the next one to end has it.
    broken: Option<DeviceError>,
    timings: Vec<Timing>,
    /// From the return of a wait to the next wait.
    awake: Vec<(Time, Time)>,
    gauges: Arc<Gauges>,
    /// Waits return at once when it is true.
    stop: Option<Arc<AtomicBool>>,
}

impl<B: Backend> ReplayDevice<B> {
    /// A device whose clock starts now.
    ///
    /// # Errors
    /// If there can be no threads for it.
    pub fn new(mut backend: B, options: DeviceOptions) -> Result<Self, DeviceError> {
        let poller = Poller::start(backend.greeting()).map_err(DeviceError)?;
        let (Some(steps), Some(watches)) = (backend.take_steps(), poller.inbox()) else {
            let text = "the compute queue of this backend belongs to another device".to_owned();
            return Err(DeviceError(text));
        };
        let launcher = Launcher::start(steps, backend.greeting(), watches).map_err(DeviceError)?;
        Ok(Self::fresh(launcher, poller, backend, options))
    }

    /// A device that has done nothing yet, on the pools and threads of this one: what a run leaves is forgotten, options and faults included.
    ///
    /// # Errors
    /// If something is still in flight, or something broke.
    pub fn renewed(self, options: DeviceOptions) -> Result<Self, DeviceError> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let moving = self.lanes.iter().any(Option::is_some);
        if moving || !self.steps.runs.is_empty() {
            let text = "the run before left operations in flight".to_owned();
            return Err(DeviceError(text));
        }
        let Self {
            launcher,
            poller,
            backend,
            ..
        } = self;
        Ok(Self::fresh(launcher, poller, backend, options))
    }

    fn fresh(
        launcher: Launcher<B::Mark>,
        poller: Poller<B::Mark>,
        backend: B,
        options: DeviceOptions,
    ) -> Self {
        Self {
            launcher,
            poller,
            backend,
            options,
            origin: Instant::now(),
            now: Time::ZERO,
            steps: Steps::new(options.ahead),
            lanes: [None, None],
            ended: [Time::ZERO; poller::SERVERS],
            busy: [Nanos::ZERO; 2],
            faults: FaultPlan::default(),
            copies_submitted: 0,
            over: Vec::new(),
            broken: None,
            timings: Vec::new(),
            awake: Vec::new(),
            gauges: Arc::default(),
            stop: None,
        }
    }

    /// The same device with faults.
    #[must_use]
    pub fn with_faults(mut self, faults: FaultPlan) -> Self {
        self.faults = faults;
        self
    }

    /// Lets waits return, with or without cause, once `stop` is true.
    pub fn stop_when(&mut self, stop: &Arc<AtomicBool>) {
        self.stop = Some(Arc::clone(stop));
    }

    fn is_stopped(&self) -> bool {
        let stop = self.stop.as_ref();
        stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// Lets time begin now. To be called before the first operation.
    pub fn start_clock(&mut self) {
        self.origin = Instant::now();
    }

    /// What it runs on.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Counters to look at from elsewhere.
    pub fn gauges(&self) -> Arc<Gauges> {
        Arc::clone(&self.gauges)
    }

    /// What was seen of each completed operation, in order of completion.
    pub fn timings(&self) -> &[Timing] {
        &self.timings
    }

    /// When the driver was not waiting, since its first wait.
    pub fn awake(&self) -> &[(Time, Time)] {
        &self.awake
    }

    /// Time since the clock began.
    pub fn clock(&self) -> Time {
        self.time_of(Instant::now())
    }

    fn time_of(&self, instant: Instant) -> Time {
        let nanos = instant.saturating_duration_since(self.origin).as_nanos();
        Time(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn submit_copy(&mut self, run: CopyRun) {
        let side = run.direction.index();
        let fault = self.faults.of(self.copies_submitted);
        self.copies_submitted += 1;
        let wrong = self.reason_to_refuse(&run, fault);
        let instant = Instant::now();
        let mut moving = Moving::new(run, fault, self.time_of(instant), instant);
        if let Some(wrong) = wrong {
            moving.fail(wrong);
        }
        if self.lanes[side].is_some() {
            let text = format!(
                "{} {} is submitted while another copy is in its lane",
                moving.run.direction, moving.run.id
            );
            self.broken.get_or_insert(DeviceError(text));
            return;
        }
        self.lanes[side] = Some(moving);
        self.hand_over(side);
    }

    fn reason_to_refuse(&self, run: &CopyRun, fault: Option<CopyFault>) -> Option<String> {
        if fault == Some(CopyFault::Fail) {
            return Some("failed on request".to_owned());
        }
        if run.blocks.len() != run.block_count as usize || run.blocks.is_empty() {
            return Some(format!(
                "names {} of {} blocks",
                run.blocks.len(),
                run.block_count
            ));
        }
        let [hbm, host] = self.backend.pools();
        let (from, to) = match run.direction {
            Direction::D2h => (hbm, host),
            _ => (host, hbm),
        };
        let outside = run
            .blocks
            .iter()
            .find(|block| block.source >= from || block.destination >= to)?;
        Some(format!(
            "names a block outside the pools of {hbm} and {host}: {outside:?}"
        ))
    }

    /// Gives a lane the chunks that it has room for.
    fn hand_over(&mut self, side: usize) {
        let Some(moving) = &mut self.lanes[side] else {
            return;
        };
        while let Some(blocks) = moving.next(self.options.lane_depth) {
            let chunk = Chunk {
                direction: moving.run.direction,
                blocks,
                sabotage: faults::sabotage(moving.fault),
            };
            match self.backend.copy(&chunk) {
                Ok(work) => {
                    if moving.handed == moving.moved {
                        moving.awaited_since = Instant::now();
                    }
                    moving.handed += 1;
                    let watch = Watch {
                        server: 1 + side,
                        op: moving.run.id,
                        work: Ok(work),
                    };
                    if !self.poller.watch(watch) {
                        moving.fail("the polling thread has ended");
                    }
                }
                Err(error) => moving.fail(error),
            }
        }
        self.gauges.in_flight[side]
            .store(u64::from(moving.handed - moving.moved), Ordering::Relaxed);
    }

    /// Orders the next step if the window has room. Returns whether it did.
    fn launch(&mut self) -> bool {
        let Some((place, shape)) = self.steps.next() else {
            return false;
        };
        let run = &mut self.steps.runs[place];
        if self.launcher.step(run.plan.id, shape) {
            run.launched += 1;
            return true;
        }
        run.failure
            .get_or_insert(DeviceError("the launching thread has ended".to_owned()));
        false
    }

    fn take_in(&mut self, report: Report<B::Mark>) {
        let Report {
            server,
            op,
            began,
            ended,
            seen,
            gpu,
            result,
            work,
        } = report;
        // Servers are first in, first out; host stamps of different looks may disagree by a look.
        let start = self.time_of(began).max(self.ended[server]);
        let end = self.time_of(ended).max(Time(start.0 + 1));
        let gpu = Nanos(gpu.as_nanos() as u64);
        if server == 0 {
            if let Some(work) = work {
                self.ended[0] = end;
                self.steps.complete(op, start, end, gpu, seen);
                self.launcher.give_back(work);
            } else {
                self.steps.refused(op);
            }
            if let Err(error) = result {
                self.steps.fail(op, &error);
            }
            return;
        }
        let verdict = work.map_or(Ok(()), |work| self.backend.finish(work));
        let side = server - 1;
        // A copy that was given up may report after all.
        let Some(moving) = self.lanes[side]
            .as_mut()
            .filter(|moving| moving.run.id == op)
        else {
            return;
        };
        if moving.fault == Some(CopyFault::LoseCompletion) && moving.moved + 1 == moving.chunks {
            return;
        }
        self.ended[server] = end;
        moving.started.get_or_insert(start.max(moving.submitted));
        moving.ended = end;
        moving.gpu += gpu;
        moving.check += Nanos(seen.saturating_duration_since(ended).as_nanos() as u64);
        moving.awaited_since = seen;
        let blocks = moving.chunk(moving.moved);
        let bytes = blocks.len() as u64 * moving.run.block_bytes.0;
        let damage = verdict
            .err()
            .map(|mismatch| describe(moving.run.direction, blocks, mismatch));
        moving.moved += 1;
        if let Some(why) = result.err().or(damage) {
            moving.fail(why);
        }
        self.gauges.moved[side].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Fails what has been on its way for too long.
    fn watch_dog(&mut self, instant: Instant) {
        let (patience, at) = (self.options.patience, self.time_of(instant));
        let overdue = |since: Instant| instant.saturating_duration_since(since) >= patience;
        for moving in self.lanes.iter_mut().flatten() {
            if moving.handed > moving.moved && overdue(moving.awaited_since) {
                moving.give_up(patience, at);
            }
        }
        if self.steps.awaited_since().is_some_and(overdue) {
            let op = self.steps.runs[0].plan.id;
            let text = format!("step run {op} stalled: a step did not end within {patience:?}");
            self.steps.give_up(DeviceError(text), at);
        }
    }

    /// Passes on what is over.
    fn deliver(&mut self, done: &mut Vec<Completion>) {
        while let Some(run) = self.steps.pop() {
            let start = run.started.unwrap_or(run.submitted);
            let (units, end) = (run.units(), run.ended.max(start));
            self.pass_on(
                "steps",
                run.plan.id,
                units,
                [start, end],
                [run.gpu, Nanos::ZERO],
                run.failure,
                done,
            );
        }
        for direction in Direction::LINK {
            let side = direction.index();
            let Some(moving) = self.lanes[side].take_if(|moving| moving.is_over()) else {
                continue;
            };
            let start = moving.started.unwrap_or(moving.submitted);
            let end = moving.ended.max(Time(start.0 + 1));
            self.busy[side] += end.since(start);
            self.gauges.in_flight[side].store(0, Ordering::Relaxed);
            let kind = ["d2h", "h2d"][side];
            let units = moving.units();
            self.pass_on(
                kind,
                moving.run.id,
                units,
                [start, end],
                [moving.gpu, moving.check],
                moving.failure,
                done,
            );
        }
    }

    #[allow(clippy::too_many_arguments)] // The columns of a row.
    fn pass_on(
        &mut self,
        kind: &'static str,
        op: OpId,
        units: u32,
        [start, end]: [Time; 2],
        [gpu, check]: [Nanos; 2],
        failure: Option<DeviceError>,
        done: &mut Vec<Completion>,
    ) {
        self.timings.push(Timing {
            op: op.0,
            kind,
            units,
            start_ns: start.0,
            end_ns: end.0,
            gpu_ns: gpu.0,
            check_ns: check.0,
            told_ns: end.0,
        });
        let status = failure.or_else(|| self.broken.clone()).map_or(Ok(()), Err);
        done.push(Completion {
            op,
            start,
            end,
            units,
            status,
        });
    }
}

fn describe(direction: Direction, blocks: &[BlockCopy], found: Mismatch) -> String {
    let (when, tier) = match direction {
        Direction::D2h => ("before leaving", "source"),
        _ => ("after arriving", "destination"),
    };
    let Some(block) = blocks.get(found.index) else {
        return format!("{when}, {} words differ", found.words);
    };
    let at = if direction == Direction::D2h {
        block.source
    } else {
        block.destination
    };
    format!(
        "{when}, HBM block {at} (the {tier}) should hold block {} of lineage {}, but {} of its 8-byte words differ",
        block.content.index, block.content.lineage, found.words
    )
}

#[cfg(test)]
mod tests;
