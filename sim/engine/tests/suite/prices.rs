//! What the prefix cache keeps when blocks are taken from it: by price, and least recently used first among equals.
//!
//! Sessions a, b and c hold two full blocks each when they have ended, of six in all; d takes some of them.

use crate::common::{Log, MS, Rig, session};
use crate::scripted::{self, Scripted};
use model::{Blocks, Nanos, Price, Priced, Retention, Session, SessionId, Time, Tokens, View};

/// a, b and c end at 60, 130 and 200 ms and return 2,000 ms later; d comes at 300 ms and needs `blocks` blocks.
fn sessions(blocks: u32) -> Vec<Session> {
    let mut sessions = Vec::new();
    for (name, start) in [("a", 0), ("b", 70), ("c", 140)] {
        sessions.push(session(name, start, &[(0, 30, 3), (2_000, 10, 2)]));
    }
    sessions.push(session("d", 300, &[(0, 16 * blocks - 1, 1)]));
    sessions
}

fn run(rig: &Rig, price: fn(&View<'_>, SessionId) -> Vec<Priced>) -> Log {
    let policy = Scripted {
        on_idle: |_, _| Retention::Release,
        price,
        ..Scripted::default()
    };
    scripted::run(rig, policy)
}

/// Tokens that a, b and c find of their two blocks when they return.
fn hits(log: &Log) -> [u32; 3] {
    [0, 1, 2].map(|session| {
        let Tokens(hit) = log.turn(session, 1).hit;
        hit
    })
}

fn whole(price: i64, until: Time) -> Vec<Priced> {
    vec![Priced {
        blocks: Blocks(u32::MAX),
        price: Price(price),
        until,
    }]
}

#[test]
fn without_a_price_the_least_recent_is_taken_first() {
    // d takes three of six: both of a, and the last of b.
    let log = run(&Rig::new(6, 0, sessions(3)), |_, _| Vec::new());
    assert_eq!(hits(&log), [0, 16, 32]);
}

#[test]
fn the_lowest_price_is_taken_first_and_of_equals_the_least_recent() {
    // a is worth 2, b nothing, c 1: both of b, and the last of c.
    let price =
        |_: &View<'_>, SessionId(s): SessionId| whole([2, 0, 1, 0][s as usize], Time::NEVER);
    let log = run(&Rig::new(6, 0, sessions(3)), price);
    assert_eq!(hits(&log), [32, 0, 16]);
    // Equal prices other than the normal one: as without any.
    let log = run(&Rig::new(6, 0, sessions(3)), |_, _| whole(7, Time::NEVER));
    assert_eq!(hits(&log), [0, 16, 32]);
}

#[test]
fn a_part_of_a_context_can_be_worth_less_than_the_rest() {
    // The second block of each goes before the first of any: tails of a, b and c.
    let price = |_: &View<'_>, _: SessionId| {
        let part = |price| Priced {
            blocks: Blocks(1),
            price: Price(price),
            until: Time::NEVER,
        };
        vec![part(0), part(-1)]
    };
    let log = run(&Rig::new(6, 0, sessions(3)), price);
    assert_eq!(hits(&log), [16, 16, 16]);
    // A fourth comes from what has the normal price: the least recent.
    let log = run(&Rig::new(6, 0, sessions(4)), price);
    assert_eq!(hits(&log), [0, 16, 16]);
}

#[test]
fn a_price_ends_and_the_blocks_are_as_if_released_then() {
    // a is dear for 100 ms, until 160: after b (130), before c (200).
    let price = |view: &View<'_>, SessionId(s): SessionId| match s {
        0 => whole(5, view.now + Nanos(100 * MS)),
        _ => Vec::new(),
    };
    let log = run(&Rig::new(6, 0, sessions(2)), price);
    assert_eq!(hits(&log), [32, 0, 32]);
    let log = run(&Rig::new(6, 0, sessions(3)), price);
    assert_eq!(hits(&log), [16, 0, 32]);
}

#[test]
fn blocks_that_are_taken_up_and_released_again_are_priced_anew() {
    // a returns at 110 and computes beside b; both end at 110 + 10 + 11 + 10 = 141, and a's blocks are worth less than anything else.
    let mut sessions = sessions(3);
    sessions[0] = session("a", 0, &[(0, 30, 3), (50, 10, 2), (3_000, 5, 2)]);
    let price =
        |view: &View<'_>, SessionId(s): SessionId| match (s, view.session(SessionId(0)).turn.0) {
            (0, 0) => whole(5, Time::NEVER),
            (0, _) => whole(-5, Time::NEVER),
            _ => Vec::new(),
        };
    let log = run(&Rig::new(6, 0, sessions), price);
    assert_eq!(log.turn(0, 1).hit, Tokens(32));
    assert_eq!(log.turn(0, 2).hit, Tokens(0));
    assert_eq!(log.turn(1, 1).hit, Tokens(16));
}
