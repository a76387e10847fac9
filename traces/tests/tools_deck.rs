//! Shards of traces, and waits drawn anew.

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::tools::{Place, sids, three_families, varied};
use common::{META, call, session, sized_meta, text_of};
use serde_json::json;
use trace::TraceError;
use trace::format::{GapKind, HashScope, Meta, Nullable, ParentLink, Session, Writer};
use trace::generate::Distribution;
use trace::import::{Collected, ImportOptions};
use trace::tools::{Deck, Retime, Waits};

fn deck(path: &Path) -> Deck {
    Deck::collect(path, &ImportOptions::default()).unwrap()
}

fn dealt(deck: &Deck, count: usize, replace: bool, seed: u64) -> Vec<Session> {
    let mut all = Collected::default();
    deck.deal(count, replace, seed, &mut all).unwrap();
    all.sessions
}

#[test]
fn a_split_puts_each_session_into_one_part_whatever_else_is_there() {
    let place = Place::new();
    let parts = |count| {
        let path = place.trace("in.jsonl", &varied(count));
        let (train, test) = deck(&path).split(0.3, 1);
        let names = |deck: &Deck| -> BTreeSet<String> {
            let all = dealt(deck, deck.len(), false, 1);
            all.into_iter().map(|session| session.sid).collect()
        };
        (names(&train), names(&test))
    };
    let (train, test) = parts(1_000);
    assert_eq!(train.len() + test.len(), 1_000);
    // 300 expected, standard deviation sqrt(1,000 * 0.3 * 0.7) = 14.5; five are allowed.
    assert!(train.len().abs_diff(300) < 73, "{}", train.len());
    let (fewer, _) = parts(100);
    assert!(fewer.is_subset(&train));
}

#[test]
fn without_replacement_a_shard_keeps_the_order_of_the_file_and_has_each_session_once() {
    let place = Place::new();
    let deck = deck(&place.trace("in.jsonl", &varied(50)));
    let number = |session: &Session| session.sid[1..].parse::<u32>().unwrap();
    let numbers: Vec<u32> = dealt(&deck, 20, false, 7).iter().map(number).collect();
    assert_eq!(numbers.len(), 20);
    assert!(
        numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "{numbers:?}"
    );
    let other: Vec<u32> = dealt(&deck, 20, false, 8).iter().map(number).collect();
    assert_ne!(numbers, other);
    let error = deck
        .deal(51, false, 1, &mut Collected::default())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("51 sessions were asked for and there are 50"),
        "{error}"
    );
}

#[test]
fn with_replacement_copies_have_names_of_their_own_and_sub_agents_follow() {
    let place = Place::new();
    let deck = deck(&three_families(&place));
    assert_eq!(deck.len(), 3, "sub-agents are no sessions of their own");
    let shard = dealt(&deck, 12, true, 1);
    assert_eq!(shard.len(), 24);
    let names: BTreeSet<&str> = sids(&shard).into_iter().collect();
    assert_eq!(names.len(), 24, "{names:?}");
    for pair in shard.chunks(2) {
        let link = pair[1].parent.as_ref().map(ParentLink::sid);
        assert_eq!(link, Some(pair[0].sid.as_str()));
    }
    // Written and read back: every reference holds.
    let written = place.through(|sink| deck.deal(12, true, 1, sink)).unwrap();
    assert_eq!(written, shard);
}

#[test]
fn copies_of_sessions_with_global_block_ids_are_refused() {
    let place = Place::new();
    let path = place.path("in.jsonl");
    let meta = Meta {
        hash_scope: Nullable::Value(HashScope::Global),
        ..sized_meta()
    };
    let mut writer = Writer::create(&path, &meta).unwrap();
    writer.write(&session("a", vec![call(0, 100, 10)])).unwrap();
    writer.finish().unwrap();
    let deck = deck(&path);
    let error = deck
        .deal(5, true, 1, &mut Collected::default())
        .unwrap_err();
    assert!(error.to_string().contains("global"), "{error}");
    deck.deal(1, false, 1, &mut Collected::default()).unwrap();
}

#[test]
fn sessions_that_could_not_begin_are_left_out() {
    let place = Place::new();
    let sessions = [
        session("fits", vec![call(0, 90, 10), call(1, 5_000, 10)]),
        session("not", vec![call(0, 91, 10)]),
    ];
    let mut deck = deck(&place.trace("in.jsonl", &sessions));
    deck.keep_begun_within(100);
    assert_eq!(sids(&dealt(&deck, 1, false, 1)), ["fits"]);
}

#[test]
fn sessions_of_a_configuration_share_most_of_its_shortest_first_prompt() {
    let place = Place::new();
    let mut sessions =
        [1_000, 1_200, 2_000].map(|input| session(&format!("s{input}"), vec![call(0, input, 10)]));
    for (session, config) in sessions.iter_mut().zip(["a", "a", "b"]) {
        session.config = Some(config.to_owned());
    }
    let mut deck = deck(&place.trace("in.jsonl", &sessions));
    deck.share_first_prompts(0.9).unwrap();
    let shared = |session: &Session| {
        let part = &session.shared_prefix.as_ref().unwrap()[0];
        (part.id.clone(), part.tokens)
    };
    let all: Vec<_> = dealt(&deck, 3, false, 1).iter().map(shared).collect();
    let expected =
        [("a", 900), ("a", 900), ("b", 1_800)].map(|(id, tokens)| (id.to_owned(), tokens));
    assert_eq!(all, expected);
    assert!(deck.share_first_prompts(1.5).is_err());
}

/// A session whose calls wait for a tool, a person, and somebody unknown.
fn waits_of_all_kinds(place: &Place) -> std::path::PathBuf {
    let call = |id: u32, kind: &str, ms: u32| {
        json!({"id": id, "at_ms": 10 * id, "gap_ms": ms, "gap_kind": kind, "in": 100 + id, "out": 10,
               "tools": [{"name": "t", "dur_ms": 0.5}]})
    };
    let calls = [
        call(0, "none", 0),
        call(1, "tool", 1),
        call(2, "human", 900),
        call(3, "mixed", 5),
        call(4, "unknown", 7),
    ];
    let line = json!({"v": 1, "type": "session", "sid": "s", "start_ms": 0, "calls": calls});
    let path = place.path("in.jsonl");
    std::fs::write(&path, text_of(&[META.clone(), line])).unwrap();
    path
}

fn retimed(place: &Place, waits: &Waits, seed: u64) -> Result<Session, TraceError> {
    let path = waits_of_all_kinds(place);
    let all = place.through(|sink| {
        let mut retime = Retime::new(waits, seed, sink)?;
        trace::tools::feed(&path, &mut retime).map(drop)
    })?;
    Ok(all.into_iter().next().expect("one session"))
}

#[test]
fn waits_of_tools_and_people_are_redrawn_and_what_was_recorded_stays_beside() {
    let place = Place::new();
    let waits = Waits {
        tool: Some(Distribution::Constant(2.0)),
        human: Some(Distribution::Constant(60.0)),
    };
    let session = retimed(&place, &waits, 1).unwrap();
    let seconds: Vec<f64> = session
        .calls
        .iter()
        .map(|call| call.gap_ms.nanos().as_secs_f64())
        .collect();
    // Tool 2 s, person 60 s, both 62 s; the unknown wait of 7 ms stays.
    assert_eq!(seconds, [0.0, 2.0, 60.0, 62.0, 0.007]);
    let raw = session.calls[2]
        .gap_raw_ms
        .map(|raw| raw.nanos().as_secs_f64());
    assert_eq!(raw, Some(0.9));
    assert_eq!(session.calls[4].gap_raw_ms, None);
    assert_eq!(session.calls[4].gap_kind, GapKind::Unknown);
    let tool = &session.calls[0].tools.as_ref().unwrap()[0];
    assert!((tool.dur_ms.nanos().as_secs_f64() - 2.0).abs() < 1e-9);
    assert!(session.calls.iter().all(|call| call.at_ms.is_none()));
}

#[test]
fn equal_seeds_draw_equal_waits_and_what_is_not_asked_for_stays() {
    let place = Place::new();
    let waits = Waits {
        tool: Some(Distribution::uniform(1.0, 9.0)),
        human: None,
    };
    let (one, again, other) = (
        retimed(&place, &waits, 1).unwrap(),
        retimed(&place, &waits, 1).unwrap(),
        retimed(&place, &waits, 2).unwrap(),
    );
    assert_eq!(one, again);
    assert_ne!(one.calls[1].gap_ms, other.calls[1].gap_ms);
    assert_eq!(one.calls[2].gap_ms, other.calls[2].gap_ms);
    let endless = Waits {
        tool: Some(Distribution::Constant(f64::INFINITY)),
        human: None,
    };
    assert!(retimed(&place, &endless, 1).is_err());
}
