//! The Perfetto file, read back with a reader that knows nothing but the encoding.

mod common;

use common::{Place, has};
use std::collections::BTreeMap;

/// A field of a protobuf message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (&byte, rest) = bytes.split_first().expect("a number ends");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// All fields of a message, in order.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (content, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(content)
            }
            other => panic!("wire type {other} is not written"),
        };
        fields.push((tag >> 3, field));
    }
    fields
}

fn number(message: &[u8], wanted: u64) -> Option<u64> {
    fields(message)
        .into_iter()
        .find_map(|(field, value)| match value {
            Field::Number(value) if field == wanted => Some(value),
            _ => None,
        })
}

fn bytes(message: &[u8], wanted: u64) -> Option<&[u8]> {
    fields(message)
        .into_iter()
        .find_map(|(field, value)| match value {
            Field::Bytes(value) if field == wanted => Some(value),
            _ => None,
        })
}

/// What a timeline holds: names of tracks, events by type, and depth of slices by track at the end.
#[derive(Default)]
struct Read {
    packets: usize,
    tracks: BTreeMap<u64, String>,
    parents: BTreeMap<u64, u64>,
    events: BTreeMap<u64, usize>,
    names: BTreeMap<u64, String>,
}

fn read(file: &[u8]) -> Read {
    let mut read = Read::default();
    let (mut depth, mut last) = (BTreeMap::new(), 0);
    for (field, packet) in fields(file) {
        let Field::Bytes(packet) = packet else {
            panic!("a trace holds packets alone")
        };
        assert_eq!(
            (field, number(packet, 10)),
            (1, Some(1)),
            "one sequence of packets"
        );
        read.packets += 1;
        if let Some(names) = bytes(packet, 12) {
            for (field, name) in fields(names) {
                if let (2, Field::Bytes(name)) = (field, name) {
                    let text =
                        String::from_utf8(bytes(name, 2).expect("a text").to_vec()).expect("UTF-8");
                    let twice = read.names.insert(number(name, 1).expect("an id"), text);
                    assert_eq!(twice, None, "a name is written once");
                }
            }
        }
        if let Some(track) = bytes(packet, 60) {
            let id = number(track, 1).expect("a track has an id");
            let name = bytes(track, 2).expect("a track has a name");
            read.tracks
                .insert(id, String::from_utf8(name.to_vec()).expect("UTF-8"));
            read.parents
                .extend(number(track, 5).map(|parent| (id, parent)));
        }
        if let Some(event) = bytes(packet, 11) {
            let at = number(packet, 8).expect("an event has a time");
            assert!(at >= last, "events are in order of time");
            last = at;
            let (kind, track) = (
                number(event, 9).expect("a type"),
                number(event, 11).expect("a track"),
            );
            assert!(
                read.tracks.contains_key(&track),
                "track {track} was announced"
            );
            assert!(number(event, 10).is_none_or(|name| read.names.contains_key(&name)));
            *read.events.entry(kind).or_default() += 1;
            let depth = depth.entry(track).or_insert(0);
            match kind {
                1 => *depth += 1,
                2 => *depth -= 1,
                _ => {}
            }
            assert!(*depth >= 0, "a slice ends that has not begun");
        }
    }
    assert!(depth.values().all(|depth| *depth == 0), "every slice ends");
    read
}

fn rows(place: &Place, file: &str) -> usize {
    place.read(file).lines().count() - 1
}

#[test]
fn a_timeline_has_a_track_for_each_session_the_gpu_both_directions_and_each_level() {
    let place = Place::new();
    place.tiny(&["--out", "a", "--timeline", "t.pftrace"]);
    let timeline = read(&std::fs::read(place.path("t.pftrace")).expect("written"));
    // 3 sessions and the group that they are in, GPU, D2H, H2D, 7 levels.
    assert_eq!(timeline.tracks.len(), 3 + 1 + 3 + 7);
    let names: Vec<&str> = timeline.tracks.values().map(String::as_str).collect();
    for wanted in [
        "s0 agent-0",
        "s2 agent-2",
        "GPU",
        "D2H link",
        "H2D link",
        "HBM blocks: idle sessions",
        "turns queued",
    ] {
        assert!(names.contains(&wanted), "{names:?}");
    }
    assert_eq!(timeline.parents.len(), 3, "sessions alone are in the group");
    // A turn is a slice with two in it (to the first token, and decode), 27 of 30 follow a wait; and one for each operation.
    let slices = 3 * 30 + 27 + rows(&place, "a/ops.csv");
    assert_eq!((timeline.events[&1], timeline.events[&2]), (slices, slices));
    assert_eq!(
        timeline.events[&4],
        7 * rows(&place, "a/samples.csv"),
        "a count for each level and sample"
    );
    let shown = |line: &&str| {
        let word = line.split(' ').nth(3).expect("a decision");
        !["start", "ready", "done", "end", "copy-start", "copy-end"].contains(&word)
    };
    assert_eq!(
        timeline.events[&3],
        place.read("a/decisions.log").lines().filter(shown).count()
    );
    assert_eq!(
        timeline.packets,
        timeline.tracks.len() + timeline.events.values().sum::<usize>()
    );
}

#[test]
fn a_run_with_a_disk_has_a_track_for_each_way_of_it() {
    let place = Place::new();
    place.tiny(&[
        "--out",
        "a",
        "--timeline",
        "t.pftrace",
        "--policy",
        "cached-attention[host_buffer=1]",
        "--set",
        "memory.disk_gib=10",
    ]);
    let timeline = read(&std::fs::read(place.path("t.pftrace")).expect("written"));
    let names: Vec<&str> = timeline.tracks.values().map(String::as_str).collect();
    assert!(names.contains(&"disk, written"), "{names:?}");
    assert!(place.read("a/ops.csv").contains(",disk-write,"));
}

#[test]
fn a_window_and_a_cap_leave_the_rest_out_and_say_so() {
    let place = Place::new();
    place.tiny(&["--out", "a", "--timeline", "whole"]);
    let done = place.tiny(&[
        "--out",
        "a",
        "--timeline",
        "part",
        "--timeline-sessions",
        "1",
    ]);
    has(&done.err, &["the timeline has tracks for 1 of 3 sessions"]);
    let tracks = |file: &str| {
        read(&std::fs::read(place.path(file)).expect("written"))
            .tracks
            .len()
    };
    assert_eq!(tracks("part"), tracks("whole") - 2);
    place.tiny(&[
        "--out",
        "a",
        "--timeline",
        "none",
        "--timeline-window",
        "900000..900001",
    ]);
    assert_eq!(tracks("none"), tracks("whole") - 3, "no session lives then");
}
