//! CachedAttention: every context is saved when its turn ends, to the host and from there to a disk, and the queue says which saved ones are
//! needed soon.
//!
//! ```text
//!   HBM ── saved at the end of a turn ──► host ── longest stored, not in the queue ──► disk ── likewise ──► given up
//!    ▲                                     ▲                                            │
//!    └──── in the order of the queue ──────┴──── the first C_mem / S_kv of the queue ───┘
//! ```
//!
//! Source: CachedAttention (AttentionStore), USENIX ATC 2024.

use crate::parts::Stored;
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{
    Action, Blocks, Direction, DiskMove, Event, Fetch, HostRelease, Outcome, Phase, Plan,
    Residence, Retention, SessionId, SwapOut, Time, View,
};
use std::collections::BTreeSet;

pub(crate) const ENTRY: Entry = Entry {
    name: "cached-attention",
    summary: "save every context to host and disk; give up who is not in the queue, oldest first",
    family: Family::Hierarchy,
    about: "When a turn ends, its KV is saved to the host, and its HBM goes to whoever runs next. A turn that becomes ready joins the queue, and its copy back is made while it waits there, in the order of the \
            queue. Where there is a disk (`memory.disk_gib`), a part of the host is kept free: the contexts stored there longest whose sessions are not in the queue go to the disk, and what the disk has is read back to the host for \
            the first turns of the queue, as many as the host holds contexts of mean size: the prefetch window. The eviction window is as many turns as host and disk together hold: when the disk is full, contexts outside of it are \
            given up, first those that are not in the queue, stored longest ago first, then the farthest in the queue. Without a disk, contexts whose sessions are not in the queue are given up on the host, those stored longest ago \
            first; those in the queue are never.",
    formula: "prefetch window = max(1, C_mem / S_kv) turns of the queue; eviction window = max(1, (C_mem + C_disk) / S_kv)\n\
              S_kv = mean size of the contexts saved so far; demote while free host < host_buffer x C_mem",
    source: "CachedAttention, USENIX ATC 2024, arXiv 2403.19708, known here through its abstract and from memory.",
    caveats: "Reconstructed. The size of the host's buffer is chosen; the paper has such a buffer. A context in the queue never leaves the host, even outside of the eviction window: the engine leaves KV of ready turns where it is. A context that \
              finds no room on the host stays in HBM until demotions have made some. Without a disk (the default) what is given up on the host is computed again, and the windows mean nothing. Layer-wise loading overlapped with prefill is \
              not modelled: a turn waits for its whole copy, and that for the whole read. Positions need no decoupling, for contexts are not truncated.",
    grows: "",
    provenance: Provenance::Reconstructed,
    needs: Needs::Nothing,
    listens: true,
    params: &[Param {
        key: "host_buffer",
        default: 0.1,
        min: 0.0,
        max: 1.0,
        help: "share of the host that is kept free by demotions, where there is a disk; chosen",
    }],
    build: |params, _| {
        Box::new(CachedAttention {
            host_buffer: params.get("host_buffer"),
            ..CachedAttention::default()
        })
    },
};

#[derive(Default)]
struct CachedAttention {
    host_buffer: f64,
    /// On the host.
    stored: Stored,
    /// On the disk.
    disk: Stored,
    /// Turns that are ready and do not run, in the order of their arrival.
    queue: BTreeSet<(Time, SessionId)>,
    /// Contexts that have found no room on the host, by the time at which they were to be saved.
    unsaved: BTreeSet<(Time, SessionId)>,
    /// Contexts saved so far, and their blocks.
    saves: u64,
    saved_blocks: u64,
}

/// How many contexts of mean size, of which `saves` had `saved_blocks` blocks, `capacity` blocks hold; at least 1.
fn window(capacity: Blocks, saves: u64, saved_blocks: u64) -> usize {
    let contexts = u64::from(capacity.0) * saves / saved_blocks.max(1);
    usize::try_from(contexts).unwrap_or(usize::MAX).max(1)
}

impl CachedAttention {
    fn prefetch_window(&self, view: &View<'_>) -> usize {
        window(view.host.capacity, self.saves, self.saved_blocks)
    }

    fn eviction_window(&self, view: &View<'_>) -> usize {
        let disk = view.disk.map_or(Blocks::ZERO, |disk| disk.pool.capacity);
        let capacity = view.host.capacity + disk;
        window(capacity, self.saves, self.saved_blocks)
    }

    fn place(view: &View<'_>, session: SessionId) -> (Time, SessionId) {
        (view.session(session).ready_since, session)
    }
}

impl Policy for CachedAttention {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        self.stored.observe(view, event, |_| 0);
        if view.disk.is_none() {
            return;
        }
        self.disk.observe_disk(view, event);
        match *event {
            Event::TurnDone { session, .. } => {
                self.saves += 1;
                let context = view.session(session).context;
                self.saved_blocks += u64::from(context.blocks_floor(view.block_tokens).0);
            }
            Event::Acted(session, Action::SwapOut, Outcome::Clipped(_)) => {
                let since = view.session(session).idle_since;
                self.unsaved.insert((since, session));
            }
            Event::Acted(session, Action::SwapOut, Outcome::Done(_)) | Event::Ended(session) => {
                let since = view.session(session).idle_since;
                self.unsaved.remove(&(since, session));
            }
            Event::Compute(session, _) => {
                let since = view.session(session).idle_since;
                self.unsaved.remove(&(since, session));
                self.queue.insert(Self::place(view, session));
            }
            Event::Admitted { session, .. } => {
                self.queue.remove(&Self::place(view, session));
            }
            _ => {}
        }
    }

    fn on_idle(&self, view: &View<'_>, _: SessionId) -> Retention {
        Retention::SwapOut(if view.disk.is_some() {
            SwapOut::IfRoom
        } else {
            SwapOut::OrDiscard
        })
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }

    fn plan(&self, view: &View<'_>) -> Plan {
        let Some(disk) = view.disk else {
            return Plan::default();
        };
        // Turns of the window go first: room that they wait for is not filled with what is saved.
        let reads = |&&(_, session): &&(Time, SessionId)| {
            view.session(session).disk_copy == Some(Direction::DiskRead)
        };
        let window = self.queue.iter().take(self.prefetch_window(view));
        let awaited = window
            .filter(reads)
            .map(|&(_, s)| view.session(s).disk_blocks.0);
        let mut room = Blocks(view.host.free.0.saturating_sub(awaited.sum()));
        let waits = |session: &SessionId| {
            let seen = view.session(*session);
            seen.phase == Phase::Idle && seen.residence == Residence::Hbm
        };
        let unsaved = self.unsaved.iter().map(|&(_, session)| session);
        let saved = unsaved.filter(waits).map_while(|session| {
            let fits = room > Blocks::ZERO;
            room = Blocks(room.0.saturating_sub(view.session(session).hbm_blocks.0));
            fits.then_some((session, Retention::SwapOut(SwapOut::IfRoom)))
        });
        let retain = saved.collect();
        let leaving = disk.write.queued.0 / view.block_bytes.0.max(1);
        let buffer = (self.host_buffer * f64::from(view.host.capacity.0)) as u64;
        let lacks = buffer.saturating_sub(u64::from(room.0) + leaving);
        let lacks = Blocks(u32::try_from(lacks).unwrap_or(u32::MAX));
        let demoted = self.stored.demote(view, lacks).into_iter();
        Plan {
            retain,
            disk: demoted.map(|s| (s, DiskMove::Demote)).collect(),
            ..Plan::default()
        }
    }

    fn host_victims(&self, view: &View<'_>, need: Blocks, _: SessionId) -> Vec<HostRelease> {
        if view.disk.is_some() {
            let demoted = self.stored.demote(view, need);
            demoted.into_iter().map(HostRelease::Demote).collect()
        } else {
            self.stored.give_up(view, need)
        }
    }

    fn disk_victims(&self, view: &View<'_>, need: Blocks, _: SessionId) -> Vec<SessionId> {
        let mut victims = self.disk.give_up_disk(view, need);
        let size = |&session: &SessionId| view.session(session).disk_blocks.0;
        let mut found: u32 = victims.iter().map(size).sum();
        // Then those in the queue that are outside of the window, the farthest first.
        let inside = self.eviction_window(view);
        let beyond = self.queue.len().saturating_sub(inside);
        let farthest = self.queue.iter().rev().take(beyond).map(|&(_, s)| s);
        for session in farthest {
            if found >= need.0 {
                break;
            }
            found += size(&session);
            if size(&session) > 0 {
                victims.push(session);
            }
        }
        victims
    }

    fn fetch(&self, view: &View<'_>, session: SessionId) -> Fetch {
        let place = Self::place(view, session);
        let window = self.prefetch_window(view);
        // Looks no further than the window: the queue may be long.
        let inside = self.queue.iter().take(window).any(|&other| other == place);
        if inside {
            Fetch::Read { until: Time::NEVER }
        } else {
            Fetch::Later
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_windows_are_what_memory_holds_of_contexts_of_mean_size() {
        // Five contexts of 600 blocks in all: 120 each. A host of 800 blocks holds 6.67 of them, with a disk of 3,200 it is 33.3.
        assert_eq!(window(Blocks(800), 5, 600), 6);
        assert_eq!(window(Blocks(800 + 3_200), 5, 600), 33);
        // One turn may always read, and before anything has been saved nothing can be on the disk.
        assert_eq!(window(Blocks(100), 5, 600), 1);
        assert_eq!(window(Blocks(100), 0, 0), 1);
    }
}
