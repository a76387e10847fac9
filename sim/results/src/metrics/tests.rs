use super::*;

const SECOND: u64 = 1_000_000_000;

fn turn(session: u32, wait: Option<u64>, ready: u64, first: u64, end: u64) -> TurnRow {
    TurnRow {
        session,
        turn: u32::from(wait.is_some()),
        wait_ns: wait,
        ready_ns: ready,
        signal_ns: ready,
        scheduled_ns: ready,
        first_token_ns: first,
        end_ns: end,
        input_tokens: 100,
        output_tokens: 11,
        wake_prefill_ns: first - ready,
        ..TurnRow::default()
    }
}

fn session(session: u32, start_ns: u64, end_ns: Option<u64>) -> SessionRow {
    let outcome = if end_ns.is_some() {
        "finished"
    } else {
        "failed: no room"
    };
    SessionRow {
        session,
        start_ns,
        end_ns,
        outcome: outcome.into(),
        ..SessionRow::default()
    }
}

/// No warm-up, one second to the first token.
const MEASURE: Measure = Measure {
    warmup_ns: 0,
    until_ns: u64::MAX,
    slo_ns: SECOND,
    drained: true,
};

fn metrics(measure: Measure, turns: &[TurnRow], sessions: &[SessionRow]) -> RunMetrics {
    RunMetrics::of_rows(measure, turns, sessions).unwrap()
}

#[test]
fn a_run_of_two_sessions_adds_up() {
    let turns = [
        turn(0, None, 0, SECOND, 2 * SECOND), // TTFT 1 s, turn 2 s
        TurnRow {
            hit_tokens: 50, // of 300 prompt tokens in all
            restored_tokens: 16,
            prefetch: "late".into(),
            wake_copy_ns: SECOND,
            wake_prefill_ns: SECOND,
            ..turn(0, Some(SECOND), 3 * SECOND, 5 * SECOND, 6 * SECOND) // wake-up 2 s, turn 3 s
        },
        turn(1, None, SECOND, 2 * SECOND, 10 * SECOND), // TTFT 1 s, turn 9 s
    ];
    let sessions = [
        SessionRow {
            swaps: 1,
            restores: 1,
            d2h_bytes: 7,
            ..session(0, 0, Some(6 * SECOND))
        },
        session(1, SECOND, None),
    ];
    let m = metrics(MEASURE, &turns, &sessions);
    assert_eq!((m.sessions, m.finished, m.failed), (2, 1, 1));
    assert_eq!(
        (m.turns, m.wakeups, m.ttft_count, m.jct_count),
        (3, 1, 2, 1)
    );
    assert_eq!(m.duration_ns, 10 * SECOND);
    assert_eq!(m.wakeup_ns_p99, Some(2 * SECOND));
    assert!(m.wakeup_p99_marked);
    assert_eq!(m.wake_copy_ns_mean, Some(SECOND));
    assert_eq!(m.wake_queue_ns_mean, Some(0));
    assert_eq!(m.ttft_ns_mean, Some(SECOND));
    // Turns of 2, 3 and 9 s.
    assert_eq!(m.turn_ns_mean, Some(14 * SECOND / 3 + 1)); // 4.666..67
    assert_eq!(m.turn_ns_p50, Some(3 * SECOND));
    assert_eq!(m.wake_turn_ns_seed_p99, Some(3 * SECOND));
    // 1, 1 and 8 s for ten tokens after the first.
    assert_eq!((m.tpot_count, m.tpot_ns_p50), (3, Some(SECOND / 10)));
    assert_eq!(m.tpot_ns_p99, Some(8 * SECOND / 10));
    assert_eq!(m.jct_ns_mean, Some(6 * SECOND));
    // Both first turns are within a second; session 0 is not, for its second turn took two, and
    // session 1 failed.
    assert_eq!((m.slo_turns, m.slo_sessions), (2, 0));
    assert_eq!(m.goodput_turns_per_s, Some(0.2));
    assert_eq!(m.output_tokens_per_s, Some(3.3));
    assert_eq!(m.hit_ratio, Some(50.0 / 300.0));
    assert_eq!(
        (m.swaps, m.restores, m.d2h_bytes, m.prefetch_late),
        (1, 1, 7, 1)
    );
    assert_eq!(m.stable, None);
}

#[test]
fn turns_and_sessions_after_the_measured_time_do_not_count() {
    // Measured from 1 s to 5 s: one turn of three, one session of two; 10 tokens over those 4 s.
    let turns = [
        turn(0, None, 0, SECOND, SECOND),
        turn(0, Some(1), 2 * SECOND, 3 * SECOND, 9 * SECOND),
        turn(1, None, 5 * SECOND, 6 * SECOND, 8 * SECOND),
    ];
    let sessions = [
        session(0, SECOND, Some(9 * SECOND)),
        session(1, 5 * SECOND, Some(8 * SECOND)),
    ];
    let measure = Measure {
        warmup_ns: SECOND,
        until_ns: 5 * SECOND,
        ..MEASURE
    };
    let m = metrics(measure, &turns, &sessions);
    assert_eq!((m.turns, m.turns_outside, m.jct_count), (1, 2, 1));
    assert_eq!((m.sessions, m.finished), (2, 2));
    // The run goes on until 9 s, rates do not.
    assert_eq!(m.duration_ns, 8 * SECOND);
    assert_eq!(m.turns_per_s, Some(1.0 / 4.0));
}

#[test]
fn turns_that_begin_in_the_warm_up_do_not_count() {
    let turns = [
        turn(0, None, 0, SECOND, 2 * SECOND),
        turn(0, Some(1), 5 * SECOND, 6 * SECOND, 9 * SECOND),
    ];
    let sessions = [
        session(0, 0, Some(9 * SECOND)),
        session(1, 5 * SECOND, None),
    ];
    let measure = Measure {
        warmup_ns: 5 * SECOND,
        ..MEASURE
    };
    let m = metrics(measure, &turns, &sessions);
    assert_eq!(
        (m.turns, m.turns_outside, m.ttft_count, m.wakeups),
        (1, 1, 0, 1)
    );
    assert_eq!(m.duration_ns, 4 * SECOND);
    assert_eq!(m.ttft_ns_p50, None);
    // A session that arrived in the warm-up has no completion time, but is one of the run's.
    assert_eq!(
        (m.sessions, m.finished, m.failed, m.jct_count),
        (2, 1, 1, 0)
    );
}

#[test]
fn a_run_without_rows_has_empty_metrics_and_not_zeros() {
    let m = metrics(MEASURE, &[], &[]);
    assert_eq!(
        (m.turns, m.wakeup_ns_mean, m.turns_per_s, m.hit_ratio),
        (0, None, None, None)
    );
    assert!(!m.wakeup_p99_marked);
}

#[test]
fn rows_that_cannot_be_true_are_refused() {
    let mut row = turn(4, None, 10, 20, 30);
    row.end_ns = 15;
    let fault = RunMetrics::of_rows(MEASURE, &[row], &[]).unwrap_err();
    assert!(
        fault
            .to_string()
            .contains("session 4: `end_ns` (15 ns) lies before"),
        "{fault}"
    );
    let row = TurnRow {
        prefetch: "soon".into(),
        ..turn(4, None, 10, 20, 30)
    };
    let fault = RunMetrics::of_rows(MEASURE, &[row], &[]).unwrap_err();
    assert!(
        fault
            .to_string()
            .contains("`soon` is no outcome of a prefetch"),
        "{fault}"
    );
}

#[test]
fn the_order_of_rows_does_not_matter() {
    let mut turns: Vec<_> = (0..50)
        .map(|i| {
            turn(
                i,
                Some(1),
                u64::from(i),
                u64::from(i * 3 + 1),
                u64::from(i * 5 + 9),
            )
        })
        .collect();
    let sessions: Vec<_> = (0..50)
        .map(|i| session(i, u64::from(i), Some(999)))
        .collect();
    let forward = metrics(MEASURE, &turns, &sessions);
    turns.reverse();
    assert_eq!(forward, metrics(MEASURE, &turns, &sessions));
}

#[test]
fn held_turns_are_counted_with_their_sessions_and_times() {
    let held = |row: TurnRow, ns| TurnRow {
        wake_hold_ns: ns,
        wake_prefill_ns: row.wake_prefill_ns - ns,
        ..row
    };
    let turns = [
        held(turn(0, None, 0, 10, 20), 3),
        held(turn(0, Some(5), 25, 40, 50), 9),
        held(turn(1, None, 0, 10, 20), 4),
        turn(2, None, 0, 10, 20),
    ];
    let sessions = [0, 1, 2].map(|s| session(s, 0, Some(50)));
    let m = metrics(MEASURE, &turns, &sessions);
    // 3 + 9 + 4 ns in three turns of two sessions.
    assert_eq!((m.held_turns, m.held_sessions), (3, 2));
    assert_eq!((m.held_ns, m.held_ns_max), (16, 9));
}
