//! Step runs in flight: what is committed, what is complete, and what that changes.
//!
//! A run's first step has its effects when it is scheduled. Those of its further steps are applied when they are *committed*: blocks taken from
//! the front of the free queue by step and then by running order, filled blocks registered. Single steps would do the same, one by one;
//! that is the test (`stepwise`).
//!
//! | file | what |
//! |---|---|
//! | `submit` | a plan goes to the device |
//! | `commit` | further steps of a run are scheduled |
//! | `complete` | steps are complete: tokens, turns that end |
//! | `over` | the device reports what is over |

mod commit;
mod complete;
mod over;
mod submit;

use super::offload::Launch;
use super::{Driver, Sleep};
use crate::batch::Hole;
use crate::device::{Device, PrefillChunk};
use crate::memory::Orders;
use crate::record::{OpKind, StepRecord};
use model::{OpId, SessionId, Time};

/// One turn's share of a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub session: SessionId,
    /// Tokens computed.
    pub tokens: u32,
    /// Tokens computed before.
    pub context: u32,
    /// Of `tokens`: computed before, in another life.
    pub again: u32,
    /// Yields a token.
    pub emits: bool,
    /// One token beyond the prompt.
    pub decode: bool,
    /// First step after a preemption.
    pub resumed: bool,
    /// Blocks of the turn that were registered before.
    pub registered: u32,
    /// The hole that these tokens fill: what is behind it has KV already.
    pub filled: Option<Hole>,
}

impl Item {
    /// What is computed: in two pieces if a hole is filled and there is more to compute behind it.
    pub fn chunks(&self) -> impl Iterator<Item = PrefillChunk> {
        let split = self.filled.map(|hole| hole.end - self.context);
        let first = split.unwrap_or(self.tokens);
        let kept = self.filled.map_or(0, |hole| hole.kept);
        let pieces = [
            PrefillChunk {
                tokens: first,
                context: self.context,
            },
            PrefillChunk {
                tokens: self.tokens - first,
                context: self.context + first + kept,
            },
        ];
        pieces.into_iter().filter(|piece| piece.tokens > 0)
    }
}

/// A run that is not over.
#[derive(Debug)]
pub(super) struct InFlight {
    /// `None` for a scheduling that ran nothing and is only to be recorded in its turn.
    op: Option<OpId>,
    items: Vec<Item>,
    /// Steps it will have: as planned, or as cut.
    steps: u32,
    /// Steps whose scheduling has had its effects.
    applied: u32,
    /// Steps whose completion has had its effects.
    completed: u32,
    pub submitted: Time,
    /// When its step could begin, as far as copies are concerned.
    pub launched: Time,
    kind: OpKind,
    record: Option<StepRecord>,
    /// What the host tier has to do with it.
    pub launch: Launch,
}

/// What `schedule` has put together.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub items: Vec<Item>,
    /// Equal steps that may follow one another.
    pub steps: u32,
    pub preempted: u32,
    pub record: Option<StepRecord>,
    /// What the host tier wants moved.
    pub orders: Orders,
}

impl<D: Device> Driver<'_, D> {
    /// Steps submitted and not complete.
    pub(super) fn steps_left(&self) -> u32 {
        self.in_flight
            .iter()
            .map(|run| run.steps - run.completed)
            .sum()
    }

    /// Whether a step could be scheduled now, as far as the GPU is concerned.
    pub(super) fn may_schedule(&self) -> bool {
        let ahead = u32::from(self.config.batching.ahead);
        !self.ran_nothing && self.steps_left() <= ahead && self.has_requests()
    }

    /// Whether it is time to schedule.
    pub(super) fn due(&mut self) -> bool {
        self.catch_up();
        if !self.may_schedule() {
            return false;
        }
        match self.sleep {
            Some(sleep) if sleep.idle || sleep.until > self.now => false,
            _ => {
                self.sleep = None;
                true
            }
        }
    }

    /// A scheduling ran nothing though there are requests: the engine core polls.
    pub(super) fn nap(&mut self, from: Time, idle: bool) {
        let poll = self.config.batching.idle_poll;
        if poll.0 > 0 && self.has_requests() {
            self.sleep = Some(Sleep {
                until: from + poll,
                idle,
            });
        }
    }
}

impl InFlight {
    fn placeholder() -> Self {
        Self {
            op: None,
            items: Vec::new(),
            steps: 0,
            applied: 0,
            completed: 0,
            submitted: Time::ZERO,
            launched: Time::ZERO,
            kind: OpKind::Steps {
                steps: 0,
                prefill_tokens: 0,
                decode_seqs: 0,
                kv_tokens: 0,
                prefill_kv_tokens: 0,
                prefill_pairs: 0,
                prefill_tile_kv_tokens: 0,
            },
            record: None,
            launch: Launch::default(),
        }
    }

    /// A scheduling that ran nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.op.is_none()
    }

    /// Its number on the device.
    pub(super) fn op(&self) -> Option<OpId> {
        self.op
    }

    /// Items of the run, and whether one of its turns ends with it.
    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }
}
