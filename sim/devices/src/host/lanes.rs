//! The copies in flight on host memory: which chunks the movers have been handed, and which have arrived.
//!
//! **Invariant:** a chunk that a cut may still take back has not been handed over; its destination is untouched.

use super::fault::CopyFault;
use super::mover::{Arenas, Job, Report, start};
use engine::device::{Completion, CopyRun, DeviceError};
use model::{Direction, OpId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

pub(super) struct Lanes {
    /// By direction; those of the disk only where there is one.
    jobs: Vec<Sender<Job>>,
    reports: Receiver<Report>,
    moving: [Option<Moving>; 4],
    patience: Duration,
    /// Copies that are over and whose completion was lost on request, with their chunks.
    lost: BTreeMap<OpId, u32>,
}

/// A copy in flight.
pub(super) struct Moving {
    pub run: Arc<CopyRun>,
    pub fault: Option<CopyFault>,
    /// Chunks to move: all, or what a cut left.
    pub chunks: u32,
    /// Chunks given to the mover.
    pub handed: u32,
    /// Chunks that have arrived.
    pub moved: u32,
    pub failure: Option<DeviceError>,
    /// When the mover began with the first chunk, and was done with the latest; the submission before that.
    pub started: Instant,
    pub latest: Instant,
    /// Since when the next chunk has been on its way.
    awaited_since: Instant,
}

impl Moving {
    pub fn is_over(&self) -> bool {
        self.moved == self.chunks
    }

    /// Gives up, naming how long nothing has arrived.
    fn stalled(&mut self, patience: Duration) {
        self.failure.get_or_insert_with(|| {
            DeviceError(format!(
                "{} copy {} of session {} stalled: chunk {} did not arrive within {patience:?}",
                self.run.direction, self.run.id, self.run.session, self.moved
            ))
        });
        self.moved = self.chunks;
        self.handed = self.chunks;
        self.latest = self.awaited_since + patience;
    }
}

impl Lanes {
    /// Idle lanes between the arenas. A chunk that takes longer than `patience` has failed.
    pub fn new(arenas: &Arc<Arenas>, patience: Duration) -> Self {
        let (sender, reports) = channel();
        let count = if arenas.disk.is_empty() { 2 } else { 4 };
        let mover = |&direction| start(direction, Arc::clone(arenas), sender.clone());
        Self {
            jobs: Direction::ALL[..count].iter().map(mover).collect(),
            reports,
            moving: Default::default(),
            patience,
            lost: BTreeMap::new(),
        }
    }

    pub fn submit(&mut self, run: CopyRun, fault: Option<CopyFault>) {
        let slot = &mut self.moving[run.direction.index()];
        assert!(
            slot.is_none(),
            "{} {} is submitted while another copy is in service",
            run.direction,
            run.id
        );
        let now = Instant::now();
        *slot = Some(Moving {
            chunks: run.chunks(),
            run: Arc::new(run),
            fault,
            handed: 0,
            moved: 0,
            failure: None,
            started: now,
            latest: now,
            awaited_since: now,
        });
    }

    pub fn get(&self, direction: Direction) -> Option<&Moving> {
        self.moving[direction.index()].as_ref()
    }

    pub fn find(&self, op: OpId) -> Option<&Moving> {
        self.moving
            .iter()
            .flatten()
            .find(|moving| moving.run.id == op)
    }

    pub fn find_mut(&mut self, op: OpId) -> Option<&mut Moving> {
        self.moving
            .iter_mut()
            .flatten()
            .find(|moving| moving.run.id == op)
    }

    /// Hands the mover the chunks before `chunks`.
    pub fn hand(&mut self, direction: Direction, chunks: u32) {
        let index = direction.index();
        let Some(moving) = &mut self.moving[index] else {
            return;
        };
        for chunk in moving.handed..chunks.min(moving.chunks) {
            let job = Job {
                run: Arc::clone(&moving.run),
                chunk,
                fault: moving.fault,
            };
            self.jobs[index]
                .send(job)
                .expect("a mover lives as long as its device");
            if moving.handed == moving.moved {
                moving.awaited_since = Instant::now();
            }
            moving.handed += 1;
        }
    }

    /// When the next chunk of the copy in flight is overdue.
    pub fn overdue(&self, direction: Direction) -> Option<Instant> {
        self.get(direction)
            .map(|moving| moving.awaited_since + self.patience)
    }

    /// Fails the copy in flight if its next chunk is overdue at `now`.
    pub fn give_up_overdue(&mut self, direction: Direction, now: Instant) {
        if self
            .overdue(direction)
            .is_some_and(|overdue| overdue <= now)
        {
            self.give_up(direction);
        }
    }

    /// Takes out a copy that is over, and passes its completion on with what became of it, unless nobody is to be told.
    pub fn finish(
        &mut self,
        direction: Direction,
        completion: &Completion,
        done: &mut Vec<Completion>,
    ) {
        let Some(moving) = self.moving[direction.index()].take() else {
            return;
        };
        if moving.fault == Some(CopyFault::LoseCompletion) {
            self.lost.insert(completion.op, completion.units);
        } else {
            let status = moving.failure.map_or(Ok(()), Err);
            done.push(Completion {
                status,
                ..completion.clone()
            });
        }
    }

    /// Chunks of a copy whose completion was lost.
    pub fn lost(&self, op: OpId) -> Option<u32> {
        self.lost.get(&op).copied()
    }

    /// Takes in a report if one comes within `patience` (`None`: however long it takes).
    pub fn receive(&mut self, patience: Option<Duration>) -> bool {
        let received = match patience {
            Some(patience) => self.reports.recv_timeout(patience),
            None => self
                .reports
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Ok(report) => self.take_in(report),
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => {
                panic!("all movers have ended before their device")
            }
        }
        true
    }

    /// Waits until the copy's first `chunks` chunks have arrived, or the copy has failed.
    pub fn await_moved(&mut self, direction: Direction, chunks: u32) {
        self.hand(direction, chunks);
        while self
            .get(direction)
            .is_some_and(|moving| moving.moved < chunks.min(moving.chunks))
        {
            if !self.receive(Some(self.patience)) {
                self.give_up(direction);
            }
        }
    }

    /// The copy has failed: its next chunk did not arrive in time.
    fn give_up(&mut self, direction: Direction) {
        let patience = self.patience;
        if let Some(moving) = &mut self.moving[direction.index()] {
            moving.stalled(patience);
        }
    }

    fn take_in(&mut self, report: Report) {
        let slot = &mut self.moving[report.direction.index()];
        // A copy that was given up may report after all.
        let Some(moving) = slot
            .as_mut()
            .filter(|moving| moving.run.id == report.op && !moving.is_over())
        else {
            return;
        };
        if moving.moved == 0 {
            moving.started = report.started;
        }
        moving.latest = report.ended;
        moving.awaited_since = report.ended;
        moving.moved += 1;
        if let Err(error) = report.result {
            moving.failure.get_or_insert(error);
        }
    }
}
