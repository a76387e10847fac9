//! Sub-agents that start with their parent's turns, joins, and turns on a recorded timeline. A step takes 10 ms and 1 ms per prefill token.

use crate::common::{MS, Rig, session};
use engine::record::Part;
use model::{Event, Nanos, Session, SessionId, Spawn, TurnIndex, View};
use policy::{Policy, REGISTRY};
use std::sync::{Arc, Mutex};

fn ms(ms: u64) -> Nanos {
    Nanos(ms * MS)
}

/// `child` begins `after` ms behind turn 0 of `parent`, whose turn `join` waits for it.
fn start_child(parent: &mut Session, child: Session, after: u64, join: Option<u32>) {
    parent.turns[0].spawns.push(Spawn {
        after: ms(after),
        at: None,
        join: join.map(TurnIndex),
        session: child,
    });
}

/// 20 tokens in one step of 30 ms, then 11 more.
fn parent(gap: u64) -> Session {
    session("p", 0, &[(0, 20, 1), (gap, 11, 1)])
}

#[test]
fn a_join_waits_for_the_sub_agent_and_then_for_the_gap() {
    let mut p = parent(50);
    p.turns[1].expected = Some(ms(80));
    start_child(&mut p, session("p/a", 0, &[(0, 20, 1)]), 5, Some(1));
    let log = Rig::new(20, 0, vec![p]).run("keep-always");
    // p: 0..30. Its sub-agent arrives at 35: 10 + 20, to 65. p is ready at 65 + 50 = 115; 32 tokens of which 16 are held: 10 + 16.
    assert_eq!(log.times_ms(1, 0), (65, 65));
    assert_eq!(log.times_ms(0, 1), (141, 141));
    let turn = log.turn(0, 1);
    assert_eq!(turn.ready.0, 115 * MS);
    assert_eq!(turn.wait, Some(ms(85)), "from 30 to 115");
    assert_eq!(turn.parts.iter().copied().sum::<Nanos>(), ms(26));
    // The client could not know 85 ms when the wait began: it said 80.
    let told = log.lines("io-wait");
    assert!(
        told[0].ends_with("expected=0.110000000"),
        "30 + 80: {}",
        told[0]
    );
}

#[test]
fn the_last_of_two_sub_agents_decides() {
    let mut p = parent(0);
    start_child(&mut p, session("p/a", 0, &[(0, 20, 1)]), 0, Some(1));
    start_child(
        &mut p,
        session("p/b", 0, &[(0, 20, 1), (100, 20, 1)]),
        40,
        Some(1),
    );
    let log = Rig::new(40, 0, vec![p]).run("keep-always");
    // a: 30..60. b: 70..100, ready again at 200 with 41 tokens of which 16 are held: 10 + 25, to 235. Nothing follows the join: ready at 235.
    assert_eq!(log.times_ms(2, 1), (235, 235));
    assert_eq!(log.turn(0, 1).ready.0, 235 * MS);
}

#[test]
fn a_sub_agent_that_has_ended_before_the_turn_is_over_holds_up_nobody() {
    let mut p = session("p", 0, &[(0, 20, 1), (0, 200, 1), (7, 1, 1)]);
    start_child(&mut p, session("p/a", 0, &[(0, 10, 1)]), 0, Some(2));
    let rig = Rig::new(40, 0, vec![p]);
    let log = rig.run("keep-always");
    // Turn 1 begins beside the sub-agent: 221 - 16 = 205 tokens and 10 more in one step, 30 + 225 = 255. Both end there.
    assert_eq!(log.times_ms(0, 1), (255, 255));
    assert_eq!(log.times_ms(1, 0), (255, 255));
    assert_eq!(log.turn(0, 2).ready.0, 262 * MS);
}

#[test]
fn nobody_waits_for_a_sub_agent_without_a_join() {
    let mut p = parent(50);
    start_child(&mut p, session("p/a", 0, &[(0, 20, 1)]), 500, None);
    let log = Rig::new(20, 0, vec![p]).run("keep-always");
    assert_eq!(log.turn(0, 1).ready.0, 80 * MS);
    assert_eq!(log.session(1).start.0, 530 * MS);
    assert_eq!(log.summary.sessions, 2);
}

#[test]
fn an_open_loop_turn_comes_at_its_time_or_when_the_one_before_is_over() {
    let mut a = session("a", 100, &[(0, 20, 1), (0, 11, 1), (0, 5, 1)]);
    a.turns[1].at = Some(ms(70));
    a.turns[2].at = Some(ms(71));
    let log = Rig::new(20, 0, vec![a]).run("keep-always");
    // 100..130. Recorded at 70: ready at 170, 32 tokens of which 16 are held: 10 + 16, to 196. Recorded at 71, but that is over by then:
    // ready at 196, with no wait. The clock does not drift: a turn recorded at 200 would come at 300.
    assert_eq!(log.times_ms(0, 1), (196, 196));
    assert_eq!(log.turn(0, 1).wait, Some(ms(40)));
    assert_eq!(log.turn(0, 2).ready.0, 196 * MS);
    assert_eq!(log.turn(0, 2).wait, Some(Nanos::ZERO));
}

#[test]
fn an_open_loop_sub_agent_comes_at_its_time_after_the_turn_that_starts_it() {
    for (at, start) in [(200, 200), (10, 30)] {
        let mut p = parent(50);
        start_child(&mut p, session("p/a", 0, &[(0, 20, 1)]), 0, None);
        p.turns[0].spawns[0].at = Some(ms(at));
        let log = Rig::new(20, 0, vec![p]).run("keep-always");
        assert_eq!(log.session(1).start.0, start * MS, "recorded at {at}");
    }
}

#[test]
fn a_family_has_the_same_numbers_under_every_policy() {
    let mut p = parent(50);
    let mut child = session("p/a", 0, &[(0, 20, 2), (0, 30, 1)]);
    start_child(&mut child, session("p/a/x", 0, &[(0, 9, 1)]), 3, Some(1));
    start_child(&mut p, child, 5, Some(1));
    start_child(&mut p, session("p/b", 0, &[(0, 20, 1)]), 0, None);
    let sessions = vec![p, session("q", 1, &[(0, 20, 1)])];
    for entry in REGISTRY {
        let log = Rig::new(8, 8, sessions.clone()).run(entry.name);
        let names = (0..5).map(|id| log.session(id).name.as_str());
        let expected = ["p", "p/a", "p/a/x", "p/b", "q"];
        assert!(names.eq(expected), "{}", entry.name);
        for turn in &log.turns {
            let parts: Nanos = turn.parts.iter().copied().sum();
            assert_eq!(parts, turn.first_token.since(turn.ready), "{}", entry.name);
        }
        assert_eq!(log.turn(0, 1).parts[Part::Signal as usize], Nanos::ZERO);
    }
}

/// Notes at every end of a turn when it was, and what is known of session 0: its steps to execution, and its sub-agents.
#[derive(Clone, Default)]
struct Watch(Arc<Mutex<Vec<Seen>>>);

type Seen = (u64, Option<u32>, Vec<SessionId>);

impl Policy for Watch {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        if let Event::TurnDone { session, .. } = event {
            let root = view.session(SessionId(0));
            let parent = view.session(*session).parent;
            assert_eq!(parent, (session.0 > 0).then_some(SessionId(0)));
            let seen = (
                view.now.0 / MS,
                root.steps_to_execution,
                root.children.clone(),
            );
            self.0.lock().expect("no holder panics").push(seen);
        }
    }
}

#[test]
fn policies_see_families_and_how_many_calls_are_left_before_a_join() {
    let mut p = parent(0);
    start_child(&mut p, session("p/a", 0, &[(0, 20, 1)]), 0, Some(1));
    let b = session("p/b", 0, &[(0, 20, 1), (100, 20, 1)]);
    start_child(&mut p, b, 40, Some(1));
    let rig = Rig::new(40, 0, vec![p]);
    let seen = |rig: &Rig| {
        let watch = Watch::default();
        let log = rig.run_own(watch.clone());
        log.unwrap_or_else(|failure| panic!("{failure}"));
        let seen = watch.0.lock().expect("no holder panics");
        seen.clone()
    };
    // p: 0..30, and waits for a (30..60) and b (70..100 and 200..235): b's two turns and its own are 3, then 2, then 1.
    let (none, a, both) = (vec![], vec![SessionId(1)], vec![SessionId(1), SessionId(2)]);
    let told = seen(&rig);
    let expected = [
        (30, Some(3), none),
        (60, Some(3), a),
        (100, Some(2), both.clone()),
        (235, Some(1), both.clone()),
    ];
    assert_eq!(told[..4], expected);
    assert_eq!((told[4].1, &told[4].2), (None, &both), "no call follows");
    let untold = rig.with(|c| c.hints.kind = engine::HintKind::None);
    assert!(seen(&untold).iter().all(|seen| seen.1.is_none()));
}
