//! Sessions as a policy reads them: by id, and in the orders that the engine keeps.
//!
//! What is read is counted, so that a test can say what a decision costs without a clock: a policy whose published rule does not look at
//! every waiting session must not read more of them when there are more.

use crate::{SessionId, SessionView, Time};
use std::cell::Cell;
use std::collections::BTreeSet;

/// Every session seen so far, by id.
pub struct Sessions<'a> {
    all: &'a [SessionView],
    reads: Cell<u64>,
}

impl<'a> Sessions<'a> {
    /// Those of `all`, indexed by [`SessionId`].
    pub fn new(all: &'a [SessionView]) -> Self {
        Self {
            all,
            reads: Cell::new(0),
        }
    }

    /// What is known of `id`; `None` if nobody has arrived who is called so.
    pub fn get(&self, id: SessionId) -> Option<&'a SessionView> {
        count(&self.reads);
        self.all.get(id.index())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Nobody has arrived.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Sessions read so far, a session that is read twice counting twice.
    pub fn reads(&self) -> u64 {
        self.reads.get()
    }
}

/// Sessions in the order of a time, of equals the lower id first.
pub struct Ranking<'a> {
    order: &'a BTreeSet<(Time, SessionId)>,
    reads: Cell<u64>,
}

impl<'a> Ranking<'a> {
    /// In the order of `order`.
    pub fn new(order: &'a BTreeSet<(Time, SessionId)>) -> Self {
        Self {
            order,
            reads: Cell::new(0),
        }
    }

    /// From the earliest time to the latest, or from the other end.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Time, SessionId)> {
        let reads = &self.reads;
        self.order.iter().inspect(move |_| count(reads)).copied()
    }

    /// The earliest.
    pub fn first(&self) -> Option<(Time, SessionId)> {
        self.iter().next()
    }

    /// The latest.
    pub fn last(&self) -> Option<(Time, SessionId)> {
        self.iter().next_back()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Places read so far.
    pub fn reads(&self) -> u64 {
        self.reads.get()
    }
}

fn count(reads: &Cell<u64>) {
    reads.set(reads.get() + 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_read_is_counted() {
        let all = vec![SessionView::default(); 3];
        let sessions = Sessions::new(&all);
        let order = BTreeSet::from([0, 1, 2].map(|i| (Time(9 - u64::from(i)), SessionId(i))));
        let ranking = Ranking::new(&order);
        assert_eq!((sessions.len(), ranking.len()), (3, 3));
        assert_eq!((sessions.reads(), ranking.reads()), (0, 0));
        // Two by id, one of them twice; the latest of the order, and two more from the front.
        for id in [0, 2, 2] {
            assert!(sessions.get(SessionId(id)).is_some());
        }
        assert_eq!(ranking.last(), Some((Time(9), SessionId(0))));
        let firsts: Vec<_> = ranking.iter().take(2).map(|(_, s)| s.0).collect();
        assert_eq!(firsts, [2, 1]);
        assert_eq!((sessions.reads(), ranking.reads()), (3, 3));
    }
}
