//! Whether anything is left to do, what is waited for, and whether that can come.
use super::lanes::Lane;
use super::steps::InFlight;
use super::{Driver, RunError};
use crate::device::Device;
use model::{Tier, Time};

impl<D: Device> Driver<'_, D> {
    /// A serial run is delivered whole: what happens meanwhile waits for its end.
    pub(super) fn uninterruptible(&self) -> bool {
        let held = || self.in_flight.iter().any(|run| run.launch.is_held());
        self.config.batching.serial && !self.batch.running.is_empty() && !held()
    }

    pub(super) fn wake_time(&self) -> Option<Time> {
        if self.uninterruptible() {
            return None;
        }
        let start = self
            .next_session
            .as_ref()
            .map(|session| session.start.max(self.now));
        let event = self.events.next_time().map(|at| at.max(self.now));
        let sleep = self
            .sleep
            .filter(|sleep| !sleep.idle && self.may_schedule())
            .map(|s| s.until);
        let tick = self.tick_at.map(|at| at.max(self.now));
        [start, event, tick, sleep].into_iter().flatten().min()
    }

    pub(super) fn finished(&self) -> bool {
        self.next_session.is_none()
            && self.alive == 0
            && self.in_flight.is_empty()
            && self.lanes.iter().all(Lane::is_quiet)
            && !self.has_requests()
    }

    /// A turn has become ready since the schedule of this wake, and the GPU is idle.
    pub(super) fn overlooked(&mut self) -> bool {
        !self.short
            && !self.batch.waiting.is_empty()
            && self.batch.running.is_empty()
            && self.in_flight.is_empty()
            && self.due()
    }

    /// Ready turns lack memory, and nothing that is under way will free any.
    pub(super) fn stuck(&self) -> bool {
        self.short
            && self.batch.queued() > 0
            && self.batch.running.is_empty()
            && self.device_idle()
            && self.leaving() == 0
    }

    pub(super) fn device_idle(&self) -> bool {
        self.in_flight.iter().all(InFlight::is_empty)
            && self.lanes.iter().all(|lane| lane.current.is_none())
            && self
                .offload
                .as_ref()
                .is_none_or(|offload| offload.is_quiet())
    }

    pub(super) fn stuck_error(&self) -> RunError {
        let pool = self.ledger.pool(Tier::Hbm);
        RunError::Stuck {
            at: self.now,
            waiting: self.batch.queued(),
            free: pool.free(),
            capacity: pool.capacity(),
        }
    }
}
