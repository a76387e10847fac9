//! From trace to workload: starts, waits, limits.

mod common;

use common::run::{DEFAULT, ms, observed, open, plain, run, starting};
use common::{call, session};
use model::{GapKind, Nanos, Time, Tokens};
use trace::TraceError;
use trace::format::{self, Call, Extra, GapSemantics, Meta, Millis, Nullable};
use trace::workload::{Timing, TooLong, WorkloadOptions};

#[test]
fn sessions_come_in_order_of_their_start_and_the_first_starts_at_zero() {
    let trace = [
        starting("late", 9_000),
        starting("b", 4_000),
        starting("c", 4_000),
    ];
    let (sessions, report) = plain(&trace, &DEFAULT);
    let order: Vec<(&str, u64)> = sessions
        .iter()
        .map(|s| (s.name.as_str(), s.start.0 / 1_000_000))
        .collect();
    // Equal starts stay in file order.
    assert_eq!(order, [("b", 0), ("c", 0), ("late", 5_000)]);
    assert_eq!((report.sessions, report.turns), (3, 6));
    let turn = &sessions[0].turns[1];
    assert_eq!(
        (turn.gap, turn.gap_kind, turn.input, turn.keep),
        (ms(1_000), GapKind::Tool, Tokens(30), Tokens(12))
    );
}

#[test]
fn a_rate_draws_arrivals_that_do_not_depend_on_how_many_sessions_run() {
    let trace: Vec<_> = (0..300).map(|i| starting(&format!("s{i}"), 0)).collect();
    let starts = |options: &WorkloadOptions| -> Vec<Time> {
        plain(&trace, options)
            .0
            .iter()
            .map(|session| session.start)
            .collect()
    };
    let all = starts(&WorkloadOptions {
        rate: Some(2.0),
        ..DEFAULT
    });
    let few = starts(&WorkloadOptions {
        rate: Some(2.0),
        sessions: Some(7),
        ..DEFAULT
    });
    assert_eq!(few[..], all[..7]);
    // 300 arrivals at 2/s: 150 s, standard deviation 8.7 s; four are allowed.
    let last = all[299].since(Time::ZERO).as_secs_f64();
    assert!((115.0..185.0).contains(&last), "{last}");
    assert_eq!(
        all[0].0, 149_485_451,
        "-ln(u) / 2 = 0.29897 / 2, by an independent implementation"
    );
}

#[test]
fn without_a_common_clock_a_rate_is_demanded() {
    let x = Extra::from_iter([("common_clock".to_owned(), false.into())]);
    let meta = Meta {
        x: Some(x),
        ..Meta::default()
    };
    let error = open(&meta, &[starting("a", 0)], &DEFAULT).unwrap_err();
    assert!(
        error.to_string().contains("no common clock") && error.to_string().contains("set `rate`")
    );
    let unknown = format::Session {
        start_ms: Nullable::Null,
        ..starting("a", 0)
    };
    assert!(matches!(
        open(&Meta::default(), &[unknown], &DEFAULT),
        Err(TraceError::NoCommonClock { .. })
    ));
    assert_eq!(
        run(
            &meta,
            &[starting("a", 0)],
            &WorkloadOptions {
                rate: Some(1.0),
                ..DEFAULT
            }
        )
        .0
        .len(),
        1
    );
}

#[test]
fn api_scaled_timing_moves_what_follows_a_call_by_what_it_takes_longer() {
    let at = |id, ms, api| Call {
        at_ms: Some(Millis::from_millis(ms)),
        observed: Some(observed(api)),
        ..call(id, 10 + 30 * id, 2)
    };
    let trace = [session(
        "a",
        vec![at(0, 0, 2_000), at(1, 5_000, 1_000), at(2, 7_000, 500)],
    )];
    let scaled = |scale| WorkloadOptions {
        timing: Timing::ApiScaled,
        api_scale: Some(scale),
        ..DEFAULT
    };
    let times = |options: &WorkloadOptions| {
        let (sessions, _) = plain(&trace, options);
        let times = sessions[0]
            .turns
            .iter()
            .skip(1)
            .map(|turn| turn.at.unwrap());
        times.collect::<Vec<_>>()
    };
    // Gaps are 3 s and 1 s. Twice as slow: 4 + 3 = 7, and 7 + 2 + 1 = 10. Instant: 3 and 4. As recorded: 5 and 7.
    assert_eq!(times(&scaled(2.0)), [ms(7_000), ms(10_000)]);
    assert_eq!(times(&scaled(0.0)), [ms(3_000), ms(4_000)]);
    assert_eq!(times(&scaled(1.0)), [ms(5_000), ms(7_000)]);
    // Gaps of 1 s at most.
    let capped = WorkloadOptions {
        gap_cap_s: Some(1.0),
        ..scaled(1.0)
    };
    assert_eq!(times(&capped), [ms(3_000), ms(5_000)]);
    let unknown = [session(
        "a",
        vec![
            call(0, 10, 2),
            Call {
                at_ms: Some(Millis::from_millis(1)),
                ..call(1, 40, 2)
            },
        ],
    )];
    let error = open(&Meta::default(), &unknown, &scaled(1.0))
        .unwrap_err()
        .to_string();
    assert!(error.contains("session `a`, call 0"), "{error}");
}

#[test]
fn original_timing_waits_from_the_recorded_end_to_the_recorded_start() {
    let at = |id, ms, api: Option<u64>| Call {
        at_ms: Some(Millis::from_millis(ms)),
        observed: api.map(observed),
        ..call(id, 10 + 30 * id, 2)
    };
    let calls = vec![
        at(0, 500, Some(2_500)),
        at(1, 6_000, None),
        at(2, 6_700, Some(1_000)),
        at(3, 7_000, Some(1)),
    ];
    let options = WorkloadOptions {
        timing: Timing::Original,
        ..DEFAULT
    };
    let (sessions, report) = plain(
        &[starting("b", 0), session("a", calls.clone())].map(|mut s| {
            if s.sid == "b" {
                s.calls
                    .iter_mut()
                    .for_each(|c| c.at_ms = Some(Millis::from_millis(u64::from(c.id) * 10_000)));
            }
            s
        }),
        &options,
    );
    // "a" starts at 500 ms. 6,000 - 3,000; 6,700 - 6,000 as the service time is unknown; 7,000 - 7,700 is at least 0.
    assert_eq!(sessions[1].start, Time(500_000_000));
    let gaps: Vec<Nanos> = sessions[1].turns.iter().map(|t| t.gap).collect();
    assert_eq!(gaps, [ms(0), ms(3_000), ms(700), ms(0)]);
    // Each turn comes at its recorded time after the first, whatever the turns before take.
    let times: Vec<_> = sessions[1].turns.iter().map(|t| t.at).collect();
    assert_eq!(
        times,
        [None, Some(ms(5_500)), Some(ms(6_200)), Some(ms(6_500))]
    );
    // Call 1 of "a" and call 0 of "b" have no service time.
    assert_eq!(report.gaps_with_service_time, 2);
    let error = open(&Meta::default(), &[starting("a", 0)], &options)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("needs `at_ms`") && error.contains("think-only"),
        "{error}"
    );
}

#[test]
fn start_to_start_gaps_lose_the_recorded_service_time() {
    let meta = Meta {
        gap_semantics: GapSemantics::StartToStart,
        ..Meta::default()
    };
    let calls = vec![
        Call {
            observed: Some(observed(300)),
            ..call(0, 10, 2)
        },
        call(1, 30, 4),
        call(2, 50, 4),
    ];
    let (sessions, report) = run(&meta, &[session("a", calls)], &DEFAULT);
    let gaps: Vec<Nanos> = sessions[0].turns.iter().map(|t| t.gap).collect();
    assert_eq!(gaps, [ms(0), ms(700), ms(1_000)]);
    assert_eq!(report.gaps_with_service_time, 1);
}

#[test]
fn long_waits_are_capped_and_counted() {
    let options = WorkloadOptions {
        gap_cap_s: Some(0.25),
        ..DEFAULT
    };
    let (sessions, report) = plain(&[starting("a", 0)], &options);
    assert_eq!(sessions[0].turns[1].gap, ms(250));
    assert_eq!(report.gaps_capped, 1);
    assert_eq!(report.warnings(), ["1 waits shortened to gap_cap_s"]);
}

#[test]
fn a_context_above_the_limit_ends_the_run_the_session_or_its_presence() {
    // Contexts 12, 34, 120 and 9.
    let long = session(
        "long",
        vec![
            call(0, 10, 2),
            call(1, 30, 4),
            call(2, 100, 20),
            call(3, 8, 1),
        ],
    );
    let trace = [long, starting("short", 0)];
    let limit = |too_long| WorkloadOptions {
        max_context: Some(40),
        too_long,
        ..DEFAULT
    };
    let error = open(&Meta::default(), &trace, &limit(TooLong::Error))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("session `long`, call 2 needs 120 tokens") && error.contains("40"),
        "{error}"
    );

    let (sessions, report) = plain(&trace, &limit(TooLong::TruncateSession));
    assert_eq!(
        sessions.iter().map(|s| s.turns.len()).collect::<Vec<_>>(),
        [2, 2]
    );
    assert_eq!(
        (
            report.sessions_truncated,
            report.sessions_skipped,
            report.turns_cut
        ),
        (1, 0, 2)
    );

    let (sessions, report) = plain(&trace, &limit(TooLong::SkipSession));
    assert_eq!(
        sessions.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
        ["short"]
    );
    assert_eq!(
        (
            report.sessions_truncated,
            report.sessions_skipped,
            report.turns_cut
        ),
        (0, 1, 4)
    );

    // Cut before the first turn: nothing is left. A skipped session does not count towards `sessions`.
    let options = WorkloadOptions {
        max_context: Some(11),
        sessions: Some(1),
        ..limit(TooLong::TruncateSession)
    };
    let tiny = session("tiny", vec![call(0, 5, 2)]);
    let (sessions, report) = plain(&[trace[0].clone(), tiny], &options);
    assert_eq!(
        sessions.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
        ["tiny"]
    );
    assert_eq!((report.sessions_skipped, report.turns_cut), (1, 4));
}

#[test]
fn options_that_make_no_sense_are_named() {
    let error = |options: WorkloadOptions| {
        open(&Meta::default(), &[starting("a", 0)], &options)
            .unwrap_err()
            .to_string()
    };
    assert!(
        error(WorkloadOptions {
            rate: Some(0.0),
            ..DEFAULT
        })
        .contains("`rate` = 0")
    );
    assert!(
        error(WorkloadOptions {
            gap_cap_s: Some(-1.0),
            ..DEFAULT
        })
        .contains("`gap_cap_s` = -1")
    );
    assert!(
        error(WorkloadOptions {
            sessions: Some(0),
            ..DEFAULT
        })
        .contains("`sessions` = 0")
    );
    let options: Result<WorkloadOptions, _> =
        toml::from_str("timing = \"think-only\"\ntoo_long = \"skip-session\"\nmax = 3");
    assert!(
        options
            .unwrap_err()
            .to_string()
            .contains("unknown field `max`")
    );
}
