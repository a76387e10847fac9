//! Step runs in flight: which steps have been launched, and which are over.
//!
//! At most `ahead` steps are launched beyond the running one, over all runs, so that a cut never waits: what is launched is
//! committed, the rest is forgotten. A run launches its first step when it is submitted, and more at each wait. Launched means ordered
//! from the launcher, which may refuse it later.
//!
//! **Invariant:** completed <= launched <= steps, for every run; only the front run has completed steps.

use engine::device::{DeviceError, StepRun, StepShape};
use model::{Nanos, OpId, Time};
use std::collections::VecDeque;
use std::time::Instant;

pub(super) struct Steps {
    ahead: u32,
    pub runs: VecDeque<Run>,
}

pub(super) struct Run {
    pub plan: StepRun,
    /// Steps in all phases, or what a cut or a failure left of them.
    pub steps: u32,
    pub launched: u32,
    pub completed: u32,
    pub submitted: Time,
    pub started: Option<Time>,
    pub ended: Time,
    pub gpu: Nanos,
    pub failure: Option<DeviceError>,
    /// The driver has been woken for the last step, or was awake.
    told: bool,
    /// Since when the step that is next to end has been awaited.
    awaited_since: Instant,
}

impl Steps {
    pub fn new(ahead: u32) -> Self {
        Self {
            ahead,
            runs: VecDeque::with_capacity(2),
        }
    }

    pub fn submit(&mut self, now: Time, instant: Instant, plan: StepRun) {
        let steps = plan.steps();
        let failure = (steps == 0)
            .then(|| DeviceError(format!("step run {} has no steps; give it one", plan.id)));
        self.runs.push_back(Run {
            steps: steps.max(1),
            plan,
            launched: 0,
            completed: 0,
            submitted: now,
            started: None,
            ended: now,
            gpu: Nanos::ZERO,
            failure,
            told: false,
            awaited_since: instant,
        });
    }

    /// The next step to launch, if the window has room: its run's place, and its shape.
    pub fn next(&self) -> Option<(usize, StepShape)> {
        let under_way: u32 = self
            .runs
            .iter()
            .map(|run| run.launched - run.completed)
            .sum();
        if under_way > self.ahead {
            return None;
        }
        let place = self
            .runs
            .iter()
            .position(|run| run.launched < run.steps && run.failure.is_none())?;
        // Steps are executed in order: nothing passes a run that has failed.
        if self
            .runs
            .iter()
            .take(place)
            .any(|run| run.failure.is_some())
        {
            return None;
        }
        Some((place, self.runs[place].shape()))
    }

    pub fn find(&self, op: OpId) -> Option<&Run> {
        self.runs.iter().find(|run| run.plan.id == op)
    }

    /// Shortens a run to what has been launched.
    pub fn cut(&mut self, op: OpId) -> Option<u32> {
        let run = self.find_mut(op)?;
        if run.plan.cuttable {
            run.steps = run.launched.clamp(1, run.steps);
        }
        Some(run.steps)
    }

    /// A step of `op` is over.
    pub fn complete(&mut self, op: OpId, started: Time, ended: Time, gpu: Nanos, at: Instant) {
        let Some(run) = self.find_mut(op) else {
            return;
        };
        run.started.get_or_insert(started.max(run.submitted));
        run.ended = ended;
        run.gpu += gpu;
        run.completed += 1;
        run.awaited_since = at;
        if let Some(next) = self.runs.get_mut(1) {
            next.awaited_since = at;
        }
    }

    /// A step of `op` that was ordered has not been launched after all.
    pub fn refused(&mut self, op: OpId) {
        if let Some(run) = self.find_mut(op) {
            run.launched = run.launched.saturating_sub(1);
        }
    }

    /// A step of `op` has failed.
    pub fn fail(&mut self, op: OpId, error: &str) {
        if let Some(run) = self.find_mut(op) {
            let text = format!("step run {op}: {error}");
            run.failure.get_or_insert(DeviceError(text));
        }
    }

    fn find_mut(&mut self, op: OpId) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.plan.id == op)
    }

    /// Takes out the front run if it is over.
    pub fn pop(&mut self) -> Option<Run> {
        if !self.runs.front()?.is_over() {
            return None;
        }
        let over = self.runs.pop_front()?;
        if let Some(next) = self.runs.front_mut() {
            // Its first step runs by now; if that is the last one, this is the wake for it.
            next.told |= next.steps == 1;
        }
        Some(over)
    }

    /// Whether the driver is to be woken because a last step runs behind which nothing is queued. Each run asks once.
    pub fn wakes(&mut self) -> bool {
        let alone = self.runs.len() == 1;
        let Some(run) = self.runs.front_mut() else {
            return false;
        };
        let last_runs = run.launched == run.steps && run.completed + 1 == run.steps;
        let wakes = self.ahead > 0 && alone && last_runs && !run.told;
        run.told |= last_runs;
        wakes
    }

    /// Since when the step that is next to end has been awaited.
    pub fn awaited_since(&self) -> Option<Instant> {
        let run = self.runs.front()?;
        (run.launched > run.completed).then_some(run.awaited_since)
    }

    /// Ends the front run with `failure`.
    pub fn give_up(&mut self, failure: DeviceError, at: Time) {
        if let Some(run) = self.runs.front_mut() {
            run.failure.get_or_insert(failure);
            run.completed = run.launched;
            run.ended = at.max(run.ended);
        }
    }
}

impl Run {
    fn is_over(&self) -> bool {
        self.completed == self.steps || self.failure.is_some() && self.completed == self.launched
    }

    /// Steps that its completion reports.
    pub fn units(&self) -> u32 {
        if self.failure.is_some() {
            self.completed.max(1)
        } else {
            self.steps
        }
    }

    /// The step to be launched next.
    fn shape(&self) -> StepShape {
        let mut skip = self.launched;
        for phase in &self.plan.phases {
            if skip < phase.steps {
                let mut shape = phase.shape.clone();
                shape.decode_kv_tokens += u64::from(skip) * u64::from(shape.decode_seqs);
                return shape;
            }
            skip -= phase.steps;
        }
        StepShape::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::device::StepPhase;

    fn decode(id: u64, steps: u32) -> StepRun {
        let shape = StepShape {
            decode_seqs: 3,
            decode_kv_tokens: 100,
            ..StepShape::default()
        };
        StepRun {
            id: OpId(id),
            phases: vec![StepPhase { shape, steps }],
            cuttable: true,
        }
    }

    fn launch(steps: &mut Steps) -> Option<u64> {
        let (place, shape) = steps.next()?;
        steps.runs[place].launched += 1;
        Some(shape.decode_kv_tokens)
    }

    #[test]
    fn every_decode_step_reads_one_token_more_of_each_sequence() {
        let mut steps = Steps::new(9);
        steps.submit(Time::ZERO, Instant::now(), decode(0, 3));
        // Three sequences: 100, then 3 more in each step.
        let kv: Vec<_> = std::iter::from_fn(|| launch(&mut steps)).collect();
        assert_eq!(kv, [100, 103, 106]);
    }

    #[test]
    fn no_more_is_launched_than_the_running_step_and_those_ahead_over_all_runs() {
        let mut steps = Steps::new(1);
        let at = Instant::now();
        steps.submit(Time::ZERO, at, decode(0, 2));
        steps.submit(Time::ZERO, at, decode(1, 5));
        assert!(launch(&mut steps).is_some() && launch(&mut steps).is_some());
        assert_eq!(launch(&mut steps), None);
        steps.complete(OpId(0), Time(1), Time(2), Nanos(1), at);
        // One of run 0 is left, so one of run 1 may go ahead.
        assert_eq!(launch(&mut steps), Some(100));
        assert_eq!(launch(&mut steps), None);
        assert_eq!(steps.cut(OpId(1)), Some(1));
        assert_eq!(steps.cut(OpId(0)), Some(2));
    }

    #[test]
    fn the_driver_is_woken_once_for_a_last_step_and_only_when_scheduling_ahead() {
        for (ahead, wakes) in [(0, false), (1, true)] {
            let mut steps = Steps::new(ahead);
            steps.submit(Time::ZERO, Instant::now(), decode(0, 1));
            launch(&mut steps);
            assert_eq!(steps.wakes(), wakes);
            assert!(!steps.wakes());
        }
    }

    #[test]
    fn a_run_that_failed_ends_with_what_was_launched_and_nothing_passes_it() {
        let mut steps = Steps::new(1);
        let at = Instant::now();
        steps.submit(Time::ZERO, at, decode(0, 9));
        steps.submit(Time::ZERO, at, decode(1, 9));
        launch(&mut steps);
        steps.runs[0].failure = Some(DeviceError("refused".to_owned()));
        assert_eq!(launch(&mut steps), None);
        assert!(steps.pop().is_none(), "one step is still running");
        steps.complete(OpId(0), Time(1), Time(2), Nanos(1), at);
        assert_eq!(steps.pop().map(|run| run.units()), Some(1));
    }
}
