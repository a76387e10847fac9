//! The lanes of the host tier: one job after another, each as a whole, each behind the step that it must not overtake.
//!
//! A store reads what the step before its launch has written; a load writes blocks that the step of its own scheduling might still
//! read. So a job waits for that step to be over, and jobs behind it wait with it: a lane is first in, first out.

use super::super::{Driver, RunError};
use crate::device::{Completion, CopyClass, CopyRun, Device, Op};
use crate::memory::JobId;
use crate::record::{Part, What};
use model::{Direction, OpId, Time};
use std::collections::{BTreeSet, VecDeque};

/// One direction.
#[derive(Debug, Default)]
pub(super) struct JobLane {
    waiting: VecDeque<Submitted>,
    current: Option<Current>,
    /// Jobs that have left it so far.
    pub left: u64,
    /// Blocks of the jobs in it.
    pub blocks: u32,
}

/// A job in a lane, and what must have happened before it may start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Submitted {
    pub job: JobId,
    /// The scheduling that submitted it.
    pub by: u64,
    /// So many steps must be over.
    pub steps: u64,
    /// This scheduling must be launched.
    pub launch: Option<u64>,
}

#[derive(Debug)]
struct Current {
    op: OpId,
    job: JobId,
    by: u64,
    submitted: Time,
    run: CopyRun,
}

impl JobLane {
    pub fn is_quiet(&self) -> bool {
        self.current.is_none()
    }

    /// A job of `blocks` blocks enters behind all others.
    pub fn push(&mut self, job: Submitted, blocks: u32) {
        self.waiting.push_back(job);
        self.blocks += blocks;
    }

    /// Jobs in the lane, in order.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> {
        let current = self.current.iter().map(|current| current.job);
        current.chain(self.waiting.iter().map(|waiting| waiting.job))
    }

    /// The number of jobs that must have left the lane so that all of `jobs` have; `None` if none of them is in it.
    pub fn last_of(&self, jobs: &BTreeSet<JobId>) -> Option<u64> {
        let places = self.jobs().zip(self.left + 1..);
        let of_them = places.filter(|(job, _)| jobs.contains(job));
        of_them.map(|(_, place)| place).last()
    }
}

impl<D: Device> Driver<'_, D> {
    /// Gives each lane its next job, if it is free and nothing holds the job back.
    pub(in super::super) fn pump_jobs(&mut self) {
        if self.offload.is_none() {
            return;
        }
        for direction in [Direction::H2d, Direction::D2h] {
            self.pump_job(direction);
        }
    }

    fn pump_job(&mut self, direction: Direction) {
        let Some(offload) = &mut self.offload else {
            return;
        };
        let lane = &mut offload.lanes[direction.index()];
        let Some(&first) = lane.waiting.front() else {
            return;
        };
        let job = first.job;
        let launched = first.launch.is_none_or(|number| {
            let mut runs = self.in_flight.iter().map(|run| &run.launch);
            !runs.any(|launch| launch.number == number && launch.waits_for.is_some())
        });
        if lane.current.is_some() || first.steps > offload.over || !launched {
            return;
        }
        lane.waiting.pop_front();
        let blocks = offload.tier.blocks(job);
        let session = offload.tier.session(job);
        let copies = if self.device.places_blocks() {
            offload.tier.block_copies(job)
        } else {
            Vec::new()
        };
        let op = self.new_op();
        let class = match direction {
            Direction::D2h => CopyClass::WriteBack,
            _ => CopyClass::Demand,
        };
        let run = CopyRun {
            id: op,
            session,
            direction,
            class,
            block_count: blocks,
            chunk_blocks: self.config.chunk_blocks.min(blocks),
            block_bytes: self.config.block_bytes,
            blocks: Vec::new(),
        };
        self.device.submit(Op::Copy(CopyRun {
            blocks: copies,
            ..run.clone()
        }));
        self.log(session, What::CopyStart(direction, class, blocks));
        let offload = self.offload.as_mut().expect("just seen");
        offload.lanes[direction.index()].current = Some(Current {
            op,
            job,
            by: first.by,
            submitted: self.now,
            run,
        });
    }

    /// Takes jobs that have ended out of `done`. Whoever polls next finds them.
    pub(in super::super) fn take_jobs(
        &mut self,
        done: &mut Vec<Completion>,
    ) -> Result<(), RunError> {
        if self.offload.is_none() {
            return Ok(());
        }
        let mut rest = Vec::with_capacity(done.len());
        for completion in done.drain(..) {
            match self.lane_of(completion.op) {
                Some(direction) => self.job_done(direction, &completion)?,
                None => rest.push(completion),
            }
        }
        *done = rest;
        Ok(())
    }

    fn lane_of(&self, op: OpId) -> Option<Direction> {
        let offload = self.offload.as_ref()?;
        Direction::LINK.into_iter().find(|direction| {
            let current = offload.lanes[direction.index()].current.as_ref();
            current.is_some_and(|current| current.op == op)
        })
    }

    fn job_done(&mut self, direction: Direction, completion: &Completion) -> Result<(), RunError> {
        completion.status.clone()?;
        let offload = self.offload.as_mut().expect("the caller has looked");
        let lane = &mut offload.lanes[direction.index()];
        let current = lane.current.take().expect("the caller has looked");
        lane.left += 1;
        lane.blocks -= current.run.block_count;
        let CopyRun {
            session,
            class,
            block_count,
            ..
        } = current.run;
        if completion.end <= completion.start || completion.units != current.run.chunks() {
            let what = format!(
                "copy {} of {block_count} blocks: {} chunks from {} to {}",
                completion.op, completion.units, completion.start, completion.end
            );
            return Err(self.broken("moved bytes cost time", what));
        }
        let summary = &mut offload.summary;
        summary.jobs[direction.index()] += 1;
        summary.blocks[direction.index()] += u64::from(block_count);
        summary.busy[direction.index()] += completion.end.since(completion.start);
        // A scheduling that waits polls as of the end of its wait, but did so before later ones had submitted anything.
        let mut launches = self.in_flight.iter_mut().map(|run| &mut run.launch);
        match launches.find(|launch| launch.polls && current.by <= launch.number) {
            Some(launch) => launch.ended.push(current.job),
            None => offload.unpolled.push(current.job),
        }
        let bytes = self.bytes(block_count);
        self.lanes[direction.index()].moved += bytes;
        let live = &mut self.live[session.index()];
        live.record.moved[direction.index()] += bytes;
        if direction == Direction::H2d {
            live.record.restores += 1;
            live.request.waits(Part::Queue, completion.end);
        }
        self.copied(
            completion,
            direction,
            session,
            class,
            block_count,
            current.submitted,
        );
        self.note_change();
        Ok(())
    }
}
