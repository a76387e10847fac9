//! From traces to other traces: families stay together, names stay unique, and every result is a valid trace.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{call, session, trace, trace_with};
use model::Nanos;
use tempfile::TempDir;
use trace::TraceError;
use trace::format::{
    After, Blocks, Call, HashScope, Meta, Millis, Nullable, Parent, ParentLink, Reader, Session,
};
use trace::generate::{Domain, Draws, Purpose};
use trace::import::{FileSink, ImportOptions, Sink};
use trace::stat::{GapClass, Quantity};
use trace::tools::{
    Band, Clusters, Content, Cut, Diff, Head, Merge, Only, OnlyMatching, Pick, Scale, feed,
};

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn trace(&self, name: &str, sessions: &[Session]) -> PathBuf {
        let path = self.path(name);
        trace(&path, sessions);
        path
    }

    /// What a tool makes of a file, written and read back: so it passed every check of the format.
    fn through(
        &self,
        fill: impl FnOnce(&mut dyn Sink) -> Result<(), TraceError>,
    ) -> Result<Vec<Session>, TraceError> {
        let path = self.path("out.jsonl");
        let mut sink = FileSink::new(&path);
        fill(&mut sink)?;
        sink.finish(&[])?;
        Reader::open(&path)?.collect()
    }
}

fn at(second: u64, session: Session) -> Session {
    Session {
        start_ms: Nullable::Value(Millis::from_millis(second * 1_000)),
        ..session
    }
}

/// `sid`, which starts at `second`, and a sub-agent that its second call waits for.
fn family(sid: &str, second: u64) -> [Session; 2] {
    let child = format!("{sid}/child");
    let join = After::Other {
        sid: child.clone(),
        call: 1,
    };
    let mut parent = at(
        second,
        session(sid, vec![call(0, 100, 10), call(1, 200, 10)]),
    );
    parent.calls[1].after = Some(vec![After::Own(0), join]);
    let mut child = at(
        second + 4,
        session(&child, vec![call(0, 50, 5), call(1, 80, 5)]),
    );
    child.parent = Some(ParentLink::Call(Parent {
        sid: sid.to_owned(),
        call: 0,
        offset_ms: Millis::from_millis(3_000),
        join: Some(1),
        ..Parent::default()
    }));
    [parent, child]
}

fn three_families(place: &Place) -> PathBuf {
    let sessions: Vec<Session> = [("a", 0), ("b", 10), ("c", 20)]
        .into_iter()
        .flat_map(|(sid, second)| family(sid, second))
        .collect();
    place.trace("in.jsonl", &sessions)
}

fn sids(sessions: &[Session]) -> Vec<&str> {
    sessions
        .iter()
        .map(|session| session.sid.as_str())
        .collect()
}

fn start_s(session: &Session) -> f64 {
    session.start_ms.value().unwrap().nanos().as_secs_f64()
}

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

/// Sessions with lengths of their own.
fn varied(count: u32) -> Vec<Session> {
    let draws = Draws::new(1, Domain::Agents);
    (0..count)
        .map(|agent| {
            let length = |turn| {
                let draw = draws.at(agent, turn, Purpose::Output);
                (draw.uniform() * 1_000.0) as u32 + 1
            };
            let calls = (0..8).map(|turn| call(turn, 3_000 + length(turn), length(turn + 100)));
            session(&format!("s{agent}"), calls.collect())
        })
        .collect()
}

fn picked(place: &Place, path: &Path, pick: Pick, seed: u64) -> Result<Vec<Session>, TraceError> {
    place.through(|sink| {
        pick.run(path, &ImportOptions::default(), seed, sink)
            .map(drop)
    })
}

#[test]
fn a_smaller_sample_is_part_of_a_larger_one_and_a_seed_decides_which() {
    let place = Place::new();
    let path = place.trace("in.jsonl", &varied(200));
    let of = |count, seed| {
        let sessions = picked(&place, &path, Pick::Count(count), seed).unwrap();
        sids(&sessions)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (few, more, other) = (of(10, 1), of(20, 1), of(10, 2));
    assert_eq!((few.len(), more.len()), (10, 20));
    assert!(few.iter().all(|sid| more.contains(sid)));
    assert_ne!(few, other);
    assert_eq!(of(999, 1).len(), 200);
}

#[test]
fn a_share_takes_about_as_many_and_the_same_ones_from_a_longer_file() {
    let place = Place::new();
    let short = place.trace("short.jsonl", &varied(200));
    let long = place.trace("long.jsonl", &varied(2_000));
    let some = picked(&place, &short, Pick::Share(0.25), 3).unwrap();
    let more = picked(&place, &long, Pick::Share(0.25), 3).unwrap();
    // 500 of 2,000 expected, standard deviation sqrt(2,000 * 0.25 * 0.75) = 19.
    assert!(more.len().abs_diff(500) < 97, "{}", more.len());
    assert_eq!(more[..some.len()], some);
    assert_eq!(picked(&place, &short, Pick::Share(0.0), 3).unwrap(), []);
    assert_eq!(
        picked(&place, &short, Pick::Share(1.0), 3).unwrap().len(),
        200
    );
    let error = picked(&place, &short, Pick::Share(1.5), 3)
        .unwrap_err()
        .to_string();
    assert!(error.contains("a share of 1.5"), "{error}");
}

#[test]
fn copies_and_branches_are_one_cluster_and_its_longest_session_represents_it() {
    let place = Place::new();
    let mut sessions = varied(4);
    // A copy of s1 under another name; a branch of s2: five calls of it and then others, twice as long; four calls of s3 are
    // too few to be more than chance.
    let renumber = |calls: &[Call]| -> Vec<Call> {
        let pairs = calls.iter().zip(0..);
        pairs
            .map(|(c, id)| Call {
                ..call(id, c.input, c.output)
            })
            .collect()
    };
    sessions.push(session("copy", sessions[1].calls.clone()));
    let branch = [
        &sessions[2].calls[3..8],
        &varied(20)[17].calls,
        &varied(20)[18].calls,
    ]
    .concat();
    sessions.push(session("branch", renumber(&branch)));
    let short = [&sessions[3].calls[..4], &varied(20)[19].calls[4..]].concat();
    sessions.push(session("other", renumber(&short)));
    // Calls that are all alike say nothing.
    sessions.push(session("same", renumber(&vec![call(0, 9, 9); 9])));
    sessions.push(session("alike", renumber(&vec![call(0, 9, 9); 7])));
    let path = place.trace("in.jsonl", &sessions);
    let mut clusters = Clusters::default();
    feed(&path, &mut clusters).unwrap();
    assert_eq!(clusters.count(), 7);
    let left = picked(&place, &path, Pick::OnePerCluster, 1).unwrap();
    assert_eq!(
        sids(&left),
        ["s0", "s1", "s3", "branch", "other", "same", "alike"]
    );
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

#[test]
fn a_trace_differs_from_itself_by_nothing_and_from_a_scaled_one_in_its_waits_alone() {
    let place = Place::new();
    let path = place.trace("in.jsonl", &varied(50));
    let slow = place.path("slow.jsonl");
    let mut sink = FileSink::new(&slow);
    feed(&path, &mut Scale::new(3.0, 1.0, "in", &mut sink).unwrap()).unwrap();
    sink.finish(&[]).unwrap();
    let diff = |a: &Path, b: &Path, floor_s| {
        let collect = |path: &Path| {
            let mut diff = Diff::default();
            feed(path, &mut diff).unwrap();
            diff
        };
        collect(a).rows(collect(b), floor_s, &BTreeMap::new())
    };
    for row in diff(&path, &path, 0.0) {
        assert_eq!(row.ks, Some(0.0), "{row:?}");
    }
    for row in diff(&path, &slow, 0.0) {
        // Every wait is 1 s in one and 3 s in the other.
        let expected = if row.quantity.starts_with("gap_") {
            1.0
        } else {
            0.0
        };
        assert_eq!(row.ks, Some(expected), "{row:?}");
    }
    // Seen from 5 s upwards, both are short.
    let rows = diff(&path, &slow, 5.0);
    let gap = rows
        .iter()
        .find(|row| row.quantity == "gap_tool_s")
        .unwrap();
    assert_eq!(
        (gap.ks, gap.p50_a, gap.p50_b),
        (Some(0.0), Some(1.0), Some(3.0))
    );
    // 350 waits on each side: 1.358 sqrt(700 / 350²) = 0.1027.
    assert!((gap.ks_5_percent.unwrap() - 0.1027).abs() < 1e-4);
}

#[test]
fn the_band_of_a_trace_is_what_chance_explains_and_wider_where_calls_of_a_session_are_alike() {
    let place = Place::new();
    // 100 sessions of 20 calls: outputs that differ from call to call, inputs that differ from session to session alone.
    let draws = Draws::new(4, Domain::Agents);
    let value = |agent, turn| (draws.at(agent, turn, Purpose::Output).uniform() * 1e6) as u32 + 1;
    let sessions: Vec<Session> = (0..100)
        .map(|agent| {
            let calls = (0..20).map(|turn| call(turn, value(agent, 99), value(agent, turn)));
            session(&format!("s{agent}"), calls.collect())
        })
        .collect();
    let path = place.trace("in.jsonl", &sessions);
    let mut band = Band::default();
    feed(&path, &mut band).unwrap();
    let distances = band.distances(400, 1, 0.0);
    // Kolmogorov's 95 % point is 1.358 / sqrt(n): of 100 sessions 0.136, of 2,000 independent calls 0.030.
    let of = |quantity| distances[&quantity];
    assert!((0.11..0.15).contains(&of(Quantity::Input)), "{distances:?}");
    assert!(
        (0.02..0.04).contains(&of(Quantity::Output)),
        "{distances:?}"
    );
    // Every wait is 1 s.
    assert!(of(Quantity::Gap(GapClass::Tool)).abs() < 1e-12);
}
