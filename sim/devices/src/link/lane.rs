//! One direction of the link, in closed form.
//!
//! A copy is a row of equal chunks, the last one perhaps smaller. As long as the rate stays, chunk `k` ends at
//! `head end + (k - head) · chunk time`, so nothing is done per chunk. When the rate changes, the chunk in service becomes
//! the *head*: its bytes left go on at the new rate, and the row starts anew behind it.
//!
//! **Invariant:** what is left is rounded up, and so is every time: a copy never ends early, and moved bytes always
//! cost time.

use super::Copied;
use super::cost::{Beside, LaneCost, moved_bytes, transfer_ns};
use engine::device::CopyRun;
use model::{Nanos, OpId, Time};

#[derive(Debug)]
pub(crate) struct Lane {
    cost: LaneCost,
    depth: u32,
    copy: Option<Transfer>,
    /// Time of the copies that are over.
    busy: Nanos,
}

/// The copy in service.
#[derive(Debug)]
struct Transfer {
    op: OpId,
    start: Time,
    chunks: u32,
    full: Chunk,
    last: Chunk,
    /// What slows it down.
    beside: Beside,
    /// The chunk that was in service when the rate changed.
    head: u32,
    /// When the head's bytes begin to move, or went on at this rate; ahead while its overhead lasts.
    head_from: Time,
    /// The head's bytes left at that time.
    head_left: u64,
    /// The head's end.
    head_end: Time,
    /// Time of a full chunk behind the head.
    pace: u64,
    end: Time,
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    overhead: u64,
    bytes: u64,
}

impl Lane {
    pub fn new(cost: LaneCost, depth: u32) -> Self {
        Self {
            cost,
            depth,
            copy: None,
            busy: Nanos::ZERO,
        }
    }

    pub fn is_busy(&self) -> bool {
        self.copy.is_some()
    }

    pub fn holds(&self, op: OpId) -> bool {
        self.copy.as_ref().is_some_and(|copy| copy.op == op)
    }

    /// When the copy in service ends, if nothing else happens.
    pub fn end(&self) -> Option<Time> {
        self.copy.as_ref().map(|copy| copy.end)
    }

    /// Starts `run` at `now`.
    ///
    /// # Panics
    /// If a copy is in service, or the run is empty.
    pub fn submit(&mut self, now: Time, run: &CopyRun) {
        assert!(
            self.copy.is_none(),
            "{} {} is submitted while another copy is in service",
            run.direction,
            run.id
        );
        assert!(
            run.block_count > 0 && run.chunk_blocks > 0 && run.block_bytes.0 > 0,
            "copy {} moves nothing",
            run.id
        );
        let chunk = |blocks: u32| Chunk {
            overhead: self.cost.overhead_ns(blocks),
            bytes: u64::from(blocks) * run.block_bytes.0,
        };
        let chunks = run.chunks();
        let full = chunk(run.chunk_blocks);
        let last = chunk(run.block_count - run.blocks_in(chunks - 1));
        let first = if chunks == 1 { last } else { full };
        let mut copy = Transfer {
            op: run.id,
            start: now,
            chunks,
            full,
            last,
            beside: Beside::NOTHING,
            head: 0,
            head_from: now + Nanos(first.overhead),
            head_left: first.bytes,
            head_end: now,
            pace: 0,
            end: now,
        };
        copy.schedule(&self.cost);
        self.copy = Some(copy);
    }

    /// From `now` on this is beside it.
    pub fn settle(&mut self, now: Time, beside: Beside) {
        if let Some(copy) = self.copy.as_mut().filter(|copy| copy.beside != beside) {
            if self.cost.rate(copy.beside) == self.cost.rate(beside) {
                // Nothing changes, and no rounding may change anything either.
                copy.beside = beside;
                return;
            }
            copy.rebase(now, &self.cost);
            copy.beside = beside;
            copy.schedule(&self.cost);
        }
    }

    /// Takes out the copy if it is over at `now`.
    pub fn complete(&mut self, now: Time) -> Option<Copied> {
        let copy = self.copy.take_if(|copy| copy.end <= now)?;
        self.busy += copy.end.since(copy.start);
        Some(Copied {
            op: copy.op,
            start: copy.start,
            end: copy.end,
            chunks: copy.chunks,
        })
    }

    /// Chunks over at `now`; 0 without a copy.
    pub fn progress(&self, now: Time) -> u32 {
        self.copy.as_ref().map_or(0, |copy| copy.over(now))
    }

    /// Chunks that the lane has been handed before `now`: those over, and as many more as the lane holds. A chunk that ends
    /// exactly now has not made room yet. 0 without a copy.
    pub fn handed(&self, now: Time) -> u32 {
        self.copy.as_ref().map_or(0, |copy| {
            let over = if now > copy.start {
                copy.over(Time(now.0 - 1))
            } else {
                0
            };
            copy.chunks.min(over.saturating_add(self.depth))
        })
    }

    /// Takes back what has not been handed over, and returns how many chunks stay.
    pub fn cut(&mut self, now: Time) -> u32 {
        let handed = self.handed(now);
        if let Some(copy) = self.copy.as_mut().filter(|copy| copy.chunks > handed) {
            copy.chunks = handed;
            copy.last = copy.full;
            copy.schedule(&self.cost);
        }
        handed
    }

    /// Time in which the lane has been busy up to `now`.
    pub fn busy(&self, now: Time) -> Nanos {
        self.busy
            + self
                .copy
                .as_ref()
                .map_or(Nanos::ZERO, |copy| now.since(copy.start))
    }
}

impl Transfer {
    /// Recomputes the times that follow from the head, the rate and the number of chunks.
    fn schedule(&mut self, cost: &LaneCost) {
        let rate = cost.rate(self.beside);
        self.head_end = self.head_from + Nanos(transfer_ns(self.head_left, rate));
        let behind = self.chunks - 1 - self.head;
        if behind == 0 {
            self.end = self.head_end;
            return;
        }
        self.pace = self.full.overhead + transfer_ns(self.full.bytes, rate);
        let last = self.last.overhead + transfer_ns(self.last.bytes, rate);
        self.end = self.head_end + Nanos(self.pace * u64::from(behind - 1) + last);
    }

    /// Makes the chunk in service just before `now` the head, with what is left of it; nothing, if it ends now. So the head
    /// is always among the chunks that a cut leaves.
    fn rebase(&mut self, now: Time, cost: &LaneCost) {
        if now > self.head_end && self.head + 1 < self.chunks {
            let past = (now.0 - 1 - self.head_end.0) / self.pace;
            let past = past.min(u64::from(self.chunks - self.head - 2));
            let begin = self.head_end + Nanos(past * self.pace);
            self.head += 1 + past as u32;
            let chunk = if self.head + 1 == self.chunks {
                self.last
            } else {
                self.full
            };
            self.head_from = begin + Nanos(chunk.overhead);
            self.head_left = chunk.bytes;
        }
        if now > self.head_from {
            let moved = moved_bytes(now.0 - self.head_from.0, cost.rate(self.beside));
            self.head_left -= moved.min(self.head_left);
            self.head_from = now;
        }
    }

    /// Chunks over at `now`.
    fn over(&self, now: Time) -> u32 {
        if now >= self.end {
            return self.chunks;
        }
        if now < self.head_end {
            return self.head;
        }
        let past = (now.0 - self.head_end.0) / self.pace;
        (u64::from(self.head) + 1 + past).min(u64::from(self.chunks - 1)) as u32
    }
}
