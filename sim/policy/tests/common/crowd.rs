//! A crowd: ever more sessions that wait, half of them with their KV in HBM and half with it on the tiers behind, around five that are asked about.

use model::{
    Action, Blocks, Bytes, CopyEstimate, DiskLevel, Event, Hint, HintSource, Nanos, Oracle,
    OrderKey, Outcome, Phase, Place, PoolLevel, PrefillEstimate, Ranking, Residence, SessionId,
    SessionView, Sessions, Time, Tokens, ToolClass, TurnIndex, View,
};
use policy::Policy;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The present.
pub const NOW: Time = Time(2_000_000_000_000);
pub const RUNS: SessionId = SessionId(0);
pub const QUEUED: SessionId = SessionId(1);
pub const HELD: SessionId = SessionId(2);
/// Waits, with its KV on the host.
pub const AWAY: SessionId = SessionId(3);
/// Waits, with its KV in HBM.
pub const ASKED: SessionId = SessionId(4);

/// When those who wait are expected back, and truly come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// A second apart.
    Far,
    /// Sooner than the emptiest copy could leave and come back.
    Soon,
    /// Sooner than their own KV could, and not so soon as an empty copy.
    Between,
    /// Nobody knows, and they come a second apart.
    Unknown,
}

impl Return {
    pub const ALL: [Self; 4] = [Self::Far, Self::Soon, Self::Between, Self::Unknown];

    fn of(self, session: SessionId) -> Time {
        let id = u64::from(session.0);
        NOW + match self {
            Self::Far | Self::Unknown => Nanos(1_000_000_000 * (1 + id)),
            // An empty copy takes 70 us each way behind what is queued, 64 blocks 2.75 ms more.
            Self::Soon => Nanos(1_000 + id % 50_000),
            Self::Between => Nanos(1_000_000 + id % 100_000),
        }
    }
}

impl Oracle for Return {
    fn returns_at(&self, session: SessionId) -> Option<Time> {
        Some(self.of(session))
    }

    fn output(&self, _: SessionId, _: TurnIndex) -> Option<Tokens> {
        Some(Tokens(100))
    }
}

/// What is behind HBM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// A host with room.
    RoomyHost,
    /// A host without.
    FullHost,
    /// A host with room, and a disk without; half of what is behind HBM is on the disk alone, and the rest on both.
    FullDisk,
}

impl Behind {
    pub const ALL: [Self; 3] = [Self::RoomyHost, Self::FullHost, Self::FullDisk];
}

/// The crowd.
pub struct Crowd {
    pub returns: Return,
    pub behind: Behind,
    sessions: Vec<SessionView>,
    by_age: BTreeSet<(Time, SessionId)>,
    by_return: BTreeSet<(Time, SessionId)>,
    by_pin_end: BTreeSet<(Time, SessionId)>,
    queue: BTreeMap<Place, SessionId>,
    held: BTreeSet<(Time, SessionId)>,
    paused: BTreeSet<SessionId>,
}

impl Crowd {
    /// `live` sessions, at least five.
    pub fn new(live: u32, returns: Return, behind: Behind) -> Self {
        let place = Place {
            key: OrderKey::FCFS,
            number: 1,
        };
        let mut crowd = Self {
            returns,
            behind,
            sessions: Vec::new(),
            by_age: BTreeSet::new(),
            by_return: BTreeSet::new(),
            by_pin_end: BTreeSet::new(),
            queue: BTreeMap::from([(place, QUEUED)]),
            held: BTreeSet::from([(NOW, HELD)]),
            paused: BTreeSet::from([HELD]),
        };
        for id in (0..live).map(SessionId) {
            let seen = crowd.session(id);
            if seen.phase == Phase::Idle && seen.residence == Residence::Hbm {
                let back = seen.hint.map_or(Time::NEVER, |hint| hint.returns_at);
                crowd.by_age.insert((seen.idle_since, id));
                crowd.by_return.insert((back, id));
                crowd.by_pin_end.insert((Time::NEVER, id));
            }
            crowd.sessions.push(seen);
        }
        crowd
    }

    fn session(&self, id: SessionId) -> SessionView {
        let away = match self.behind {
            Behind::FullDisk if id.0 % 4 == 1 => Residence::Disk,
            _ => Residence::Host,
        };
        let (phase, residence) = match id {
            RUNS => (Phase::Running, Residence::None),
            QUEUED => (Phase::Queued, away),
            HELD => (Phase::Held, Residence::None),
            _ if id.0.is_multiple_of(2) => (Phase::Idle, Residence::Hbm),
            _ => (Phase::Idle, away),
        };
        let on_disk = match (self.behind, residence) {
            (Behind::FullDisk, Residence::Host | Residence::Disk) => Blocks(64),
            _ => Blocks::ZERO,
        };
        let held = |place| Blocks(if residence == place { 64 } else { 0 });
        let back = self.returns.of(id);
        let hint = Hint {
            returns_at: back,
            early: back,
            late: back,
            source: HintSource::Client,
        };
        // Up to a thousand seconds ago, in no order.
        let ago = u64::from(id.0.wrapping_mul(2_654_435_761) % 1_000_000) * 1_000_000;
        SessionView {
            phase,
            residence,
            turn: TurnIndex(3),
            arrived: Time(u64::from(id.0)),
            idle_since: NOW.before(Nanos(ago)),
            context: Tokens(1_024),
            prompt: Tokens(1_100),
            hbm_blocks: held(Residence::Hbm),
            host_blocks: held(Residence::Host),
            disk_blocks: on_disk,
            signalled: !id.0.is_multiple_of(3),
            paused: id == HELD,
            tool: ToolClass((id.0 % 8) as u16),
            hint: (self.returns != Return::Unknown).then_some(hint),
            ..SessionView::default()
        }
    }

    pub fn view(&self) -> View<'_> {
        self.view_at(NOW)
    }

    pub fn view_at(&self, now: Time) -> View<'_> {
        let live = self.sessions.len() as u32;
        let level = |capacity, free| PoolLevel {
            capacity: Blocks(capacity),
            free: Blocks(free),
            cached: Blocks(0),
        };
        let (room, disk) = match self.behind {
            Behind::RoomyHost => (live * 64, None),
            Behind::FullHost => (0, None),
            Behind::FullDisk => (live * 64, Some(live * 256)),
        };
        View {
            now,
            hbm: level(live * 64, 10),
            host: level(live * 128, room),
            disk: disk.map(|capacity| DiskLevel {
                pool: level(capacity, 0),
                ..DiskLevel::default()
            }),
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
            sessions: Sessions::new(&self.sessions),
            batch: &[RUNS],
            batch_tokens: 1_024,
            queue: &self.queue,
            queue_tokens: 1_100,
            held: &self.held,
            paused: &self.paused,
            idle_by_age: Ranking::new(&self.by_age),
            idle_by_return: Ranking::new(&self.by_return),
            idle_by_pin_end: Ranking::new(&self.by_pin_end),
        }
    }

    /// The policy, told of the latest turn of every session.
    pub fn policy(&self, name: &str) -> Box<dyn Policy> {
        let oracle = Some(Arc::new(self.returns) as Arc<dyn Oracle>);
        let mut policy = policy::build(name, oracle).expect("a policy of the registry");
        let mut lives: Vec<_> = (0..).map(SessionId).zip(&self.sessions).collect();
        lives.sort_by_key(|&(id, seen)| (seen.idle_since, id));
        for (id, seen) in lives {
            let view = self.view_at(seen.idle_since);
            let waited = Nanos::from_millis(u64::from(id.0));
            let entered = Event::Acted(id, Action::Enter, Outcome::Done(Blocks::ZERO));
            policy.observe(&view, &Event::Started(id));
            policy.observe(&view, &Event::Compute(id, waited));
            policy.observe(&view, &entered);
            if seen.phase == Phase::Idle {
                policy.observe(&view, &admitted(id));
                policy.observe(&view, &turn_done(id));
            }
            if seen.signalled {
                policy.observe(&view, &Event::IoWait(id));
            }
            let mut acted = |action| {
                policy.observe(&view, &Event::Acted(id, action, Outcome::Done(Blocks(64))));
            };
            if matches!(seen.residence, Residence::Host | Residence::Disk) {
                acted(Action::SwapOut);
            }
            match (seen.residence, seen.disk_blocks) {
                (_, Blocks::ZERO) => {}
                (Residence::Disk, _) => {
                    acted(Action::Demote);
                    acted(Action::DropHost);
                }
                _ => acted(Action::Store),
            }
        }
        policy
    }
}

pub fn admitted(session: SessionId) -> Event {
    Event::Admitted {
        session,
        hit: Tokens(900),
        compute: Tokens(200),
        waited: Nanos(1_000),
    }
}

pub fn turn_done(session: SessionId) -> Event {
    Event::TurnDone {
        session,
        turn: TurnIndex(3),
        output: Tokens(100),
        input: Tokens(1_000),
        hit: Tokens(900),
        waited: Nanos(1_000_000),
        served: Nanos(2_000_000),
    }
}
