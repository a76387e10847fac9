//! Step runs, executed one after the other in closed form.
//!
//! A run remembers from which step on (`base_step`, at `base`) its steps have the current slow-down. When it changes,
//! steps that have begun keep theirs, and the first that has not becomes the new base.
//!
//! A run that finds nothing in flight begins when it has been dispatched; what its first step takes longer after a pause passes between
//! its start and its base.
//!
//! The slow-down is that of the copies beside a step and that of the load before it: of steps with prompts the load at which they begin. A run
//! counts as load when it is over.

use crate::throttle::SlowedDown;
use crate::{Load, Ramp, SlowDown, StepCost, Throttle, Work};
use engine::device::{Completion, StepRun};
use model::{Nanos, OpId, Time};
use std::collections::VecDeque;

/// The compute side of a device.
#[derive(Debug)]
pub(crate) struct StepQueue {
    cost: StepCost,
    ahead: u32,
    /// Which draw of the jitter, if any.
    draw: Option<u32>,
    load: Load,
    /// What comes of it now for decode steps.
    slowed_down: SlowedDown,
    /// The last slow-down that was asked for.
    slow_down: (u32, SlowDown),
    runs: VecDeque<Run>,
    /// End of the last run.
    ended: Option<Time>,
    /// Phase lists of runs that are over, to be used again.
    spare: Vec<Vec<Phase>>,
}

#[derive(Clone, Copy, Debug)]
struct Phase {
    first_ps: u64,
    growth_ps: u64,
    steps: u32,
}

#[derive(Debug)]
struct Run {
    op: OpId,
    cuttable: bool,
    phases: Vec<Phase>,
    /// Steps in all phases, or what a cut left of them.
    steps: u32,
    /// Prompts of all phases, and the sequences that the first decodes.
    work: Work,
    /// So much longer it takes by the load at which it begins \[ppm\]; `None` without prompts, for the load changes from step to step, and
    /// before it is the first.
    load_ppm: Option<u32>,
    submitted: Time,
    start: Time,
    slow_down: SlowDown,
    /// Steps before this one have begun.
    base_step: u32,
    /// When that step begins.
    base: Time,
    end: Time,
    last_begins: Time,
    /// Whether `end` and `last_begins` are to be computed again.
    stale: bool,
    /// The driver has been woken for the last step, or was awake.
    told: bool,
}

impl StepQueue {
    pub fn new(cost: StepCost, ahead: u32) -> Self {
        Self {
            cost,
            ahead,
            draw: None,
            load: Load::default(),
            slowed_down: SlowedDown::default(),
            slow_down: (0, SlowDown::NONE),
            runs: VecDeque::with_capacity(2),
            ended: None,
            spare: Vec::new(),
        }
    }

    /// From now on steps take what the jitter's draw of this number makes of their cost.
    pub fn draw(&mut self, number: u32) {
        self.draw = Some(number);
    }

    /// Queues `run`; if nothing runs it starts as soon as it has been dispatched.
    ///
    /// # Panics
    /// If too many runs are in flight, or the run breaks the rules of [`StepRun`].
    pub fn submit(&mut self, now: Time, run: &StepRun) {
        assert!(
            self.runs.len() <= self.ahead.min(1) as usize,
            "step run {} is one more than may be in flight",
            run.id
        );
        let mut phases = self.spare.pop().unwrap_or_default();
        phases.clear();
        let work = Work {
            prompt_tokens: run.phases.iter().map(|p| p.shape.prefill_tokens()).sum(),
            decode_seqs: run.phases.first().map_or(0, |p| p.shape.decode_seqs),
        };
        let factor_ppm = self.draw.map(|draw| {
            let jitter = self.cost.jitter;
            jitter.factor_ppm(draw, run.id, work.prompt_tokens > 0)
        });
        let takes = |cost_ps: u64| match factor_ppm {
            None => cost_ps,
            Some(ppm) => (u128::from(cost_ps) * u128::from(ppm) / 1_000_000) as u64,
        };
        for phase in &run.phases {
            assert!(
                phase.steps > 0,
                "step run {} has a phase without steps",
                run.id
            );
            assert!(
                phase.steps == 1 || phase.shape.prefill.is_empty(),
                "step run {} repeats a prefill",
                run.id
            );
            phases.push(Phase {
                first_ps: takes(self.cost.step_ps(&phase.shape)),
                growth_ps: takes(self.cost.growth_ps(&phase.shape)),
                steps: phase.steps,
            });
        }
        let steps = run.steps();
        assert!(steps > 0, "step run {} has no steps", run.id);
        let (mut start, mut base) = (now, now);
        if self.runs.is_empty() {
            let idle = self.ended.map(|ended| now.since(ended));
            start = now + Nanos(self.cost.idle.dispatch_ns);
            base = start + self.cost.idle.longer(idle);
        }
        let mut run = Run {
            op: run.id,
            cuttable: run.cuttable,
            phases,
            steps,
            work,
            load_ppm: None,
            submitted: now,
            start,
            slow_down: self.slow_down.1,
            base_step: 0,
            base,
            end: base,
            last_begins: base,
            stale: true,
            told: false,
        };
        if self.runs.is_empty() {
            run.begin_under(&self.load, &self.cost.throttle);
        }
        self.runs.push_back(run);
    }

    /// Whether a run has started, and is not over.
    pub fn is_busy(&self, now: Time) -> bool {
        self.runs.front().is_some_and(|run| run.start <= now)
    }

    /// The next time at which [`settle`](Self::settle) must be called, though nothing is over: the run that is being dispatched starts, or the
    /// load lets the steps that have not begun take less.
    pub fn next_change(&self, now: Time) -> Option<Time> {
        let run = self.runs.front()?;
        let start = Some(run.start).filter(|start| *start > now);
        let begins = run.last_begins >= now && run.load_ppm.is_none();
        let change = self.slowed_down.until.filter(|_| begins);
        start.into_iter().chain(change).min()
    }

    /// Copies make steps that begin at `now` or later take so much longer \[ppm\]. To be called before time moves on from `now`.
    pub fn settle(&mut self, now: Time, copies_ppm: u32) {
        let Some(run) = self.runs.front_mut() else {
            return;
        };
        if self.slowed_down.until.is_some_and(|until| until <= now) {
            self.slowed_down = self.load.slowed_down(&self.cost.throttle, now);
        }
        let ppm = copies_ppm + run.load_ppm.unwrap_or(self.slowed_down.decode_ppm);
        if self.slow_down.0 != ppm {
            self.slow_down = (ppm, SlowDown::ppm(ppm));
        }
        let slow_down = self.slow_down.1;
        if run.slow_down != slow_down {
            run.rebase(now);
            run.slow_down = slow_down;
            run.stale = true;
        }
        if run.stale {
            run.schedule();
        }
    }

    /// The next time at which the driver must wake, if nothing else happens: the end of the run, or the beginning of its last
    /// step if the driver is to submit another behind it.
    pub fn next_wake(&self) -> Option<Time> {
        let run = self.runs.front()?;
        let may_submit = self.ahead > 0 && self.runs.len() == 1 && !run.told;
        Some(if may_submit { run.last_begins } else { run.end })
    }

    /// Takes out the run that is over at `now`, and starts the next.
    pub fn complete(&mut self, now: Time) -> Option<Completion> {
        let run = self.runs.front_mut()?;
        run.told |= run.last_begins <= now;
        if run.end > now {
            return None;
        }
        let run = self.runs.pop_front()?;
        self.ended = Some(run.end);
        let throttle = &self.cost.throttle;
        self.load.add(throttle, run.work, run.start, run.end);
        if run.work.prompt_tokens > 0 {
            self.slowed_down = self.load.slowed_down(throttle, run.end);
        }
        self.spare.push(run.phases);
        if let Some(next) = self.runs.front_mut() {
            next.start = run.end.max(next.submitted);
            next.base = next.start;
            next.slow_down = self.slow_down.1;
            next.begin_under(&self.load, &self.cost.throttle);
            // Its first step begins now; if it is the last one, this is the wake for it.
            next.told = next.steps == 1 && next.start == now;
        }
        Some(Completion {
            op: run.op,
            start: run.start,
            end: run.end,
            units: run.steps,
            status: Ok(()),
        })
    }

    /// Shortens a run to its committed steps; `None` if `op` is no run in flight.
    pub fn cut(&mut self, now: Time, op: OpId) -> Option<u32> {
        let place = self.runs.iter().position(|run| run.op == op)?;
        let ahead = self.ahead;
        let run = &mut self.runs[place];
        if !run.cuttable {
            return Some(run.steps);
        }
        // Behind another run nothing has begun, and the device is not yet told to go on.
        let committed = if place == 0 {
            run.begun(now) + ahead
        } else {
            0
        };
        let committed = committed.clamp(1, run.steps);
        if committed < run.steps {
            run.steps = committed;
            run.stale = true;
        }
        Some(committed)
    }

    /// Steps of a run that are over; `None` if `op` is no run in flight.
    pub fn progress(&self, now: Time, op: OpId) -> Option<u32> {
        let place = self.runs.iter().position(|run| run.op == op)?;
        Some(if place == 0 {
            self.runs[0].over(now)
        } else {
            0
        })
    }
}

impl Run {
    /// Fixes what load makes of its prompts, if it has any: it begins at its base, and this is the load of all before it.
    fn begin_under(&mut self, load: &Load, throttle: &Throttle) {
        self.load_ppm = (self.work.prompt_tokens > 0).then(|| {
            let rested = SlowDown::NONE.nanos(self.phases[0].first_ps);
            load.ppm(throttle, self.base, self.work, rested)
        });
    }

    /// The steps from the base on, as ramps with their lengths.
    fn ramps(&self) -> impl Iterator<Item = (Ramp, u32)> {
        let (mut skip, mut left) = (self.base_step, self.steps - self.base_step);
        self.phases.iter().filter_map(move |phase| {
            let skipped = skip.min(phase.steps);
            skip -= skipped;
            let steps = (phase.steps - skipped).min(left);
            left -= steps;
            (steps > 0).then(|| {
                (
                    Ramp::new(phase.first_ps, phase.growth_ps, self.slow_down).skip(skipped),
                    steps,
                )
            })
        })
    }

    fn schedule(&mut self) {
        let (mut end, mut last_begins) = (self.base.0, self.last_begins.0);
        for (ramp, steps) in self.ramps() {
            let start = end;
            end = end.saturating_add(ramp.sum(steps));
            // The last step of every phase in turn; that of the last phase stays.
            last_begins = (end - ramp.step(steps - 1)).max(start);
        }
        self.end = Time(end);
        self.last_begins = Time(last_begins);
        self.stale = false;
    }

    /// Makes the first step that has not begun before `now` the base.
    fn rebase(&mut self, now: Time) {
        let begun = self.begun(now);
        let mut left = begun - self.base_step;
        let mut base = self.base.0;
        let mut last_begins = self.last_begins.0;
        for (ramp, steps) in self.ramps() {
            let taken = steps.min(left);
            left -= taken;
            if taken > 0 {
                base = base.saturating_add(ramp.sum(taken));
                last_begins = base - ramp.step(taken - 1);
            }
        }
        self.base = Time(base);
        self.base_step = begun;
        self.last_begins = Time(last_begins);
    }

    /// Steps begun before `now`.
    fn begun(&self, now: Time) -> u32 {
        let mut after = now.since(self.base).0;
        let mut begun = self.base_step;
        for (ramp, steps) in self.ramps() {
            let phase = ramp.begun(steps, after);
            begun += phase;
            if phase < steps {
                break;
            }
            after = after.saturating_sub(ramp.sum(steps));
        }
        begun
    }

    /// Steps over at `now`.
    fn over(&self, now: Time) -> u32 {
        if now < self.base {
            // The step before the base is still running, or none has begun.
            return self.base_step.saturating_sub(1);
        }
        let mut after = now.since(self.base).0;
        let mut over = self.base_step;
        for (ramp, steps) in self.ramps() {
            let phase = ramp.over(steps, after);
            over += phase;
            if phase < steps {
                break;
            }
            after -= ramp.sum(steps);
        }
        over
    }
}
