//! Checkers: invariants that hold at every wake (behind `check`) and at the end of every run.

use super::{Driver, RunError};
use crate::device::Device;
use model::{Phase, SessionId, Tier};

impl<D: Device> Driver<'_, D> {
    pub(super) fn broken(&self, checker: &'static str, what: String) -> RunError {
        RunError::Check {
            checker,
            at: self.now,
            what,
        }
    }

    /// All accounts, the slow way.
    pub(super) fn check(&self) -> Result<(), RunError> {
        self.ledger
            .check()
            .map_err(|what| self.broken("block conservation", what))?;
        if let Some(offload) = &self.offload {
            let closes = offload.tier.check();
            closes.map_err(|what| self.broken("block conservation", what))?;
        }
        for (id, view) in self.views.iter().enumerate() {
            let kv = self.ledger.kv(SessionId(id as u32));
            if view.hbm_blocks.0 != kv.pin.registered() {
                let what = format!(
                    "session {id} is seen with {} blocks and holds {}",
                    view.hbm_blocks.0,
                    kv.pin.registered()
                );
                return Err(self.broken("view", what));
            }
        }
        for (id, view) in self.views.iter().enumerate() {
            let (from, blocks) = self.ledger.kv(SessionId(id as u32)).disk_part();
            if (view.disk_from.0, view.disk_blocks.0) != (from, blocks) {
                let what = format!(
                    "session {id} is seen with {} blocks on the disk and has {blocks}",
                    view.disk_blocks.0
                );
                return Err(self.broken("view", what));
            }
        }
        let computed = |&s: &SessionId| u64::from(self.live[s.index()].request.computed);
        let running: u64 = self.batch.running.iter().map(computed).sum();
        if running != self.batch.running_tokens {
            let what = format!(
                "{running} tokens run, {} are counted",
                self.batch.running_tokens
            );
            return Err(self.broken("token conservation", what));
        }
        let prompt = |s: usize| match self.views[s].phase {
            Phase::Queued => u64::from(self.live[s].request.prompt),
            _ => 0,
        };
        let queued: u64 = (0..self.views.len()).map(prompt).sum();
        if queued != self.batch.queue_tokens {
            let what = format!(
                "{queued} tokens wait, {} are counted",
                self.batch.queue_tokens
            );
            return Err(self.broken("token conservation", what));
        }
        let gpu_idle = self.in_flight.is_empty() && self.sleep.is_none();
        if gpu_idle && !self.short && !self.batch.waiting.is_empty() {
            return Err(self.broken(
                "work conservation",
                "turns wait, and nothing runs".to_owned(),
            ));
        }
        Ok(())
    }

    pub(super) fn check_end(&self) -> Result<(), RunError> {
        if let Some(offload) = &self.offload
            && (offload.tier.busy() > 0 || offload.tier.has_fences())
        {
            let what = format!("{} blocks of the host are still busy", offload.tier.busy());
            return Err(self.broken("all blocks free at the end", what));
        }
        for tier in [Tier::Hbm, Tier::Host, Tier::Disk] {
            let pool = self.ledger.pool(tier);
            if pool.free() != pool.capacity() {
                let what = format!(
                    "{tier:?}: {} of {} blocks are free",
                    pool.free(),
                    pool.capacity()
                );
                return Err(self.broken("all blocks free at the end", what));
            }
        }
        Ok(())
    }
}
