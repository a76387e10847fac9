//! From traces to other traces: families stay together, names stay unique, and every result is a valid trace.
#![allow(clippy::float_cmp)] // Starts are whole seconds: exact.

mod common;

use std::path::PathBuf;

use common::tools::{Place, family, sids, start_s, three_families};
use common::{call, session, trace_with};
use model::Nanos;
use trace::TraceError;
use trace::format::{
    After, Blocks, Call, HashScope, Meta, Millis, Nullable, ParentLink, Reader, Session,
};
use trace::tools::{Content, Cut, Head, Merge, Only, OnlyMatching, Scale, feed};

#[test]
fn the_head_counts_sessions_and_takes_their_sub_agents_along() {
    let place = Place::new();
    let path = three_families(&place);
    let head = |n| place.through(|sink| feed(&path, &mut Head::new(n, "in", sink)).map(drop));
    assert_eq!(sids(&head(2).unwrap()), ["a", "a/child", "b", "b/child"]);
    assert_eq!(head(0).unwrap(), []);
    assert_eq!(head(9).unwrap().len(), 6);
}

#[test]
fn a_cut_takes_what_starts_within_it_whole_and_resets_the_clock() {
    let place = Place::new();
    let path = three_families(&place);
    let cut = |from: u64, to: u64| {
        place.through(|sink| {
            let (from, to) = (Nanos::from_millis(from), Nanos::from_millis(to));
            feed(&path, &mut Cut::new(from, to, "in", sink)?).map(drop)
        })
    };
    // 10 s is in, 20 s is not. The sub-agent starts 4 s after its parent.
    let sessions = cut(10_000, 20_000).unwrap();
    assert_eq!(sids(&sessions), ["b", "b/child"]);
    assert_eq!((start_s(&sessions[0]), start_s(&sessions[1])), (0.0, 4.0));
    // A parent before the cut takes its sub-agent with it, although that starts at 4 s.
    assert_eq!(sids(&cut(1_000, 11_000).unwrap()), ["b", "b/child"]);
    let error = cut(5_000, 5_000).unwrap_err().to_string();
    assert!(error.contains("from 5 s to 5 s is empty"), "{error}");
}

#[test]
fn a_cut_needs_a_clock() {
    let place = Place::new();
    let timeless = Session {
        start_ms: Nullable::Null,
        ..session("a", vec![call(0, 10, 1)])
    };
    let path = place.trace("in.jsonl", &[timeless]);
    let error = place
        .through(|sink| feed(&path, &mut Cut::new(Nanos::ZERO, Nanos::MAX, "in", sink)?).map(drop))
        .unwrap_err();
    assert!(matches!(error, TraceError::NoCommonClock { .. }), "{error}");
}

#[test]
fn a_sub_agent_before_its_parent_is_refused_with_the_remedy() {
    let place = Place::new();
    let [parent, child] = family("a", 0);
    let path = place.trace("in.jsonl", &[child, parent]);
    let error = place
        .through(|sink| feed(&path, &mut Head::new(1, "in.jsonl", sink)).map(drop))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`in.jsonl`: sub-agent `a/child` comes before its parent `a`"),
        "{error}"
    );
}

#[test]
fn only_what_is_wanted_passes_and_nobody_waits_for_what_is_gone() {
    let place = Place::new();
    let mut sessions: Vec<Session> = [("a", 0), ("b", 10)]
        .into_iter()
        .flat_map(|(sid, second)| family(sid, second))
        .collect();
    sessions[0].config = Some("large".to_owned());
    sessions[2].cls = Some("coding".to_owned());
    let path = place.trace("in.jsonl", &sessions);
    let only = |only: &Only| {
        place.through(|sink| feed(&path, &mut OnlyMatching::new(only, "in", sink)).map(drop))
    };
    let set = |name: &str| [name.to_owned()].into();
    let large = Only {
        configs: set("large"),
        ..Only::default()
    };
    // The sub-agent has no configuration of its own; it goes with its parent.
    assert_eq!(sids(&only(&large).unwrap()), ["a", "a/child"]);
    let coding = Only {
        classes: set("coding"),
        main_agents: true,
        ..Only::default()
    };
    let left = only(&coding).unwrap();
    assert_eq!(sids(&left), ["b"]);
    assert_eq!(left[0].calls[1].after, Some(vec![After::Own(0)]));
    let named = Only {
        sids: Some(set("a")),
        ..Only::default()
    };
    assert_eq!(sids(&only(&named).unwrap()), ["a", "a/child"]);
    assert_eq!(only(&Only::default()).unwrap(), sessions);
}

#[test]
fn load_moves_sessions_together_and_leaves_what_happens_in_them() {
    let place = Place::new();
    let path = three_families(&place);
    let before: Vec<Session> = Reader::open(&path).unwrap().map(Result::unwrap).collect();
    let after = place
        .through(|sink| feed(&path, &mut Scale::new(1.0, 2.0, "in", sink)?).map(drop))
        .unwrap();
    // c starts at 20 s, its sub-agent 4 s later: 10 s, and still 4 s later.
    let starts: Vec<f64> = after.iter().map(start_s).collect();
    assert_eq!(starts, [0.0, 4.0, 5.0, 9.0, 10.0, 14.0]);
    for (a, b) in before.iter().zip(&after) {
        assert_eq!((&a.calls, &a.parent), (&b.calls, &b.parent));
    }
}

#[test]
fn time_stretches_everything_the_client_does_and_nothing_the_server_did() {
    let place = Place::new();
    let mut sessions = family("a", 10);
    sessions[0].calls[0].observed = Some(trace::format::Observed {
        api_ms: Some(Millis::from_millis(700)),
        ..trace::format::Observed::default()
    });
    sessions[0].calls[0].tools = Some(vec![trace::format::Tool {
        name: "shell".to_owned(),
        start_ms: serde_json::Number::from_f64(-20.0),
        dur_ms: Millis::from_millis(1_000),
        ..trace::format::Tool::default()
    }]);
    let path = place.trace("in.jsonl", &sessions);
    let scale = |time, load| {
        place.through(|sink| feed(&path, &mut Scale::new(time, load, "in", sink)?).map(drop))
    };
    let after = scale(0.5, 1.0).unwrap();
    assert_eq!((start_s(&after[0]), start_s(&after[1])), (5.0, 7.0));
    let [first, second] = &after[0].calls[..] else {
        panic!("two calls")
    };
    assert_eq!(second.gap_ms.nanos(), Nanos::from_millis(500));
    assert_eq!(first.observed, sessions[0].calls[0].observed);
    let tool = &first.tools.as_ref().unwrap()[0];
    assert_eq!(tool.dur_ms.nanos(), Nanos::from_millis(500));
    assert_eq!(
        tool.start_ms.as_ref().and_then(serde_json::Number::as_f64),
        Some(-10.0)
    );
    let Some(ParentLink::Call(parent)) = &after[1].parent else {
        panic!("a sub-agent")
    };
    assert_eq!(parent.offset_ms.nanos(), Nanos::from_millis(1_500));
    assert_eq!(scale(1.0, 1.0).unwrap(), sessions);
    for (time, load) in [(0.0, 1.0), (1.0, -2.0), (f64::NAN, 1.0)] {
        assert!(
            scale(time, load)
                .unwrap_err()
                .to_string()
                .contains("must be above 0")
        );
    }
}

fn global(first: u64) -> (Meta, Session) {
    let meta = Meta {
        block_size: Nullable::Value(16),
        hash_scope: Nullable::Value(HashScope::Global),
        ..Meta::default()
    };
    let calls = vec![Call {
        blocks: Some(Blocks {
            keep: 0,
            add: vec![(first, 4)],
            ..Blocks::default()
        }),
        ..call(0, 64, 8)
    }];
    (meta, session("x", calls))
}

fn merged(place: &Place, files: &[&PathBuf], content: Content) -> Result<Vec<Session>, TraceError> {
    place.through(|sink| {
        let mut merge = Merge::new(content, sink);
        for file in files {
            merge.begin("part");
            feed(file, &mut merge)?;
        }
        Ok(())
    })
}

#[test]
fn merged_traces_keep_their_families_under_names_of_their_own() {
    let place = Place::new();
    let path = three_families(&place);
    let sessions = merged(&place, &[&path, &path], Content::Apart).unwrap();
    assert_eq!(sessions.len(), 12);
    assert_eq!(sids(&sessions)[..2], ["part/a", "part/a/child"]);
    assert_eq!(sids(&sessions)[6..8], ["part-2/a", "part-2/a/child"]);
    assert_eq!(sessions[7].parent.as_ref().unwrap().sid(), "part-2/a");
    assert_eq!(start_s(&sessions[8]), 10.0);
}

#[test]
fn equal_block_ids_of_different_files_stay_apart_unless_content_is_shared() {
    let place = Place::new();
    let paths = [place.path("a.jsonl"), place.path("b.jsonl")];
    for path in &paths {
        let (meta, session) = global(7);
        trace_with(path, &meta, &[session]);
    }
    let first = |content| -> Vec<u64> {
        let sessions = merged(&place, &[&paths[0], &paths[1]], content).unwrap();
        let add = sessions
            .iter()
            .map(|s| s.calls[0].blocks.as_ref().unwrap().add[0].0);
        add.collect()
    };
    // The first file uses 7 to 10, so the second begins 11 later.
    assert_eq!(first(Content::Apart), [7, 18]);
    assert_eq!(first(Content::Shared), [7, 7]);
}

#[test]
fn traces_that_measure_differently_are_not_merged() {
    let place = Place::new();
    let (a, b) = (place.path("a.jsonl"), three_families(&place));
    let (meta, session) = global(0);
    trace_with(&a, &meta, &[session]);
    let error = merged(&place, &[&a, &b], Content::Apart)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("differ in size or scope of their prefix blocks"),
        "{error}"
    );
}
