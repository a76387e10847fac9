use super::closed::{cdf_distance, latencies};
use super::*;
use crate::compare::{Bootstrap, RunSample};
use crate::metrics::{Measure, RunMetrics};
use crate::rows::{SessionRow, TurnRow};

const MEASURE: Measure = Measure {
    warmup_ns: 0,
    until_ns: u64::MAX,
    slo_ns: 0,
    drained: true,
};
const QUICK: Bootstrap = Bootstrap {
    resamples: 200,
    seed: 1,
};

/// 30 sessions of two turns; session `s` wakes up in (10 + s) ms, times `factor`, a tenth of it its own restore.
fn side(factor: f64, swaps: u32) -> Side {
    let mut side = Side {
        sample: RunSample::new("run", "trace", 1),
        ..Side::default()
    };
    let (mut turns, mut sessions) = (Vec::new(), Vec::new());
    for session in 0..30 {
        let latency = (f64::from(10 + session) * 1e6 * factor) as u64;
        for turn in 0..2 {
            let ready_ns = 1_000_000_000 * u64::from(turn);
            turns.push(TurnRow {
                session,
                turn,
                wait_ns: (turn > 0).then_some(1),
                ready_ns,
                signal_ns: ready_ns,
                scheduled_ns: ready_ns,
                first_token_ns: ready_ns + latency,
                end_ns: ready_ns + latency,
                wake_copy_ns: latency / 10,
                wake_prefill_ns: latency - latency / 10,
                ..TurnRow::default()
            });
        }
        sessions.push(SessionRow {
            session,
            end_ns: Some(1_000_000_000 + latency),
            swaps,
            ..SessionRow::default()
        });
    }
    for row in &turns {
        side.sample.turn(row, MEASURE);
        if row.wait_ns.is_some() {
            side.wakeups.insert((row.session, row.turn), row.clone());
        }
    }
    for row in &sessions {
        side.sample.session(row, MEASURE);
    }
    side.metrics = RunMetrics::of_rows(MEASURE, &turns, &sessions).unwrap();
    side
}

fn pair(policy: &str, simulated: Side, measured: Vec<Side>) -> Pair {
    Pair {
        policy: policy.to_owned(),
        simulated,
        drawn: Vec::new(),
        again: Vec::new(),
        measured,
    }
}

fn row_of<'a>(rows: &'a [ClosedLoopRow], quantity: &str) -> &'a ClosedLoopRow {
    rows.iter().find(|row| row.quantity == quantity).unwrap()
}

#[test]
fn a_run_against_itself_has_no_error() {
    let pair = pair("a", side(1.0, 3), vec![side(1.0, 3)]);
    let rows = closed_loop(&pair, QUICK).unwrap();
    for row in &rows {
        assert!(row.error.unwrap_or(0.0).abs() < f64::EPSILON, "{row:?}");
        assert!(row.verdict.is_empty() || row.verdict == "ok", "{row:?}");
    }
    let apart = row_of(&rows, "wakeup_cdf_distance").simulated;
    assert!(apart.abs() < f64::EPSILON, "{apart}");
    assert!(
        wakeups(&pair)
            .iter()
            .all(|row| row.measured_ns == row.simulated_ns)
    );
}

#[test]
fn a_known_error_is_found_again_with_its_sign_and_its_interval() {
    let rows = closed_loop(&pair("a", side(1.1, 3), vec![side(1.0, 3)]), QUICK).unwrap();
    let p50 = row_of(&rows, "wakeup_ns_p50");
    // Rank 15 of 10..=39 ms is 24 ms; simulated 26.4.
    assert_eq!((p50.measured, p50.simulated), (24e6, 26.4e6));
    assert!((p50.error.unwrap() - 0.1).abs() < 1e-9);
    assert_eq!(p50.verdict, "missed");
    assert!(p50.difference_low.unwrap() > 0.0);
    // A tenth of the wake-up is copy: a tenth more of it is a hundredth of the whole.
    let copy = row_of(&rows, "wake_copy_ns_mean");
    assert!((copy.error.unwrap() - 0.01).abs() < 1e-6, "{copy:?}");
    // 1 s and 24.5 ms against 1 s and 26.95 ms: 0.24 %.
    let jct = row_of(&rows, "jct_ns_mean");
    assert!((jct.error.unwrap() - 0.00245 / 1.0245).abs() < 1e-6);
    assert_eq!(jct.verdict, "ok");
}

#[test]
fn an_error_below_the_spread_of_repeats_passes_and_says_so() {
    // Measured at 0.9, 1.0 and 1.1: mean 1.0, spread 0.2; simulated 10 % above.
    let measured = || vec![side(0.9, 3), side(1.0, 3), side(1.1, 3)];
    let rows = closed_loop(&pair("a", side(1.1, 3), measured()), QUICK).unwrap();
    assert_eq!(row_of(&rows, "wakeup_ns_p50").verdict, "ok-within-spread");
    let rows = closed_loop(&pair("a", side(1.3, 3), measured()), QUICK).unwrap();
    assert_eq!(row_of(&rows, "wakeup_ns_p50").verdict, "missed");
}

#[test]
fn one_swap_too_many_in_ninety_is_missed_and_a_p99_of_thirty_wake_ups_is_not_judged() {
    let mut simulated = side(1.0, 3);
    simulated.metrics.swaps += 1;
    let rows = closed_loop(&pair("a", simulated, vec![side(1.0, 3)]), QUICK).unwrap();
    // 91 against 90: 1.1 %, and 1 % is aimed at.
    assert_eq!(row_of(&rows, "swaps").verdict, "missed");
    assert_eq!(row_of(&rows, "wakeup_ns_p99").verdict, "");
}

#[test]
fn the_distance_of_two_distributions_is_the_largest_gap_of_their_shares() {
    // At 2: 2/4 of a and 0/4 of b are at most so long.
    assert_eq!(cdf_distance(&[1, 2, 3, 4], &[3, 4, 5, 6]), Some(0.5));
    assert_eq!(cdf_distance(&[1, 2], &[1, 2]), Some(0.0));
    assert_eq!(cdf_distance(&[], &[1]), None);
}

#[test]
fn policies_in_one_order_agree_and_a_swapped_pair_is_named() {
    let same = |policy, factor| pair(policy, side(factor, 1), vec![side(factor, 1)]);
    let agree = rankings(&[same("a", 1.0), same("b", 1.5), same("c", 2.0)], QUICK).unwrap();
    assert_eq!(agree[1].tau, Some(1.0));
    assert_eq!((agree[1].separated, agree[1].swapped.as_str()), (3, ""));
    // `b` is simulated as the slowest: one of three pairs the other way, tau 1/3.
    let wrong = pair("b", side(3.0, 1), vec![side(1.5, 1)]);
    let swapped = rankings(&[same("a", 1.0), wrong, same("c", 2.0)], QUICK).unwrap();
    assert!((swapped[1].tau.unwrap() - 1.0 / 3.0).abs() < 1e-12);
    let of = |row: &RankRow| (row.swapped.clone(), row.decided, row.contradicted);
    assert_eq!(of(&swapped[1]), ("b/c".to_owned(), 3, 1));
    // One draw of `b` is below `c`: the simulation does not say which is faster.
    let mut unsure = pair("b", side(3.0, 1), vec![side(1.5, 1)]);
    unsure.drawn = vec![side(3.0, 1), side(3.1, 1), side(1.4, 1)];
    let swapped = rankings(&[same("a", 1.0), unsure, same("c", 2.0)], QUICK).unwrap();
    assert_eq!(of(&swapped[1]), ("b/c".to_owned(), 2, 0));
}

#[test]
fn errors_are_summed_up_by_bias_median_and_tail() {
    let summary = ErrorSummary::of([0.1, -0.2, 0.0]).unwrap();
    assert_eq!((summary.count, summary.bias), (3, 0.0));
    assert_eq!((summary.p50, summary.p99), (0.1, 0.2));
    assert_eq!(ErrorSummary::of([]), None);
}

#[test]
fn other_simulations_show_how_far_one_carries_and_change_no_verdict() {
    let mut pair = pair("a", side(1.1, 3), vec![side(1.0, 3)]);
    let alone = closed_loop(&pair, QUICK).unwrap();
    pair.again = vec![side(0.9, 3), side(1.2, 4)];
    let rows = closed_loop(&pair, QUICK).unwrap();
    for (row, alone) in rows.iter().zip(&alone) {
        assert!((row.simulated - alone.simulated).abs() < f64::EPSILON);
        assert_eq!((row.error, &row.verdict), (alone.error, &alone.verdict));
        let [least, most] = [alone.simulated_min, alone.simulated_max];
        assert!((least - alone.simulated).abs() + (most - least).abs() < f64::EPSILON);
    }
    let p50 = row_of(&rows, "wakeup_ns_p50");
    // 0.9 and 1.2 of what 1.0 has.
    assert!((p50.simulated_min / p50.measured - 0.9).abs() < 0.001);
    assert!((p50.simulated_max / p50.measured - 1.2).abs() < 0.001);
    let swaps = row_of(&rows, "swaps");
    assert_eq!((swaps.simulated_min, swaps.simulated_max), (90.0, 120.0));
}

#[test]
fn of_several_draws_the_median_is_judged_and_ranked() {
    let mut a = pair("a", side(1.5, 3), vec![side(1.0, 3)]);
    a.drawn = vec![side(1.4, 3), side(1.0, 4), side(0.9, 3)];
    let rows = closed_loop(&a, QUICK).unwrap();
    let p50 = row_of(&rows, "wakeup_ns_p50");
    assert_eq!((p50.error, p50.verdict.as_str()), (Some(0.0), "ok"));
    assert_eq!((p50.draws, p50.simulated), (3, p50.measured));
    let shares = [p50.drawn_min, p50.drawn_max, p50.without_jitter];
    for (value, share) in shares.into_iter().zip([0.9, 1.4, 1.5]) {
        assert!((value.unwrap() / p50.measured - share).abs() < 0.001);
    }
    // Swaps have a median of their own, whichever draw it is of.
    let swaps = row_of(&rows, "swaps");
    assert_eq!((swaps.simulated, swaps.drawn_max), (90.0, Some(120.0)));
    // One draw lies where the measured run does, and two do not: taken together they would be closer than their median is.
    let apart = row_of(&rows, "wakeup_cdf_distance");
    assert!(apart.drawn_min < Some(apart.simulated) && apart.draws == 3);
    let [pooled, measured] = [&a.drawn, &a.measured].map(|sides| latencies(sides));
    assert!(apart.simulated > cdf_distance(&pooled, &measured).unwrap());
    // By the run without jitter `a` would be behind `b`.
    let b = pair("b", side(1.2, 3), vec![side(1.2, 3)]);
    assert_eq!(rankings(&[a, b], QUICK).unwrap()[0].swapped, "");
}

#[test]
fn policies_whose_runs_overlap_are_not_separated() {
    // Sessions of the first runs lie 20 % apart; the other runs of `b` lie below those of `a`.
    let spread = |first: f64, other: f64| vec![side(first, 3), side(other, 3)];
    let pairs = [
        pair("a", side(1.2, 3), spread(1.0, 1.1)),
        pair("b", side(1.0, 3), spread(1.2, 0.9)),
        pair("c", side(2.0, 3), spread(2.2, 2.0)),
    ];
    for row in rankings(&pairs, QUICK).unwrap() {
        assert_eq!((row.separated, row.swapped.as_str()), (2, ""), "{row:?}");
    }
    // Where `a` ran once, that run lies among those of `b`, or below them.
    let once = |factor| {
        let a = pair("a", side(1.2, 3), vec![side(factor, 3)]);
        rankings(&[a, pairs[1].clone()], QUICK).unwrap()[0].separated
    };
    assert_eq!((once(1.0), once(0.7)), (0, 1));
}

fn summary(name: &str, kernels: &str, pairs: &[Pair]) -> Summary {
    let closed: Vec<ClosedLoopRow> = pairs
        .iter()
        .flat_map(|pair| closed_loop(pair, QUICK).unwrap())
        .collect();
    let ranked = rankings(pairs, QUICK).unwrap();
    let step = |kind: &str, predicted_ns| OpenLoopRow {
        kind: kind.to_owned(),
        measured_ns: 1_000,
        predicted_ns,
        ..OpenLoopRow::default()
    };
    let open = [step("decode", 1_010), step("h2d", 970)];
    let operations = OperationsRow::of(&open);
    Summary::new(name, kernels, &operations, &closed, &ranked, pairs)
}

#[test]
fn tables_say_what_is_met_and_mark_what_is_missed() {
    let several = [
        pair("a", side(1.01, 3), vec![side(1.0, 3), side(1.0, 3)]),
        pair("b", side(2.4, 3), vec![side(2.0, 3), side(2.02, 3)]),
    ];
    let single = [pair("a", side(1.0, 3), vec![side(1.0, 3)])];
    let text = markdown(&[
        summary("new", "today's", &several),
        summary("old", "earlier", &single),
    ]);
    for line in [
        "| kernels: today's | `new` |",
        "| decode steps | 1.0 % (+1.0) |",
        "| copies H2D | **3.0 %** (-3.0) |",
        "| prefill steps | none |",
        "| kernels: earlier | `old` |",
        // P50, JCT and swaps of two that were repeated; the JCT is mostly the wait. Nothing is restored.
        "| `new` | 1 of 2 | 2 of 2 | 2 of 2 |  |  |  |  |  |",
        "| `old` |  |  |  |  | 1 of 1 | 1 of 1 | 1 of 1 |  |",
        "| all | 1 of 2 | 2 of 2 | 2 of 2 |  | 1 of 1 | 1 of 1 | 1 of 1 |  |",
        "| `new` | P50 wake-up | 2 | 1.00 | 1 | 0 | 1 | 0 |",
        // What is missed of the kernels that come first, and how the middle wake-ups differ.
        "| `new` | b | 2 | P50 wake-up, ms: **57.6** / 48.2 (48.0 to 48.5) | +19.4 | no draws | prefill +8.4, copy +0.9 |",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}\n{text}");
    }
    assert!(
        text.contains("| b | 2 | **57.6** / 48.2 (48.0 to 48.5) |"),
        "{text}"
    );
    let missed = |text: &str| {
        let mut sections = text.split("\n## ");
        let section = sections.find(|section| section.starts_with("What is missed"))?;
        Some(section.matches("\n| `").count())
    };
    assert_eq!(missed(&text), Some(1));
    // Of earlier kernels nothing is listed, nor a section where all is met.
    let [met, off] = [("new", &single[..]), ("old", &several[..])]
        .map(|(name, pairs)| summary(name, name, pairs));
    assert_eq!(missed(&markdown(&[met, off])), None);
    // 30 wake-ups have no P99, and one simulation no span.
    assert!(!text.contains("How far one simulation"), "{text}");
    assert!(!text.contains("P99 wake-up of pooled"), "{text}");
}

#[test]
fn the_p99_of_pooled_runs_is_judged_from_a_thousand_wake_ups_on() {
    let runs = |factors: [f64; 34]| factors.map(|factor| side(factor, 0)).to_vec();
    let steady = pair("steady", side(1.1, 0), runs([1.0; 34]));
    let text = markdown(&[summary("one", "today's", &[steady])]);
    // The P99 of 30 wake-ups of 10 to 39 ms is the last; of 1,020 it is 39 ms as well.
    let line = "| `one` | steady | 1020 | 42.9 | 39.0 | 39.0 to 39.0 | **+10.0 %** |";
    assert!(text.contains(line), "{text}");
    let mut spread = [1.0; 34];
    spread[0] = 1.2;
    let unsteady = pair("unsteady", side(1.1, 0), runs(spread));
    let text = markdown(&[summary("one", "today's", &[unsteady])]);
    let line = "| `one` | unsteady | 1020 | 42.9 | 39.0 | 39.0 to 46.8 | +10.0 % |";
    assert!(text.contains(line), "{text}");
}
