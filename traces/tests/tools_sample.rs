//! Samples of traces, and how far traces are apart.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::tools::{Place, sids, varied};
use common::{call, session};
use trace::TraceError;
use trace::format::{Call, Session};
use trace::generate::{Domain, Draws, Purpose};
use trace::import::{FileSink, ImportOptions};
use trace::stat::{GapClass, Quantity};
use trace::tools::{Band, Clusters, Diff, Pick, Scale, feed};

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
