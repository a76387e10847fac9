//! What must add up at the end of every run.

use crate::common::{Log, Rig};
use engine::record::OpKind;
use model::{Bytes, Direction, Nanos, Session};

/// Checks the accounts of a finished run.
pub fn check(rig: &Rig, log: &Log) {
    every_session_is_finished(rig, log);
    wake_parts_sum(log);
    tokens_are_conserved(rig, log);
    bytes_are_conserved(log);
    if !rig.config.batching.serial {
        little(log);
    }
}

fn every_session_is_finished(rig: &Rig, log: &Log) {
    let scripts = || rig.sessions.iter().flat_map(Session::with_subagents);
    assert_eq!(log.sessions.len(), scripts().count(), "a row per session");
    for script in scripts() {
        let row = log.sessions.iter().find(|row| row.name == script.name);
        let row = row.expect("every session has a row");
        assert_eq!(row.turns as usize, script.turns.len(), "{}", script.name);
        let last = log.turn(row.session.0, row.turns - 1);
        assert_eq!(row.end, last.end, "{}", script.name);
    }
}

fn wake_parts_sum(log: &Log) {
    for turn in &log.turns {
        let sum: Nanos = turn.parts.iter().copied().sum();
        assert_eq!(sum, turn.first_token.since(turn.ready), "{turn:?}");
        assert!(turn.ready <= turn.signal && turn.signal <= turn.scheduled);
        assert!(turn.scheduled < turn.first_token && turn.first_token <= turn.end);
    }
}

/// Every prompt token is hit or computed, once more per preemption; every token but a turn's first costs a decode step.
fn tokens_are_conserved(rig: &Rig, log: &Log) {
    let (mut prefill, mut decode) = (0, 0);
    for op in &log.ops {
        if let OpKind::Steps {
            steps,
            prefill_tokens,
            decode_seqs,
            ..
        } = op.kind
        {
            prefill += u64::from(prefill_tokens);
            decode += u64::from(decode_seqs) * u64::from(steps);
        }
    }
    assert_eq!(prefill, log.summary.prefill_tokens);
    let sum = |of: fn(&engine::record::TurnRecord) -> u32| -> u64 {
        log.turns.iter().map(|turn| u64::from(of(turn))).sum()
    };
    let outputs: u64 = rig
        .sessions
        .iter()
        .flat_map(Session::with_subagents)
        .flat_map(|session| &session.turns)
        .map(|turn| u64::from(turn.output.0))
        .sum();
    assert_eq!(sum(|turn| turn.output.0), outputs);
    assert_eq!(log.summary.output_tokens, outputs);
    let to_compute = sum(|turn| turn.input.0 - turn.hit.0);
    if log.summary.preemptions == 0 {
        assert_eq!(prefill, to_compute);
        assert_eq!(decode, sum(|turn| turn.output.0 - 1));
    } else {
        assert!(prefill + decode >= to_compute, "{prefill} {to_compute}");
    }
    for turn in &log.turns {
        assert!(
            turn.hit < turn.input && turn.restored <= turn.hit,
            "{turn:?}"
        );
    }
}

fn bytes_are_conserved(log: &Log) {
    for direction in Direction::LINK {
        let of_ops: u64 = log
            .ops
            .iter()
            .filter_map(|op| match &op.kind {
                OpKind::Copy {
                    direction: way,
                    bytes,
                    ..
                } if *way == direction => Some(bytes.0),
                _ => None,
            })
            .sum();
        let of_sessions: Bytes = log
            .sessions
            .iter()
            .map(|row| row.moved[direction.index()])
            .sum();
        assert_eq!(of_ops, of_sessions.0, "{direction}");
        if let Some(last) = log.samples.last() {
            assert_eq!(last.moved[direction.index()], of_sessions, "{direction}");
        }
    }
}

/// Little's law, without division: the number of turns in the system, summed over time (from the decision log), is the sum of their
/// times in it (from the turn rows).
fn little(log: &Log) {
    let (mut area, mut inside, mut before) = (0, 0, 0);
    for line in log.text.lines() {
        let mut words = line.split(' ');
        let at = words.next().expect("a time").replace('.', "");
        let at: u128 = at.parse().expect("digits");
        area += inside * (at - before);
        before = at;
        match words.nth(2) {
            Some("ready") => inside += 1,
            Some("done") => inside -= 1,
            _ => {}
        }
    }
    let sojourns = log
        .turns
        .iter()
        .map(|t| u128::from(t.end.since(t.signal).0));
    assert_eq!(area, sojourns.sum::<u128>());
}
