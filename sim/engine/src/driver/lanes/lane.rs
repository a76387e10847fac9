//! One direction of the link, or of the disk, as the engine sees it: who waits for it, and who has it.
//!
//! Demand goes before prefetch, prefetch before write-back, and within a class the first asked.

use crate::device::{CopyClass, CopyRun};
use model::{Bytes, OpId, SessionId, Time};
use std::collections::BTreeMap;

/// One direction.
#[derive(Debug, Default)]
pub(in super::super) struct Lane {
    /// Transfers that wait for the lane, by class and place: whose, and how many blocks were asked for.
    waiting: BTreeMap<(CopyClass, u64), (SessionId, u32)>,
    /// Where each of them stands.
    places: BTreeMap<SessionId, (CopyClass, u64)>,
    /// Blocks of all that wait.
    waiting_blocks: u32,
    /// The transfer that has it.
    pub current: Option<Current>,
    /// Bytes copied so far.
    pub moved: Bytes,
    /// The first in line lacks memory, and nothing has changed since.
    pub deferred: bool,
    /// Blocks that may begin to move before the next step is put together; `None` is no limit.
    pub allowance: Option<u32>,
    next: u64,
}

/// A transfer that has its lane.
#[derive(Debug)]
pub(in super::super) struct Current {
    pub op: OpId,
    pub session: SessionId,
    pub class: CopyClass,
    pub submitted: Time,
    /// Blocks that had arrived before this operation.
    pub base: u32,
    /// Of this operation, for chunk arithmetic.
    pub run: CopyRun,
    /// Blocks of it that have been counted as arrived.
    pub counted: u32,
    pub cancelled: bool,
    /// Cut, because something more urgent waits.
    pub yields: bool,
    /// Chunks done, once it is over.
    pub over: Option<u32>,
    /// Fault: the bytes move a second time.
    pub repeat: bool,
}

impl Lane {
    /// Nothing is in it, and what waits for it lacks memory.
    pub(in super::super) fn is_quiet(&self) -> bool {
        self.current.is_none() && (self.waiting.is_empty() || self.deferred)
    }

    /// Transfers wait for the lane.
    pub(in super::super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether a transfer of the session waits for the lane.
    pub(in super::super) fn holds(&self, session: SessionId) -> bool {
        self.places.contains_key(&session)
    }

    /// Blocks asked for and not yet copied.
    pub(in super::super) fn left(&self) -> u32 {
        let current = self.current.as_ref();
        self.waiting_blocks + current.map_or(0, |c| c.run.block_count - c.counted)
    }

    pub(in super::super) fn push(&mut self, session: SessionId, class: CopyClass, blocks: u32) {
        debug_assert!(
            !self.places.contains_key(&session),
            "one transfer per session"
        );
        self.next += 1;
        self.push_at(session, (class, self.next), blocks);
    }

    pub(in super::super) fn push_at(
        &mut self,
        session: SessionId,
        place: (CopyClass, u64),
        blocks: u32,
    ) {
        self.waiting.insert(place, (session, blocks));
        self.places.insert(session, place);
        self.waiting_blocks += blocks;
        self.deferred = false;
    }

    /// Takes a transfer out of the queue. Returns whether it was there.
    pub(in super::super) fn remove(&mut self, session: SessionId) -> bool {
        let Some(place) = self.places.remove(&session) else {
            return false;
        };
        let (_, blocks) = self.waiting.remove(&place).expect("places and queue agree");
        self.waiting_blocks -= blocks;
        self.deferred = false;
        true
    }

    /// A transfer that has given way: it has its destination, and needs no more memory.
    pub(in super::super) fn resumable(&self) -> Option<(CopyClass, SessionId)> {
        let class = [CopyClass::Demand, CopyClass::Prefetch]
            .into_iter()
            .find(|&class| self.waiting.contains_key(&(class, 0)))?;
        Some((class, self.waiting[&(class, 0)].0))
    }

    /// The first in line: whose, and how urgent.
    pub(in super::super) fn head(&self) -> Option<(CopyClass, SessionId)> {
        self.waiting
            .first_key_value()
            .map(|(&(class, _), &(session, _))| (class, session))
    }
}
