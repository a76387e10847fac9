//! What holds for every policy of the registry.

use model::{
    Blocks, Bytes, CopyEstimate, DiskLevel, Hint, HintSource, Nanos, Need, Oracle, OrderKey, Phase,
    Place, PoolLevel, PrefillEstimate, Ranking, Residence, SessionId, SessionView, Sessions, Time,
    Tokens, TurnIndex, View,
};
use policy::{Policy, REGISTRY, build, describe, find};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Every session returns 100 ms after its number in seconds.
struct Fixed;

impl Oracle for Fixed {
    fn returns_at(&self, session: SessionId) -> Option<Time> {
        Some(Time(u64::from(session.0) * 1_000_000_000 + 100_000_000))
    }
    fn output(&self, _: SessionId, _: TurnIndex) -> Option<Tokens> {
        Some(Tokens(10))
    }
}

/// Nine sessions: five idle in HBM (with and without a hint), one on the host, one running, one queued, one held.
struct World {
    sessions: Vec<SessionView>,
    by_age: BTreeSet<(Time, SessionId)>,
    by_return: BTreeSet<(Time, SessionId)>,
    by_pin_end: BTreeSet<(Time, SessionId)>,
    queue: BTreeMap<Place, SessionId>,
    held: BTreeSet<(Time, SessionId)>,
    paused: BTreeSet<SessionId>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            sessions: Vec::new(),
            by_age: BTreeSet::new(),
            by_return: BTreeSet::new(),
            by_pin_end: BTreeSet::new(),
            queue: BTreeMap::from([(
                Place {
                    key: OrderKey::FCFS,
                    number: 1,
                },
                SessionId(7),
            )]),
            held: BTreeSet::from([(Time(60_000_000), SessionId(8))]),
            paused: BTreeSet::from([SessionId(8)]),
        };
        for i in 0..9_u32 {
            let id = SessionId(i);
            let since = Time(u64::from(i * 7 % 8) * 10_000_000);
            let back = since + Nanos(u64::from(i + 1) * 400_000_000);
            let hint = (i % 2 == 0).then_some(Hint {
                returns_at: back,
                early: back,
                late: back,
                source: HintSource::Client,
            });
            let (phase, residence) = match i {
                0..5 => (Phase::Idle, Residence::Hbm),
                5 => (Phase::Idle, Residence::Host),
                6 => (Phase::Running, Residence::None),
                8 => (Phase::Held, Residence::None),
                _ => (Phase::Queued, Residence::Host),
            };
            let held = |place| Blocks(if residence == place { 10 + i } else { 0 });
            world.sessions.push(SessionView {
                phase,
                residence,
                idle_since: since,
                context: Tokens(160),
                hbm_blocks: held(Residence::Hbm),
                host_blocks: held(Residence::Host),
                prefetching: i == 7,
                prompt: Tokens(200),
                paused: i == 8,
                signalled: hint.is_some(),
                hint,
                ..SessionView::default()
            });
            if residence == Residence::Hbm {
                world.by_age.insert((since, id));
                let listed = hint.map_or(Time::NEVER, |hint| hint.returns_at);
                world.by_return.insert((listed, id));
                world.by_pin_end.insert((Time::NEVER, id));
            }
        }
        world
    }

    fn view(&self, now: u64) -> View<'_> {
        let level = |capacity, free| PoolLevel {
            capacity: Blocks(capacity),
            free: Blocks(free),
            cached: Blocks(0),
        };
        View {
            now: Time(now),
            hbm: level(100, 4),
            host: level(200, 25),
            disk: Some(DiskLevel {
                pool: level(400, 10),
                ..DiskLevel::default()
            }),
            block_bytes: Bytes(1_000_000),
            block_tokens: 16,
            link: [CopyEstimate {
                queued: Bytes(3_000_000),
                bytes_per_s: 1_000_000_000,
                fixed: Nanos(10_000),
            }; 2],
            prefill: PrefillEstimate {
                token_ps: 100_000_000,
                pair_ps: 0,
            },
            queued: 1,
            running: 1,
            running_max: 4,
            sessions: Sessions::new(&self.sessions),
            batch: &[SessionId(6)],
            batch_tokens: 180,
            queue: &self.queue,
            queue_tokens: 200,
            held: &self.held,
            paused: &self.paused,
            idle_by_age: Ranking::new(&self.by_age),
            idle_by_return: Ranking::new(&self.by_return),
            idle_by_pin_end: Ranking::new(&self.by_pin_end),
        }
    }
}

/// Every answer to every question about every session, as text.
fn answers(policy: &dyn Policy, world: &World, backwards: bool) -> Vec<String> {
    let view = world.view(200_000_000);
    let mut questions: Vec<(usize, SessionId)> = (0..world.sessions.len() as u32)
        .flat_map(|s| (0..10).map(move |q| (q, SessionId(s))))
        .collect();
    if backwards {
        questions.reverse();
    }
    let mut answers: Vec<String> = questions
        .into_iter()
        .map(|(question, s)| match question {
            0 => format!("{:?}", policy.on_idle(&view, s)),
            1 => format!("{:?}", policy.on_end(&view, s)),
            2 => format!(
                "{:?}",
                policy.victims(&view, Blocks(15), Need::Admission(s))
            ),
            3 => format!("{:?}", policy.victims(&view, Blocks(30), Need::Growth(s))),
            4 => format!("{:?}", policy.victims(&view, Blocks(30), Need::Restore(s))),
            5 => format!("{:?}", policy.victims(&view, Blocks(30), Need::Prefetch(s))),
            6 => format!("{:?}", policy.prefetch_at(&view, s)),
            7 => format!("{:?} {:?}", policy.admit(&view, s), policy.order(&view, s)),
            8 => format!(
                "{:?} {:?} {:?} {:?} {:?} {:?}",
                policy.cadence(),
                policy.plan(&view),
                policy.step_budget(&view),
                policy.chunk(&view, s),
                policy.preempt(&view, s),
                (
                    policy.break_pin(&view),
                    policy.host_victims(&view, Blocks(9), s)
                )
            ),
            _ => format!(
                "{:?} {:?} {:?} {:?}",
                policy.restore(&view, s),
                policy.queueing(&view, s),
                policy.fetch(&view, s),
                policy.disk_victims(&view, Blocks(9), s)
            ),
        })
        .collect();
    if backwards {
        answers.reverse();
    }
    answers
}

fn make(text: &str) -> Box<dyn Policy> {
    build(text, Some(Arc::new(Fixed))).expect("a policy of the registry")
}

#[test]
fn asking_is_pure() {
    let world = World::new();
    for entry in REGISTRY {
        let policy = make(entry.name);
        let first = answers(policy.as_ref(), &world, false);
        assert_eq!(
            first,
            answers(policy.as_ref(), &world, true),
            "{} in another order",
            entry.name
        );
        assert_eq!(
            first,
            answers(make(entry.name).as_ref(), &world, false),
            "{} made anew",
            entry.name
        );
    }
}

#[test]
fn victims_are_idle_sessions_in_hbm_and_each_is_named_once() {
    let world = World::new();
    let view = world.view(200_000_000);
    for entry in REGISTRY {
        let policy = make(entry.name);
        for why in [Need::Admission, Need::Growth, Need::Restore, Need::Prefetch] {
            for need in [1, 15, 1_000] {
                let victims = policy.victims(&view, Blocks(need), why(SessionId(7)));
                let named: BTreeSet<_> = victims.iter().map(|victim| victim.session).collect();
                assert_eq!(named.len(), victims.len(), "{}", entry.name);
                assert!(
                    named.iter().all(|s| s.index() < 5),
                    "{}: {victims:?}",
                    entry.name
                );
            }
        }
    }
}

#[test]
fn parameters_print_back_as_they_were_given() {
    for entry in REGISTRY {
        for share in [0.0, 0.25, 1.0] {
            let pick = |param: &policy::Param| {
                let value = param.min + (param.max - param.min) * share;
                if param.words().is_empty() {
                    value
                } else {
                    value.round()
                }
            };
            let given: Vec<_> = entry
                .params
                .iter()
                .map(|param| format!("{}={}", param.key, param.spell(pick(param))))
                .collect();
            let text = if given.is_empty() {
                entry.name.to_owned()
            } else {
                format!("{}[{}]", entry.name, given.join(","))
            };
            assert_eq!(describe(&text).expect("within its range"), text);
            let (found, params) = find(&text).expect("within its range");
            assert_eq!(found.name, entry.name);
            for (param, (key, value)) in entry.params.iter().zip(params.iter()) {
                assert_eq!((param.key, pick(param).to_bits()), (key, value.to_bits()));
            }
            drop(make(&text));
        }
    }
}

#[test]
fn a_parameter_changes_what_it_is_about() {
    let world = World::new();
    let view = world.view(0);
    // Session 4 is expected 1.6 s + 2,000 ms later: 10 blocks more or less do not matter, the margin does.
    let at = |text: &str| {
        make(text)
            .prefetch_at(&view, SessionId(4))
            .expect("it has a hint")
    };
    assert_eq!(
        at("djinn[margin_ms=10]").since(at("djinn[margin_ms=30]")),
        Nanos(20_000_000)
    );
    assert_eq!(
        at("djinn-as-run[margin_ms=100]").since(at("djinn-as-run")),
        Nanos(400_000_000)
    );
}
