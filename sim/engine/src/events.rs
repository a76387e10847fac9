//! What is due, and when: arrivals, signals and timers. Completions are the device's.
//!
//! Ties are settled here and nowhere else: by kind, then by session. Arrivals of one instant are therefore taken in session order, as in
//! the vLLM oracle. A timer that was overtaken is recognised by its epoch and does nothing.

use model::{SessionId, Time};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What is due. The order of the variants settles ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// `IO_WAIT` reaches the scheduler.
    IoWait,
    /// A soft pin expires.
    PinEnds,
    /// What the prefix cache keeps of a session is worth no more than anything else.
    PriceEnds,
    /// A prefetch begins.
    Prefetch,
    /// A ready turn stops waiting for the disk.
    FetchEnds,
    /// The scheduler concludes that the session is over.
    EndTimeout,
    /// A sub-agent enters the system.
    Begin,
    /// `COMPUTE` (or the first request) reaches the scheduler.
    Arrive,
    /// Levels are sampled.
    Sample,
}

impl Due {
    fn is_from_client(self) -> bool {
        matches!(
            self,
            Self::IoWait | Self::EndTimeout | Self::Begin | Self::Arrive
        )
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct EventQueue {
    heap: BinaryHeap<Reverse<(Time, Due, SessionId, u32)>>,
    /// Those that come from clients.
    from_clients: u32,
}

impl EventQueue {
    pub(crate) fn push(&mut self, at: Time, due: Due, session: SessionId, epoch: u32) {
        if at != Time::NEVER {
            self.from_clients += u32::from(due.is_from_client());
            self.heap.push(Reverse((at, due, session, epoch)));
        }
    }

    pub(crate) fn next_time(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// The first event that is due by `now`.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<(Time, Due, SessionId, u32)> {
        if self.next_time()? > now {
            return None;
        }
        let Reverse(event) = self.heap.pop()?;
        self.from_clients -= u32::from(event.1.is_from_client());
        Some(event)
    }

    /// Whether nothing comes from any client any more. Timers do not count: a policy can set them without end.
    pub(crate) fn is_quiet(&self) -> bool {
        self.from_clients == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_instant_come_by_kind_and_then_by_session() {
        let mut queue = EventQueue::default();
        for (due, session) in [(Due::Arrive, 2), (Due::Prefetch, 9), (Due::Arrive, 1)] {
            queue.push(Time(5), due, SessionId(session), 0);
        }
        queue.push(Time(4), Due::Sample, SessionId(0), 0);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop_due(Time(5)))
            .map(|(at, due, s, _)| (at.0, due, s.0))
            .collect();
        assert_eq!(
            order,
            [
                (4, Due::Sample, 0),
                (5, Due::Prefetch, 9),
                (5, Due::Arrive, 1),
                (5, Due::Arrive, 2)
            ]
        );
    }

    #[test]
    fn what_never_happens_is_not_queued() {
        let mut queue = EventQueue::default();
        queue.push(Time::NEVER, Due::PinEnds, SessionId(0), 0);
        assert_eq!(queue.next_time(), None);
    }

    #[test]
    fn a_queue_of_samples_and_timers_is_quiet() {
        let mut queue = EventQueue::default();
        queue.push(Time(1), Due::Sample, SessionId(0), 0);
        queue.push(Time(1), Due::PinEnds, SessionId(0), 0);
        assert!(queue.is_quiet());
        queue.push(Time(2), Due::Arrive, SessionId(0), 0);
        assert!(!queue.is_quiet());
        while queue.pop_due(Time(2)).is_some() {}
        assert!(queue.is_quiet());
    }
}
