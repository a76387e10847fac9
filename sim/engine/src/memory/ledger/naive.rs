//! Parts that leave and return, position by position: random histories that compare the ledger with sets of positions.

use super::{Ledger, LedgerConfig, Restorable, WriteStart};
use crate::memory::Hits;
use model::{Direction, End, SessionId, Tier};
use proptest::prelude::*;
use std::collections::{BTreeSet, VecDeque};

const HBM: u32 = 60;
const HOST: u32 = 20;
const DISK: u32 = 24;

/// One session: which positions it holds where, and which are on their way, in copy order.
#[derive(Clone, Debug, Default)]
struct Twin {
    hbm: BTreeSet<u32>,
    host: BTreeSet<u32>,
    transfer: Option<(Direction, End, VecDeque<u32>)>,
    disk: BTreeSet<u32>,
    disk_copy: Option<DiskCopy>,
}

/// Positions on their way between host and disk.
#[derive(Clone, Debug)]
struct DiskCopy {
    writes: bool,
    left: VecDeque<u32>,
    arrived: BTreeSet<u32>,
    dropped: bool,
    leaves: bool,
}

impl Twin {
    /// The outermost `count` positions in HBM, outermost first.
    fn outer(&self, end: End, count: u32) -> VecDeque<u32> {
        let count = count as usize;
        match end {
            End::Front => self.hbm.iter().copied().take(count).collect(),
            End::Back => self.hbm.iter().rev().copied().take(count).collect(),
        }
    }

    fn forget(&mut self, positions: &VecDeque<u32>) {
        self.hbm.retain(|position| !positions.contains(position));
    }

    /// Begins to send the outer `count` positions out, with `room` on the host.
    fn swap_out(&mut self, end: End, count: u32, room: u32) {
        let mut leave = self.outer(end, count);
        while leave
            .front()
            .is_some_and(|position| self.host.contains(position))
        {
            self.hbm.remove(&leave.pop_front().expect("just seen"));
        }
        leave.truncate(room as usize);
        if !leave.is_empty() {
            self.transfer = Some((Direction::D2h, end, leave));
        }
    }

    fn begin_restore(&mut self, found: Restorable) {
        let positions = found.lo..found.hi;
        assert!(
            positions
                .clone()
                .all(|position| self.host.contains(&position))
        );
        let order = match found.end {
            End::Back => positions.collect(),
            End::Front => positions.rev().collect(),
        };
        self.transfer = Some((Direction::H2d, found.end, order));
    }

    /// One block arrives.
    fn arrive(&mut self) {
        let (direction, end, left) = self.transfer.as_mut().expect("in flight");
        let position = left.pop_front().expect("the caller counts");
        if *direction == Direction::H2d {
            self.hbm.insert(position);
            return;
        }
        let neighbour = match end {
            End::Back => self.host.first() == Some(&(position + 1)),
            End::Front => self.host.last().is_some_and(|last| last + 1 == position),
        };
        if !neighbour {
            self.host.clear();
        }
        self.host.insert(position);
        self.hbm.remove(&position);
    }
}

/// `new` joins what is there if they are next to one another, and takes its place otherwise.
fn join(there: &mut BTreeSet<u32>, new: BTreeSet<u32>) {
    let (Some(first), Some(last)) = (new.first(), new.last()) else {
        return;
    };
    let follows = there.last().is_some_and(|end| end + 1 == *first);
    let precedes = there.first() == Some(&(last + 1));
    if !follows && !precedes {
        there.clear();
    }
    there.extend(new);
}

impl Twin {
    /// A write begins: so many blocks of the host are clean, so many more are to be written.
    fn begin_write(&mut self, start: WriteStart, leaves: bool) {
        let (lo, hi) = (self.host.first().copied(), self.host.last().copied());
        let (lo, hi) = (lo.expect("not empty"), hi.expect("not empty") + 1);
        let own_prefix = (lo..hi).take_while(|at| self.disk.contains(at)).count();
        assert!(start.clean >= own_prefix as u32, "what it has is clean");
        let covers = own_prefix as u32 == hi - lo;
        let behind = self.disk.first() == Some(&hi) && start.clean == 0;
        if !covers && !behind {
            let reaches = lo > 0 && self.disk.contains(&(lo - 1));
            self.disk.retain(|&at| reaches && at < lo);
            self.disk.extend(lo..lo + start.clean);
        }
        let from = lo + start.clean;
        if start.written > 0 {
            self.disk_copy = Some(DiskCopy {
                writes: true,
                left: (from..from + start.written).collect(),
                arrived: BTreeSet::new(),
                dropped: false,
                leaves,
            });
        }
        if leaves && start.written == 0 {
            self.host.clear();
        } else if leaves {
            self.host.retain(|&at| at < from + start.written);
        }
    }

    fn end_disk_copy(&mut self) {
        let copy = self.disk_copy.take().expect("in flight");
        let complete = copy.left.is_empty();
        if copy.dropped {
            return;
        }
        let there = if copy.writes {
            &mut self.disk
        } else {
            &mut self.host
        };
        join(there, copy.arrived);
        if complete && copy.leaves {
            self.host.clear();
        }
    }

    /// What a read brings: the first so many positions that neither HBM's prefix nor the host behind it has.
    fn fetched(&self, prefix: u32) -> VecDeque<u32> {
        let mut next = prefix;
        while self.host.contains(&next) {
            next += 1;
        }
        let end = self.disk.last().map_or(0, |last| last + 1);
        (next..end)
            .take_while(|at| self.disk.contains(at) && !self.host.contains(at))
            .collect()
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Run {
        blocks: u32,
    },
    Release {
        end: End,
        blocks: u32,
        discard: bool,
    },
    SwapOut {
        end: End,
        blocks: u32,
    },
    Arrive {
        blocks: u32,
    },
    Settle,
    Restore,
    Trim {
        end: End,
        blocks: u32,
    },
    Write {
        leaves: bool,
    },
    Read {
        limit: u32,
    },
    DiskArrive {
        blocks: u32,
    },
    DiskSettle,
    DiskDrop,
    GiveUpDisk,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let end = || prop_oneof![Just(End::Front), Just(End::Back)];
    let step = prop_oneof![
        2 => (1..18u32).prop_map(|blocks| Step::Run { blocks }),
        2 => (end(), 0..6u32, any::<bool>())
            .prop_map(|(end, blocks, discard)| Step::Release { end, blocks, discard }),
        4 => (end(), 0..8u32).prop_map(|(end, blocks)| Step::SwapOut { end, blocks }),
        6 => (1..5u32).prop_map(|blocks| Step::Arrive { blocks }),
        4 => Just(Step::Settle),
        4 => Just(Step::Restore),
        1 => (end(), 0..6u32).prop_map(|(end, blocks)| Step::Trim { end, blocks }),
        4 => any::<bool>().prop_map(|leaves| Step::Write { leaves }),
        4 => (1..20u32).prop_map(|limit| Step::Read { limit }),
        6 => (1..5u32).prop_map(|blocks| Step::DiskArrive { blocks }),
        4 => Just(Step::DiskSettle),
        1 => Just(Step::DiskDrop),
        1 => Just(Step::GiveUpDisk),
    ];
    prop::collection::vec((0..3usize, step), 1..80)
}

/// Computes `blocks` blocks and holds them; what the host has of them is given up.
fn run_turn(ledger: &mut Ledger, session: SessionId, blocks: u32) -> bool {
    let mut hits = Hits::default();
    ledger.lookup(session, blocks, &mut hits);
    let behind = ledger.behind(session, &hits, blocks);
    let missing = blocks - hits.blocks - (behind.end - behind.start);
    if missing + hits.unheld > ledger.pool(Tier::Hbm).free() {
        return false;
    }
    let first = if behind.is_empty() {
        missing
    } else {
        behind.start - hits.blocks
    };
    ledger.drop_host(session);
    ledger.admit(session, &hits, first, &behind);
    if !behind.is_empty() {
        ledger.register(session, behind.start, None);
        ledger.join(session);
        ledger.grow(session, missing - first);
    }
    ledger.register(session, blocks, None);
    ledger.pin_run(session);
    true
}

fn settle(ledger: &mut Ledger, session: SessionId, twin: &mut Twin) {
    let Some((direction, _, left)) = twin.transfer.take() else {
        return;
    };
    if direction == Direction::D2h {
        ledger.end_swap_out(session);
    } else {
        ledger.end_restore(session);
        if left.is_empty() {
            twin.host.clear();
        }
    }
}

/// What the host has changes: what is being written of it is not wanted any more, and what is being read has arrived before.
fn settle_disk(ledger: &mut Ledger, session: SessionId, twin: &mut Twin) {
    match &mut twin.disk_copy {
        Some(copy) if copy.writes => {
            if !copy.dropped {
                ledger.drop_disk_transfer(session);
            }
            copy.dropped = true;
        }
        Some(_) => {
            ledger.end_disk_transfer(session);
            twin.end_disk_copy();
        }
        None => {}
    }
}

/// Whether a prefix of HBM, cached or held, reaches the end of what is held.
fn is_complete(ledger: &Ledger, session: SessionId) -> bool {
    let mut hits = Hits::default();
    let end = ledger.kv(session).pin_end();
    ledger.lookup(session, end, &mut hits);
    hits.blocks == end
}

fn play(mid_sequence: bool, inclusive: bool, history: &[(usize, Step)]) {
    let mut ledger = Ledger::new(LedgerConfig {
        block_tokens: 16,
        hbm_blocks: HBM,
        host_blocks: HOST,
        disk_blocks: DISK,
        inclusive,
        caching: true,
        leak_on_swap_out: false,
        first_place: Some(0),
    });
    if mid_sequence {
        ledger.compute_mid_sequence();
    }
    let mut twins = vec![Twin::default(); 3];
    for id in 0..3 {
        ledger.open(SessionId(id), &[]);
    }
    for &(id, step) in history {
        let (session, twin) = (SessionId(id as u32), &mut twins[id]);
        let moves = twin.transfer.is_some();
        match step {
            Step::Arrive { blocks } => {
                let Some((direction, _, left)) = &twin.transfer else {
                    continue;
                };
                let direction = *direction;
                let transfer = ledger.kv(session).transfer.as_ref().expect("in flight");
                let done = transfer.done;
                let copies = ledger.block_copies(session, done);
                let order: Vec<_> = copies.iter().map(|copy| copy.content.index).collect();
                assert_eq!(Vec::from(left.clone()), order, "copied in this order");
                let blocks = blocks.min(left.len() as u32);
                (0..blocks).for_each(|_| twin.arrive());
                if direction == Direction::D2h {
                    settle_disk(&mut ledger, session, twin);
                    ledger.swap_out_progress(session, done + blocks);
                } else {
                    ledger.restore_progress(session, done + blocks);
                }
            }
            Step::Settle => settle(&mut ledger, session, twin),
            Step::DiskArrive { blocks } => {
                let Some(copy) = &mut twin.disk_copy else {
                    continue;
                };
                let done = copy.arrived.len() as u32;
                let copies = ledger.disk_copies(session, done);
                let order: Vec<_> = copies.iter().map(|copy| copy.content.index).collect();
                assert_eq!(Vec::from(copy.left.clone()), order, "copied in this order");
                let blocks = blocks.min(copy.left.len() as u32);
                copy.arrived.extend(copy.left.drain(..blocks as usize));
                ledger.disk_progress(session, done + blocks);
            }
            Step::DiskSettle => {
                let Some(copy) = &twin.disk_copy else {
                    continue;
                };
                // A write that is cut short has been dropped.
                if copy.writes && !copy.dropped && !copy.left.is_empty() {
                    continue;
                }
                ledger.end_disk_transfer(session);
                twin.end_disk_copy();
            }
            Step::DiskDrop => {
                let Some(copy) = twin.disk_copy.as_mut().filter(|copy| !copy.dropped) else {
                    continue;
                };
                copy.dropped = true;
                ledger.drop_disk_transfer(session);
            }
            Step::GiveUpDisk => {
                ledger.drop_disk(session);
                twin.disk.clear();
            }
            _ if moves => continue,
            Step::Write { leaves } => {
                if twin.host.is_empty() || twin.disk_copy.is_some() {
                    continue;
                }
                let start = ledger.begin_write(session, leaves);
                twin.begin_write(start, leaves);
            }
            Step::Read { limit } => {
                if twin.disk_copy.is_some() {
                    continue;
                }
                let mut hits = Hits::default();
                ledger.lookup(session, 40, &mut hits);
                let mut fetched = twin.fetched(hits.blocks);
                let found = ledger.fetchable(session).unwrap_or_default();
                assert_eq!(Vec::from(fetched.clone()), found.collect::<Vec<_>>());
                fetched.truncate(limit as usize);
                if !fetched.is_empty() && ledger.begin_read(session, limit).is_ok() {
                    twin.disk_copy = Some(DiskCopy {
                        writes: false,
                        left: fetched,
                        arrived: BTreeSet::new(),
                        dropped: false,
                        leaves: false,
                    });
                }
            }
            Step::Run { blocks } => {
                settle_disk(&mut ledger, session, twin);
                let blocks = blocks.max(ledger.kv(session).pin_end());
                if run_turn(&mut ledger, session, blocks) {
                    twin.hbm = (0..blocks).collect();
                    twin.host.clear();
                    ledger.drop_disk(session);
                    twin.disk.clear();
                }
            }
            Step::Release {
                end,
                blocks,
                discard,
            } => {
                twin.forget(&twin.outer(end, blocks));
                if discard {
                    ledger.discard_part(session, end, blocks);
                } else {
                    ledger.release_part(session, end, blocks);
                }
            }
            Step::SwapOut { end, blocks } => {
                settle_disk(&mut ledger, session, twin);
                twin.swap_out(end, blocks, ledger.pool(Tier::Host).free());
                ledger.swap_out_part(session, end, blocks);
            }
            Step::Restore => {
                settle_disk(&mut ledger, session, twin);
                let Some(found) = ledger.restorable(session) else {
                    continue;
                };
                // What precedes it and is held by nobody is held from now on.
                if ledger.begin_restore(session).is_ok() {
                    let base = ledger.kv(session).pin_base;
                    if found.end == End::Back {
                        twin.hbm = (base..found.lo).collect();
                    }
                    twin.begin_restore(found);
                    if !mid_sequence {
                        let mut later = ledger.clone();
                        later.restore_progress(session, found.blocks());
                        assert!(is_complete(&later, session), "{found:?} leaves a hole");
                    }
                }
            }
            Step::Trim { end, blocks } => {
                settle_disk(&mut ledger, session, twin);
                let count = (blocks as usize).min(twin.host.len());
                for _ in 0..count {
                    match end {
                        End::Front => twin.host.pop_first(),
                        End::Back => twin.host.pop_last(),
                    };
                }
                ledger.trim_host(session, end, blocks);
            }
        }
        ledger
            .check()
            .unwrap_or_else(|what| panic!("{what} after {step:?}"));
        for (id, twin) in twins.iter().enumerate() {
            let kv = ledger.kv(SessionId(id as u32));
            let pin: BTreeSet<u32> = (kv.pin_base..kv.pin_base + kv.pin.registered()).collect();
            assert_eq!(pin, twin.hbm, "HBM after {step:?}");
            let host: BTreeSet<u32> = (kv.host_base..kv.host_end()).collect();
            assert_eq!(host, twin.host, "host after {step:?}");
            let (from, blocks) = kv.disk_part();
            let disk: BTreeSet<u32> = (from..from + blocks).collect();
            assert_eq!(disk, twin.disk, "disk after {step:?}");
        }
        let held: u32 = (0..3).map(|id| ledger.kv(SessionId(id)).held()).sum();
        let hbm = ledger.pool(Tier::Hbm);
        assert_eq!(hbm.capacity() - hbm.free(), held, "after {step:?}");
    }
    for (id, twin) in twins.iter_mut().enumerate() {
        settle(&mut ledger, SessionId(id as u32), twin);
        settle_disk(&mut ledger, SessionId(id as u32), twin);
        ledger.close(SessionId(id as u32), false);
    }
    // A copy that was taken back may outlive its session.
    for (id, twin) in twins.iter_mut().enumerate() {
        if twin.disk_copy.is_some() {
            ledger.end_disk_transfer(SessionId(id as u32));
        }
    }
    for tier in [Tier::Hbm, Tier::Host, Tier::Disk] {
        let pool = ledger.pool(tier);
        assert_eq!(pool.free(), pool.capacity());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_leave_and_return_as_positions_do(mid_sequence: bool, inclusive: bool, history in steps()) {
        play(mid_sequence, inclusive, &history);
    }
}
