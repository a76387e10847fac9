//! The device reports what is over.
use super::super::{Driver, RunError};
use super::InFlight;
use crate::device::{Completion, Device};
use crate::record::{OpKind, OpRecord};

impl<D: Device> Driver<'_, D> {
    /// Takes in what the device has completed.
    pub(in super::super) fn take_completions(
        &mut self,
        done: &mut Vec<Completion>,
    ) -> Result<(), RunError> {
        self.note_over(done);
        if done.iter().any(|completion| !self.is_step(completion.op)) {
            // In this order: steps took their blocks before the copies gave theirs.
            self.settle_steps();
            self.settle_copies();
            self.take_jobs(done)?;
        }
        for completion in done.drain(..) {
            let at = self
                .in_flight
                .iter()
                .position(|run| run.op == Some(completion.op));
            match at {
                None => {
                    self.settle_steps();
                    self.copy_done(&completion)?;
                }
                Some(at) if self.is_next_over(at, &completion) => self.run_done(at, &completion)?,
                Some(_) => {}
            }
        }
        self.settle_launches()
    }

    pub(in super::super) fn run_done(
        &mut self,
        at: usize,
        completion: &Completion,
    ) -> Result<(), RunError> {
        completion.status.clone()?;
        if at != 0 {
            return Err(self.broken("step order", "a step run has overtaken another".to_owned()));
        }
        if completion.units == 0 || completion.units > self.in_flight[0].steps {
            let (done, planned) = (completion.units, self.in_flight[0].steps);
            let what = format!("run {}: {done} of {planned} steps", completion.op);
            return Err(self.broken("completions", what));
        }
        self.in_flight[0].steps = completion.units;
        let last = completion.units - 1;
        if last > 0 {
            self.commit(0, last);
        }
        self.apply(0, completion.units);
        // Times of a run's last step are not told apart from the run's; only single steps can begin a turn.
        let ended = (completion.start, completion.end);
        self.complete(0, completion.units, Some(ended));
        let mut run = self.in_flight.pop_front().expect("there is one");
        if let OpKind::Steps { steps, .. } = &mut run.kind {
            *steps = completion.units;
        }
        self.recorder.op(&OpRecord {
            op: completion.op,
            submit: run.submitted,
            start: completion.start,
            end: completion.end,
            kind: run.kind,
        });
        if let Some(mut record) = run.record {
            (record.start, record.end) = (completion.start, completion.end);
            self.recorder.step(&record);
        }
        self.take_in(&run.launch.ended);
        if let Some(offload) = &mut self.offload {
            offload.stir();
        }
        self.flush_empty();
        if self.offload.is_none() && self.ran_nothing && self.in_flight.is_empty() {
            self.ran_nothing = false;
            self.nap(self.now, false);
        }
        Ok(())
    }

    /// Records schedulings that ran nothing once their predecessors are over. Those that poll for copies are settled elsewhere.
    pub(super) fn flush_empty(&mut self) {
        while self.offload.is_none() && self.in_flight.front().is_some_and(InFlight::is_empty) {
            let run = self.in_flight.pop_front().expect("just seen");
            self.record_empty(&run);
        }
    }

    /// Records a scheduling that ran nothing.
    pub(in super::super) fn record_empty(&mut self, run: &InFlight) {
        if let Some(mut record) = run.record.clone() {
            (record.start, record.end) = (run.launched, run.launched);
            self.recorder.step(&record);
        }
    }
}
