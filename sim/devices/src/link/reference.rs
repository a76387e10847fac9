//! The same link, slow and obvious: every chunk is an object, every change an event.
//!
//! A chunk first spends its overhead, then moves its bytes. Time moves from event to event (the end of an overhead, of a
//! chunk's bytes, or the instant asked for); at each instant with something to do, lanes look at each other once.

use super::cost::{Beside, LaneCost, LinkCost, moved_bytes, transfer_ns};
use engine::device::CopyRun;
use model::{Direction, Nanos, OpId, Time};
use std::collections::VecDeque;

#[derive(Default)]
struct Server {
    op: Option<OpId>,
    start: u64,
    /// Overhead and bytes of the chunks not over, the one in service first.
    chunks: VecDeque<(u64, u64)>,
    /// Since when the chunk in service has had this rate or been in this phase.
    since: u64,
    beside: Beside,
    /// Ends of the chunks that are over.
    ends: Vec<u64>,
    busy: u64,
}

pub(super) struct Reference {
    cost: LinkCost,
    now: u64,
    /// Whether steps run.
    pub steps: bool,
    servers: [Server; 2],
}

impl Server {
    /// End of the overhead of the chunk in service, or of its bytes.
    fn next(&self, cost: &LaneCost) -> Option<u64> {
        let (overhead, bytes) = *self.chunks.front()?;
        Some(if overhead > 0 {
            self.since + overhead
        } else {
            self.since + transfer_ns(bytes, cost.rate(self.beside))
        })
    }

    fn change_rate(&mut self, now: u64, cost: &LaneCost, beside: Beside) {
        // A rate that stays rounds nothing.
        if cost.rate(self.beside) != cost.rate(beside)
            && let Some((overhead, bytes)) = self.chunks.front_mut()
        {
            let past = now - self.since;
            if *overhead > 0 {
                *overhead -= past;
            } else {
                *bytes -= moved_bytes(past, cost.rate(self.beside));
            }
            self.since = now;
        }
        self.beside = beside;
    }

    fn finish_phase(&mut self, now: u64) {
        let (overhead, _) = self
            .chunks
            .front_mut()
            .expect("a phase that ends belongs to a chunk");
        if *overhead > 0 {
            *overhead = 0;
        } else {
            self.chunks.pop_front();
            self.ends.push(now);
        }
        self.since = now;
    }
}

impl Reference {
    pub fn new(cost: &LinkCost) -> Self {
        Self {
            cost: cost.clone(),
            now: 0,
            steps: false,
            servers: [Server::default(), Server::default()],
        }
    }

    pub fn submit(&mut self, run: &CopyRun) {
        let lane = *self.cost.lane(run.direction);
        let server = &mut self.servers[run.direction.index()];
        server.op = Some(run.id);
        server.start = self.now;
        server.since = self.now;
        server.beside = Beside::NOTHING;
        server.ends.clear();
        for chunk in 0..run.chunks() {
            let blocks = run.blocks_in(chunk + 1) - run.blocks_in(chunk);
            server.chunks.push_back((
                lane.overhead_ns(blocks),
                u64::from(blocks) * run.block_bytes.0,
            ));
        }
    }

    fn settle(&mut self) {
        let busy = self.servers.each_ref().map(|server| server.op.is_some());
        for direction in Direction::LINK {
            let lane = *self.cost.lane(direction);
            self.servers[direction.index()].change_rate(
                self.now,
                &lane,
                Beside {
                    other: busy[direction.opposite().index()],
                    steps: self.steps,
                },
            );
        }
    }

    /// Takes out the copies that have no chunk left, D2H first, with start, end and chunks.
    fn take_done(&mut self) -> Vec<(OpId, Time, Time, u32)> {
        let now = self.now;
        let over = self
            .servers
            .iter_mut()
            .filter(|server| server.chunks.is_empty());
        over.filter_map(|server| {
            let op = server.op.take()?;
            server.busy += now - server.start;
            Some((op, Time(server.start), Time(now), server.ends.len() as u32))
        })
        .collect()
    }

    /// Runs until a copy ends or `until`; returns the copies that ended. One that was cut to what is over ends at once.
    pub fn run(&mut self, until: u64) -> Vec<(OpId, Time, Time, u32)> {
        self.settle();
        let mut done = self.take_done();
        while done.is_empty() {
            let next = Direction::LINK
                .into_iter()
                .filter_map(|direction| {
                    self.servers[direction.index()].next(self.cost.lane(direction))
                })
                .min();
            let Some(next) = next.filter(|next| *next <= until) else {
                self.now = until;
                break;
            };
            self.now = next;
            for direction in Direction::LINK {
                let lane = *self.cost.lane(direction);
                let server = &mut self.servers[direction.index()];
                while server.next(&lane) == Some(self.now) {
                    server.finish_phase(self.now);
                }
            }
            done = self.take_done();
        }
        done
    }

    pub fn progress(&self, direction: Direction) -> u32 {
        let server = &self.servers[direction.index()];
        if server.op.is_some() {
            server.ends.len() as u32
        } else {
            0
        }
    }

    pub fn cut(&mut self, direction: Direction) -> u32 {
        let (now, depth) = (self.now, self.cost.lane_depth() as usize);
        let server = &mut self.servers[direction.index()];
        if server.op.is_none() {
            return 0;
        }
        let made_room = server.ends.iter().filter(|end| **end < now).count();
        let chunks = server.ends.len() + server.chunks.len();
        let handed = chunks.min(made_room + depth);
        server.chunks.truncate(handed - server.ends.len());
        handed as u32
    }

    pub fn busy(&self, direction: Direction) -> Nanos {
        let server = &self.servers[direction.index()];
        Nanos(
            server.busy
                + if server.op.is_some() {
                    self.now - server.start
                } else {
                    0
                },
        )
    }
}

mod tests {
    use super::super::{Lane, Link};
    use super::*;
    use engine::device::CopyClass;
    use model::{Bytes, SessionId};
    use proptest::prelude::*;
    use std::num::{NonZeroU32, NonZeroU64};

    #[derive(Clone, Debug)]
    enum Move {
        Submit {
            direction: Direction,
            blocks: u32,
            chunk_blocks: u32,
            block_bytes: u64,
        },
        Cut(Direction),
        Steps(bool),
        Wait(u64),
    }

    fn direction() -> impl Strategy<Value = Direction> {
        prop_oneof![Just(Direction::D2h), Just(Direction::H2d)]
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let submit = (direction(), 1_u32..60, 1_u32..9, 1_u64..5_000).prop_map(
            |(direction, blocks, chunk, bytes)| Move::Submit {
                direction,
                blocks,
                chunk_blocks: chunk,
                block_bytes: bytes,
            },
        );
        let one = prop_oneof![4 => submit, 1 => direction().prop_map(Move::Cut), 1 => any::<bool>().prop_map(Move::Steps), 4 => (0_u64..20_000).prop_map(Move::Wait)];
        prop::collection::vec(one, 1..60)
    }

    fn lane_cost() -> impl Strategy<Value = LaneCost> {
        // 0.1 to 10 B/ns, so that rounding matters.
        (
            0_u64..30,
            0_u64..5,
            1_u64..100,
            1_u64..=100,
            0_u32..2_000_000,
        )
            .prop_map(|(copy_ns, block_ns, rate, share, beside_steps_ppm)| {
                let alone = rate * 100_000_000 + 7;
                LaneCost {
                    copy_ns,
                    block_ns,
                    bytes_per_s: NonZeroU64::new(alone).unwrap(),
                    bytes_per_s_shared: NonZeroU64::new(alone * share / 100 + 1).unwrap(),
                    slowdown_ppm: 0,
                    beside_steps_ppm,
                }
            })
    }

    proptest! {
        #[test]
        fn the_closed_form_equals_the_slow_model(d2h in lane_cost(), h2d in lane_cost(), depth in 1_u32..4, moves in moves()) {
            let cost = LinkCost::new(d2h, h2d).with_lane_depth(NonZeroU32::new(depth).unwrap());
            let (mut fast, mut slow) = (Link::new(&cost), Reference::new(&cost));
            let mut now = Time::ZERO;
            for (id, step) in moves.into_iter().chain([Move::Wait(u64::from(u32::MAX))]).enumerate() {
                match step {
                    Move::Submit { direction, blocks, chunk_blocks, block_bytes } => {
                        if fast.lane(direction).is_busy() {
                            continue;
                        }
                        let run = CopyRun {
                            id: OpId(id as u64),
                            session: SessionId(0),
                            direction,
                            class: CopyClass::Prefetch,
                            block_count: blocks,
                            chunk_blocks,
                            block_bytes: Bytes(block_bytes),
                            blocks: Vec::new(),
                        };
                        fast.submit(now, &run);
                        slow.submit(&run);
                    }
                    Move::Cut(direction) => {
                        let cut = fast.lane_mut(direction).cut(now);
                        prop_assert_eq!(cut, slow.cut(direction));
                    }
                    Move::Steps(run) => slow.steps = run,
                    Move::Wait(span) => {
                        let until = now + Nanos(span);
                        loop {
                            fast.settle(now, slow.steps);
                            now = fast.next_end().map_or(until, |end| end.min(until));
                            let done: Vec<_> =
                                fast.complete(now).map(|copied| (copied.op, copied.start, copied.end, copied.chunks)).collect();
                            prop_assert_eq!(&done, &slow.run(until.0));
                            prop_assert_eq!(now.0, slow.now);
                            for direction in Direction::LINK {
                                prop_assert_eq!(fast.lane(direction).progress(now), slow.progress(direction));
                                prop_assert_eq!(fast.lane_busy(now, direction), slow.busy(direction));
                            }
                            if done.is_empty() {
                                break;
                            }
                        }
                    }
                }
            }
            prop_assert!(Direction::LINK.into_iter().all(|direction| !Lane::is_busy(fast.lane(direction))));
        }
    }
}
