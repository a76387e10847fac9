//! The turns that are ready or running, and how their wake-up time is divided.

use crate::record::{PARTS, Part};
use model::{Nanos, Place, SessionId, Time};
use std::collections::BTreeMap;
use std::ops::Range;

/// One turn from its arrival to its last token, as vLLM's scheduler sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// Prompt tokens.
    pub prompt: u32,
    /// Tokens to generate.
    pub output_max: u32,
    /// Tokens generated and known.
    pub output: u32,
    /// Tokens whose KV is scheduled.
    pub computed: u32,
    /// What is missing in the middle of the prompt, until it is scheduled.
    pub hole: Option<Hole>,
    /// Generated tokens whose value is still in flight (scheduling ahead).
    pub placeholders: u32,
    /// Tokens scheduled in steps that are not over.
    pub in_flight: u32,
    /// Of these: scheduled before the last preemption.
    pub stale: u32,
    /// In the batch.
    pub running: bool,
    /// Preempted, and not scheduled since.
    pub resumed: bool,
    /// Times preempted.
    pub preemptions: u32,
    /// Tokens of the context that had KV at some time: computing them is computing again.
    pub existed: u32,
    /// Place in the queue.
    pub place: Place,
    /// Prompt tokens found at first admission.
    pub hit: u32,
    /// What HBM had of the prompt when it was looked up for the first admission. With `hit_host` it is `hit`, or one token more.
    pub hit_hbm: u32,
    /// What vLLM's host tier had beyond that.
    pub hit_host: u32,
    /// Loads by vLLM's host tier.
    pub loads: u32,
    /// Tokens loaded.
    pub loaded: u32,
    /// Tokens found at later admissions.
    pub resumed_tokens: u32,
    /// Tokens computed again.
    pub recomputed: u32,
    /// First step that included it.
    pub scheduled: Option<Time>,
    /// First new token.
    pub first_token: Option<Time>,
    /// Division of the time up to the first token.
    pub wake: WakeClock,
}

/// A turn has KV behind a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    /// First token behind it.
    pub end: u32,
    /// Tokens there that have KV.
    pub kept: u32,
}

impl Hole {
    /// Blocks of the context that are kept.
    pub(crate) fn blocks(self, block_tokens: u32) -> Range<u32> {
        self.end / block_tokens..(self.end + self.kept) / block_tokens
    }
}

impl Request {
    /// Tokens known: prompt and output.
    pub(crate) fn tokens(&self) -> u32 {
        self.prompt + self.output
    }

    /// Tokens that are to be computed before the next one is known.
    pub(crate) fn left(&self) -> u32 {
        let kept = self.hole.map_or(0, |hole| hole.kept);
        self.tokens() + self.placeholders - self.computed - kept
    }

    /// Tokens that can be computed before what is behind the hole is there: the last one of the hole is computed with what follows.
    pub(crate) fn left_beside_copy(&self) -> u32 {
        self.hole.map_or(0, |hole| hole.end - 1 - self.computed)
    }

    /// The hole, if `tokens` more fill it.
    pub(crate) fn fills(&self, tokens: u32) -> Option<Hole> {
        self.hole.filter(|hole| self.computed + tokens >= hole.end)
    }

    /// Tokens that have KV when `tokens` more are computed.
    pub(crate) fn after(&self, tokens: u32) -> u32 {
        self.computed + tokens + self.fills(tokens).map_or(0, |hole| hole.kept)
    }

    /// From `at` on it waits for this, unless its first token is out.
    pub(crate) fn waits(&mut self, part: Part, at: Time) {
        if self.first_token.is_none() {
            self.wake.turn_to(part, at);
        }
    }
}

/// Divides the time from the end of a wait to the first token: at each instant one part.
#[derive(Clone, Debug)]
pub(crate) struct WakeClock {
    mark: Time,
    part: Part,
    spent: [Nanos; PARTS],
}

impl Default for WakeClock {
    fn default() -> Self {
        Self {
            mark: Time::ZERO,
            part: Part::Queue,
            spent: [Nanos::ZERO; PARTS],
        }
    }
}

impl WakeClock {
    /// Starts at `ready`, in `part`.
    pub(crate) fn start(ready: Time, part: Part) -> Self {
        Self {
            mark: ready,
            part,
            ..Self::default()
        }
    }

    /// What was the case until `at` is over; from then on it is `part`. Times before the mark change nothing but the part.
    pub(crate) fn turn_to(&mut self, part: Part, at: Time) {
        self.spent[self.part as usize] += at.since(self.mark);
        self.mark = self.mark.max(at);
        self.part = part;
    }

    /// A step from `start` to `end` computed `tokens` of it, `again` of them for the second time.
    pub(crate) fn step(&mut self, start: Time, end: Time, tokens: u32, again: u32) {
        self.turn_to(self.part, start);
        let span = end.since(self.mark);
        let again = u128::from(span.0) * u128::from(again) / u128::from(tokens.max(1));
        let again = Nanos(again as u64);
        self.spent[Part::Recompute as usize] += again;
        self.spent[Part::Prefill as usize] += span - again;
        self.mark = self.mark.max(end);
    }

    /// Time by part so far.
    pub(crate) fn spent(&self) -> [Nanos; PARTS] {
        self.spent
    }
}

/// The queue and the batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    /// Ready turns that may be admitted, by place.
    pub waiting: BTreeMap<Place, SessionId>,
    /// Running turns, in order of admission.
    pub running: Vec<SessionId>,
    /// Ready turns that wait for their own copy.
    pub parked: u32,
    /// Prompt tokens of all queued turns.
    pub queue_tokens: u64,
    /// Tokens of running turns that have KV, or get it in a step in flight.
    pub running_tokens: u64,
    /// Turns have finished since the last schedule.
    pub just_finished: bool,
    back: i64,
    front: i64,
    foremost: i64,
}

impl Batch {
    /// The number of a place behind all others of its key.
    pub(crate) fn back(&mut self) -> i64 {
        self.back += 1;
        self.back
    }

    /// The number of a place before all others of its key.
    pub(crate) fn front(&mut self) -> i64 {
        self.front -= 1;
        self.front
    }

    /// The number of a place before all others of its key that were ever given out, except those given out here.
    pub(crate) fn foremost(&mut self) -> i64 {
        self.foremost += 1;
        i64::MIN + self.foremost
    }

    /// Turns that are ready and not running.
    pub(crate) fn queued(&self) -> u32 {
        self.waiting.len() as u32 + self.parked
    }

    /// Whether there is anything to schedule or to clean up.
    pub(crate) fn has_requests(&self) -> bool {
        self.queued() > 0 || !self.running.is_empty() || self.just_finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_wake_up_sum_to_the_whole() {
        // Ready at 100; signal delivered at 130; copy until 400; a step 450..700 in which 1 of 3 tokens is computed again; another
        // 700..800, all new. Queue: 400..450.
        let mut clock = WakeClock::start(Time(100), Part::Signal);
        clock.turn_to(Part::Copy, Time(130));
        clock.turn_to(Part::Queue, Time(400));
        clock.step(Time(450), Time(700), 3, 1);
        clock.step(Time(700), Time(800), 5, 0);
        let spent = clock.spent();
        assert_eq!(spent[Part::Signal as usize], Nanos(30));
        assert_eq!(spent[Part::Copy as usize], Nanos(270));
        assert_eq!(spent[Part::Queue as usize], Nanos(50));
        assert_eq!(
            spent[Part::Recompute as usize],
            Nanos(83),
            "250 / 3, rounded down"
        );
        assert_eq!(spent[Part::Prefill as usize], Nanos(167 + 100));
        assert_eq!(spent.iter().copied().sum::<Nanos>(), Nanos(700));
    }

    #[test]
    fn a_change_that_is_reported_late_does_not_run_backwards() {
        let mut clock = WakeClock::start(Time(100), Part::Queue);
        clock.step(Time(100), Time(200), 1, 0);
        clock.turn_to(Part::Stall, Time(150));
        clock.turn_to(Part::Queue, Time(300));
        assert_eq!(clock.spent()[Part::Stall as usize], Nanos(100));
        assert_eq!(clock.spent().iter().copied().sum::<Nanos>(), Nanos(200));
    }
}
