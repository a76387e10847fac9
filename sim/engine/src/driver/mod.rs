//! The control loop: wait, take in what happened, ask the policy, check and carry out, submit.
//!
//! ```text
//!        ┌───────────────────────────── wait ◄── device ◄─────────────┐
//!        ▼                                                            │
//!   completions ─► events (signals, timers, arrivals) ─► consult ─► schedule ─► submit
//!    steps           signals.rs, hold.rs                 cadence.rs  schedule     steps
//!    lanes           idle (policy, memory), disk                                   lanes
//! ```
//!
//! The loop is the same on every device, and time enters it only as the value that `wait` returns.

mod ask;
mod cadence;
mod checks;
mod disk;
mod error;
mod family;
mod hold;
mod idle;
mod lanes;
mod live;
mod offload;
mod progress;
mod schedule;
mod signals;
mod steps;
mod summary;

pub use error::RunError;
pub use live::Truth;
pub use offload::OffloadSummary;
pub use summary::RunSummary;

use crate::batch::Batch;
use crate::config::EngineConfig;
use crate::device::{Completion, Device};
use crate::events::{Due, EventQueue};
use crate::hints::Hints;
use crate::memory::{Hits, Ledger};
use crate::record::Recorder;
use lanes::Lane;
use live::Live;
use model::{Cadence, Nanos, Report, Session, SessionId, SessionView, StepBudget, Time, Workload};
use offload::Offload;
use policy::Policy;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use steps::InFlight;

/// One run: a workload under a policy on a device.
pub struct Driver<'a, D: Device> {
    config: EngineConfig,
    device: &'a mut D,
    /// Taken out while it observes, for it then changes and sees the rest.
    policy: Option<Box<dyn Policy>>,
    /// How often it looks at everything.
    cadence: Cadence,
    listens: bool,
    workload: &'a mut dyn Workload,
    recorder: &'a mut dyn Recorder,
    logs: bool,
    truth: Option<Arc<Truth>>,
    stop: Option<Arc<AtomicBool>>,

    now: Time,
    events: EventQueue,
    next_session: Option<Session>,
    hints: Hints,
    ledger: Ledger,
    live: Vec<Live>,
    views: Vec<SessionView>,
    idle_by_age: BTreeSet<(Time, SessionId)>,
    idle_by_return: BTreeSet<(Time, SessionId)>,
    idle_by_pin_end: BTreeSet<(Time, SessionId)>,
    /// Sessions whose turn is withheld.
    held: BTreeSet<(Time, SessionId)>,
    /// Those of `held` that are not paused: the policy is asked again.
    asking: BTreeSet<(Time, SessionId)>,
    paused: BTreeSet<SessionId>,
    pinned: BTreeSet<SessionId>,
    /// Ready turns that the policy does not let read from the disk yet.
    unread: BTreeSet<SessionId>,
    /// The queue has advanced before them.
    advanced: bool,
    idle: u32,
    alive: u32,

    batch: Batch,
    in_flight: VecDeque<InFlight>,
    lanes: [Lane; 4],
    /// No scheduling before this time; `None` is at once.
    sleep: Option<Sleep>,
    /// The last scheduling ran nothing while a step was in flight: the next comes a poll after that step.
    ran_nothing: bool,
    /// The last scheduling, or a restore, failed for want of memory alone.
    short: bool,
    /// Turns wait for memory, and no scheduling has looked at them since.
    starved: bool,
    /// The turn for whose admission nobody gave memory, if nothing has changed since: the policy is not asked again.
    refused: Option<SessionId>,
    /// Something has happened since the policy was last consulted.
    changed: bool,
    /// Ticks so far of a policy that counts steps.
    step_ticks: u64,
    /// The next tick of a policy that counts time.
    tick_at: Option<Time>,
    /// Its last tick.
    ticked: Option<Time>,
    /// Service since the last tick, the steps so far, and when that was.
    report: Report,
    reported_steps: u64,
    reported: Time,
    /// Limits of a step, as long as nothing has changed.
    budget: Option<StepBudget>,
    /// Sessions whose place in the queue may have changed.
    reorder: Vec<SessionId>,
    /// Returns of the device in a row that neither completed anything nor reached the time asked for.
    idle_wakes: u32,
    next_op: u64,
    hits: Hits,
    summary: RunSummary,
    /// vLLM's host tier, if the policy asks for it and there is host memory.
    offload: Option<Box<Offload>>,
}

/// A pause of the scheduler after a step that ran nothing.
#[derive(Clone, Copy, Debug)]
struct Sleep {
    until: Time,
    /// Nothing that scheduling depends on has changed since it began: polls in between would run nothing either.
    idle: bool,
}

impl<'a, D: Device> Driver<'a, D> {
    /// Prepares a run. `listens`: whether the policy acts on signals. `truth` is filled for a clairvoyant policy.
    pub fn new(
        mut config: EngineConfig,
        device: &'a mut D,
        policy: Box<dyn Policy>,
        listens: bool,
        workload: &'a mut dyn Workload,
        recorder: &'a mut dyn Recorder,
        truth: Option<Arc<Truth>>,
    ) -> Self {
        config.memory.leak_on_swap_out |= config.faults.evict_frees_nothing;
        let blocks = config.memory.host_blocks;
        let offload = policy.offload().filter(|_| blocks > 0);
        let offload = offload.map(|settings| Box::new(Offload::new(settings, blocks)));
        if offload.is_some() {
            config.memory.host_blocks = 0;
            config.memory.disk_blocks = 0;
        }
        if device.places_blocks() || offload.is_some() {
            config.memory.first_place.get_or_insert(0);
        }
        let mut ledger = Ledger::new(config.memory);
        // A serial run takes all of its blocks at once, as a whole.
        if policy.computes_mid_sequence() && !config.batching.serial {
            ledger.compute_mid_sequence();
        }
        Self {
            device,
            cadence: policy.cadence(),
            policy: Some(policy),
            listens,
            workload,
            logs: recorder.wants_decisions(),
            recorder,
            truth,
            stop: None,
            now: Time::ZERO,
            events: EventQueue::default(),
            next_session: None,
            hints: Hints::new(config.hints),
            ledger,
            live: Vec::new(),
            views: Vec::new(),
            idle_by_age: BTreeSet::new(),
            idle_by_return: BTreeSet::new(),
            idle_by_pin_end: BTreeSet::new(),
            held: BTreeSet::new(),
            asking: BTreeSet::new(),
            paused: BTreeSet::new(),
            pinned: BTreeSet::new(),
            idle: 0,
            alive: 0,
            batch: Batch::default(),
            in_flight: VecDeque::new(),
            lanes: Default::default(),
            unread: BTreeSet::new(),
            advanced: false,
            sleep: None,
            ran_nothing: false,
            short: false,
            starved: false,
            refused: None,
            changed: false,
            step_ticks: 0,
            tick_at: None,
            ticked: None,
            report: Report::default(),
            reported_steps: 0,
            reported: Time::ZERO,
            budget: None,
            reorder: Vec::new(),
            idle_wakes: 0,
            next_op: 0,
            hits: Hits::default(),
            summary: RunSummary::default(),
            offload,
            config,
        }
    }

    /// The same run, which ends at the next wake after `stop` has become true: sessions that are not over stay unfinished.
    #[must_use]
    pub fn stoppable(mut self, stop: Option<Arc<AtomicBool>>) -> Self {
        self.stop = stop;
        self
    }

    /// Runs to the end of the workload.
    ///
    /// # Errors
    /// When the workload, the device or an invariant fails, or nothing can proceed.
    pub fn run(mut self) -> Result<RunSummary, RunError> {
        self.fetch_session()?;
        while self.config.preload && self.next_session.is_some() {
            self.enter_session()?;
        }
        if self.config.sample_every.is_some() {
            self.events.push(Time::ZERO, Due::Sample, SessionId(0), 0);
        }
        let mut done = Vec::new();
        loop {
            self.take_completions(&mut done)?;
            let open = !self.uninterruptible();
            if open {
                self.fire_events()?;
                self.consult();
            }
            while self.due() {
                self.schedule();
                self.settle_launches()?;
                if self.offload.is_none() {
                    break;
                }
            }
            if open {
                if std::mem::take(&mut self.advanced) {
                    self.reconsider_reads();
                }
                self.pump_lanes();
            }
            self.pump_jobs();
            if self.overlooked() {
                continue;
            }
            if self.config.check {
                self.check()?;
            }
            if self.finished() {
                break;
            }
            if self.stuck() && self.break_pin() {
                continue;
            }
            if self.break_hold() || (!self.unread.is_empty() && self.break_wait()) {
                continue;
            }
            let until = self.wake_time();
            debug_assert!(
                until.is_none_or(|until| until >= self.now),
                "the past is not waited for"
            );
            if until.is_none() && self.device_idle() {
                return Err(self.stuck_error());
            }
            self.wait(until, &mut done)?;
            while self.uninterruptible()
                && !self.is_stopped()
                && !done.iter().any(|c| self.is_step(c.op))
            {
                self.wait(None, &mut done)?;
            }
            self.summary.wakes += 1;
            if self.is_stopped() {
                self.summary.stopped = Some(self.now);
                self.leave_all();
                return Ok(self.offload_summary());
            }
        }
        self.close_all();
        self.check_end()?;
        Ok(self.offload_summary())
    }

    /// Time enters here.
    fn wait(&mut self, until: Option<Time>, done: &mut Vec<Completion>) -> Result<(), RunError> {
        let known = done.len();
        let woke = self.device.wait(until, done);
        if woke < self.now {
            return Err(self.broken("time", format!("the clock went back to {woke}")));
        }
        if let Some(late) = done[known..].iter().find(|c| c.end > woke) {
            let what = format!("operation {} ends at {}, after {woke}", late.op, late.end);
            return Err(self.broken("time", what));
        }
        // Once in a row is the beginning of a run's last step, with scheduling ahead.
        let reached = until.is_some_and(|until| woke >= until);
        let caused = done.len() > known || reached;
        self.idle_wakes = if caused { 0 } else { self.idle_wakes + 1 };
        if self.idle_wakes > u32::from(self.config.batching.ahead) && !self.is_stopped() {
            let what = "the device woke without a cause, with operations in flight".to_owned();
            return Err(self.broken("every operation completes", what));
        }
        self.now = woke;
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        let stop = self.stop.as_ref();
        stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    fn hold_up(&mut self, span: Nanos) {
        if span > Nanos::ZERO {
            let from = self
                .sleep
                .map_or(self.now, |sleep| sleep.until.max(self.now));
            self.sleep = Some(Sleep {
                until: from + span,
                idle: false,
            });
        }
    }
}
