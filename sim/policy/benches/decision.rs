//! What a decision costs, per policy, among 10² to 10⁵ live sessions that wait with their KV in HBM.
//!
//! `cargo bench -p policy`. Three groups: the questions about one session (`session`), the choice of victims (`victims`), and a look at
//! everything (`plan`, with the tick that precedes it). A time that grows from row to row grows with the sessions: the policy's caveats say so.

use model::{
    Blocks, Bytes, CopyEstimate, Event, Hint, HintSource, Nanos, Need, Oracle, Phase, PoolLevel,
    PrefillEstimate, Report, Residence, SessionId, SessionView, Time, Tokens, ToolClass, TurnIndex,
    View,
};
use policy::{Policy, REGISTRY};
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::Arc;

fn main() {
    divan::main();
}

const LIVE: [u32; 4] = [100, 1_000, 10_000, 100_000];

fn names() -> impl Iterator<Item = &'static str> {
    REGISTRY.iter().map(|entry| entry.name)
}

/// Every session returns a second after its number in milliseconds.
struct Fixed;

impl Oracle for Fixed {
    fn returns_at(&self, session: SessionId) -> Option<Time> {
        Some(Time(u64::from(session.0) * 1_000_000 + 1_000_000_000))
    }

    fn output(&self, _: SessionId, _: TurnIndex) -> Option<Tokens> {
        Some(Tokens(100))
    }
}

/// `live` sessions: one runs, one is queued, the rest wait, with 64 blocks each in HBM, for one of eight tools.
struct World {
    sessions: Vec<SessionView>,
    by_age: BTreeSet<(Time, SessionId)>,
    by_return: BTreeSet<(Time, SessionId)>,
    by_pin_end: BTreeSet<(Time, SessionId)>,
    queue: BTreeMap<model::Place, SessionId>,
    held: BTreeSet<(Time, SessionId)>,
    paused: BTreeSet<SessionId>,
}

/// The session that is asked about.
const ASKED: SessionId = SessionId(7);
const RUNS: SessionId = SessionId(0);
const QUEUED: SessionId = SessionId(1);

impl World {
    fn new(live: u32) -> Self {
        let mut world = Self {
            sessions: Vec::new(),
            by_age: BTreeSet::new(),
            by_return: BTreeSet::new(),
            by_pin_end: BTreeSet::new(),
            queue: BTreeMap::from([(model::Place::default(), QUEUED)]),
            held: BTreeSet::new(),
            paused: BTreeSet::new(),
        };
        for id in (0..live).map(SessionId) {
            let since = Time(u64::from(id.0.wrapping_mul(2_654_435_761) % 1_000_000) * 1_000);
            let back = since + Nanos::from_millis(500);
            let phase = match id {
                RUNS => Phase::Running,
                QUEUED => Phase::Queued,
                _ => Phase::Idle,
            };
            world.sessions.push(SessionView {
                phase,
                turn: TurnIndex(3),
                residence: Residence::Hbm,
                idle_since: since,
                context: Tokens(1_024),
                prompt: Tokens(1_000),
                hbm_blocks: Blocks(64),
                signalled: true,
                tool: ToolClass((id.0 % 8) as u16),
                hint: Some(Hint {
                    returns_at: back,
                    early: back,
                    late: back,
                    source: HintSource::Client,
                }),
                ..SessionView::default()
            });
            if phase == Phase::Idle {
                world.by_age.insert((since, id));
                world.by_return.insert((back, id));
                world.by_pin_end.insert((Time::NEVER, id));
            }
        }
        world
    }

    fn view(&self) -> View<'_> {
        let live = self.sessions.len() as u32;
        let level = |capacity, free| PoolLevel {
            capacity: Blocks(capacity),
            free: Blocks(free),
            cached: Blocks(0),
        };
        View {
            now: Time(2_000_000_000),
            hbm: level(live * 64 + 10, 10),
            host: level(live * 64, live * 64),
            block_bytes: Bytes(2 << 20),
            block_tokens: 16,
            link: [CopyEstimate {
                queued: Bytes(3_000_000),
                bytes_per_s: 50_000_000_000,
                fixed: Nanos(10_000),
            }; 2],
            prefill: PrefillEstimate {
                token_ps: 30_000_000,
                pair_ps: 1_000,
            },
            queued: 1,
            running: 1,
            running_max: 256,
            sessions: &self.sessions,
            batch: &[RUNS],
            batch_tokens: 1_024,
            queue: &self.queue,
            queue_tokens: 1_000,
            held: &self.held,
            paused: &self.paused,
            idle_by_age: &self.by_age,
            idle_by_return: &self.by_return,
            idle_by_pin_end: &self.by_pin_end,
        }
    }

    /// The policy, told of every session's life so far.
    fn policy(&self, name: &str) -> Box<dyn Policy> {
        let oracle = Some(Arc::new(Fixed) as Arc<dyn Oracle>);
        let mut policy = policy::build(name, oracle).expect("a policy of the registry");
        let view = self.view();
        for session in (0..self.sessions.len() as u32).map(SessionId) {
            let done = Event::TurnDone {
                session,
                turn: TurnIndex(3),
                output: Tokens(100),
                input: Tokens(1_000),
                hit: Tokens(900),
                waited: Nanos(1_000_000),
                served: Nanos(2_000_000),
            };
            let events = [
                Event::Started(session),
                Event::Compute(session, Nanos::from_millis(u64::from(session.0))),
                done,
                Event::IoWait(session),
            ];
            for event in &events {
                policy.observe(&view, event);
            }
        }
        policy
    }
}

/// A turn ends, its wait is signalled, the next one becomes ready: every question about one session.
#[divan::bench(args = names(), consts = LIVE, sample_count = 50)]
fn session<const N: u32>(bencher: divan::Bencher<'_, '_>, name: &str) {
    let world = World::new(N);
    let mut policy = world.policy(name);
    let view = world.view();
    bencher.bench_local(move || {
        policy.observe(&view, &Event::IoWait(ASKED));
        black_box(policy.on_idle(&view, ASKED));
        black_box(policy.prefetch_at(&view, ASKED));
        policy.observe(&view, &Event::Compute(ASKED, Nanos::from_millis(500)));
        black_box(policy.admit(&view, ASKED));
        black_box(policy.queueing(&view, ASKED));
        black_box(policy.order(&view, ASKED));
        black_box(policy.restore(&view, ASKED));
        black_box(policy.chunk(&view, ASKED));
    });
}

/// Memory is short by one session's blocks.
#[divan::bench(args = names(), consts = LIVE, sample_count = 50)]
fn victims<const N: u32>(bencher: divan::Bencher<'_, '_>, name: &str) {
    let world = World::new(N);
    let policy = world.policy(name);
    let view = world.view();
    bencher.bench_local(|| black_box(policy.victims(&view, Blocks(64), Need::Admission(QUEUED))));
}

/// The cadence has come round.
#[divan::bench(args = names(), consts = LIVE, sample_count = 50)]
fn plan<const N: u32>(bencher: divan::Bencher<'_, '_>, name: &str) {
    let world = World::new(N);
    let mut policy = world.policy(name);
    let view = world.view();
    bencher.bench_local(move || {
        if policy.cadence() != model::Cadence::OnChange {
            policy.observe(&view, &Event::Tick(Report::default()));
        }
        black_box(policy.plan(&view));
    });
}
