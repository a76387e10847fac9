use super::*;
use crate::metrics::Measure;
use crate::rows::{SessionRow, TurnRow};
use crate::stats::Draws;
use std::slice::from_ref;

const MEASURE: Measure = Measure {
    warmup_ns: 0,
    until_ns: u64::MAX,
    slo_ns: 0,
    drained: true,
};

/// 40 sessions of two turns; session `s` takes `base(s)` ns to each first token, plus `extra(s)`.
fn run(name: &str, seed: u64, extra: impl Fn(u32) -> u64) -> RunSample {
    let mut draws = Draws::new(seed);
    let mut sample = RunSample::new(name, "trace", seed);
    for session in 0..40 {
        let latency = 1_000_000 + draws.bits() % 9_000_000 + extra(session);
        for turn in 0..2 {
            let ready_ns = 100_000_000 * u64::from(turn);
            let row = TurnRow {
                session,
                turn,
                wait_ns: (turn > 0).then_some(1),
                ready_ns,
                first_token_ns: ready_ns + latency,
                end_ns: ready_ns + 2 * latency,
                ..TurnRow::default()
            };
            sample.turn(&row, MEASURE);
        }
        let end_ns = Some(100_000_000 + 2 * latency);
        sample.session(
            &SessionRow {
                session,
                end_ns,
                ..SessionRow::default()
            },
            MEASURE,
        );
    }
    sample
}

fn find(comparison: &Comparison, metric: Metric, statistic: Statistic) -> Difference {
    let wanted = |d: &&Difference| d.metric == metric && d.statistic == statistic;
    comparison.differences.iter().find(wanted).unwrap().clone()
}

#[test]
fn a_run_against_itself_shows_no_difference() {
    let a = run("a", 1, |_| 0);
    let comparison = compare(from_ref(&a), from_ref(&a), Bootstrap::default()).unwrap();
    assert_eq!((comparison.pairs, comparison.sessions), (1, 40));
    assert_eq!(comparison.differences.len(), 4 * 3);
    for difference in &comparison.differences {
        assert!(!difference.shown(), "{difference}");
        assert!(difference.to_string().ends_with("no difference shown"));
    }
}

#[test]
fn a_constant_slowdown_is_found_exactly_though_sessions_differ_by_more() {
    let (a, b) = (run("a", 1, |_| 0), run("b", 1, |_| 500_000));
    let comparison = compare(&[a], &[b], Bootstrap::default()).unwrap();
    let wakeup = find(&comparison, Metric::Wakeup, Statistic::Mean);
    assert_eq!(wakeup.samples, 40);
    assert!((wakeup.difference - 500_000.0).abs() < 1e-3);
    // Every session is slower by the same, so every resample is, too.
    assert!((wakeup.by_session.low - 500_000.0).abs() < 1e-3);
    assert!((wakeup.by_session.high - 500_000.0).abs() < 1e-3);
    assert!(wakeup.shown());
    assert_eq!(
        wakeup.to_string(),
        "wakeup_ns_mean: +0.500 ms [+0.500, +0.500]"
    );
    // A turn takes twice as long as its first token.
    let turn = find(&comparison, Metric::Turn, Statistic::Mean);
    assert!((turn.difference - 1_000_000.0).abs() < 1e-3);
}

#[test]
fn a_change_that_helps_as_many_sessions_as_it_hurts_is_not_shown() {
    let a = run("a", 1, |session| if session % 2 == 0 { 300_000 } else { 0 });
    let b = run("b", 1, |session| if session % 2 == 0 { 0 } else { 300_000 });
    let comparison = compare(&[a], &[b], Bootstrap::default()).unwrap();
    let wakeup = find(&comparison, Metric::Wakeup, Statistic::Mean);
    assert!(wakeup.by_session.low < 0.0 && wakeup.by_session.high > 0.0);
    assert!(!wakeup.shown());
}

#[test]
fn an_interval_over_seeds_needs_five_pairs_and_then_decides() {
    let side = |name: &str, count: u64, extra: u64| -> Vec<_> {
        (1..=count).map(|seed| run(name, seed, |_| extra)).collect()
    };
    let few = compare(&side("a", 4, 0), &side("b", 4, 9), Bootstrap::default()).unwrap();
    assert_eq!(find(&few, Metric::Jct, Statistic::Mean).by_seed, None);
    let mut b = side("b", 5, 9);
    b.reverse(); // the order in which runs are given does not matter
    let many = compare(&side("a", 5, 0), &b, Bootstrap::default()).unwrap();
    let jct = find(&many, Metric::Jct, Statistic::Mean);
    assert_eq!(jct.interval(), jct.by_seed.unwrap());
    assert!((jct.difference - 18.0).abs() < 1e-3 && jct.shown());
}

#[test]
fn equal_settings_give_equal_intervals_and_another_seed_gives_others() {
    let a = [run("a", 1, |_| 0)];
    let b = [run("b", 1, |session| u64::from(session) * 10_000)];
    let once = compare(&a, &b, Bootstrap::default()).unwrap();
    assert_eq!(once, compare(&a, &b, Bootstrap::default()).unwrap());
    let other = compare(
        &a,
        &b,
        Bootstrap {
            seed: 2,
            ..Bootstrap::default()
        },
    )
    .unwrap();
    assert_ne!(once, other);
}

#[test]
fn a_difference_of_independent_noise_is_covered_about_as_often_as_claimed() {
    // 200 comparisons of sides that differ by noise of mean 0: a 95 % interval excludes 0 in about ten;
    // more than 30 would be five standard deviations (3.1) and then some.
    let bootstrap = Bootstrap {
        resamples: 200,
        seed: 3,
    };
    let noise = |seed: u64| {
        move |session: u32| Draws::new(seed * 1_000 + u64::from(session)).bits() % 100_000
    };
    let wrong = (0..200_u64).filter(|&i| {
        let (a, b) = (run("a", i, noise(2 * i)), run("b", i, noise(2 * i + 1)));
        find(
            &compare(&[a], &[b], bootstrap).unwrap(),
            Metric::Wakeup,
            Statistic::Mean,
        )
        .shown()
    });
    let wrong = wrong.count();
    assert!((1..=30).contains(&wrong), "{wrong} of 200");
}

#[test]
fn runs_of_different_seeds_or_traces_are_not_compared() {
    let a = run("a", 1, |_| 0);
    let error = compare(from_ref(&a), &[run("b", 2, |_| 0)], Bootstrap::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("unpaired: `a` (seed 1, draw 0 of the jitter, trace trace)"),
        "{error}"
    );
    let other = RunSample {
        trace: "another".to_owned(),
        ..a.clone()
    };
    assert!(compare(from_ref(&a), &[other], Bootstrap::default()).is_err());
    // Draws of one seed are runs of their own, and draw by draw they are pairs.
    let draws = |policy| {
        [3, 1, 2].map(|draw| RunSample {
            draw,
            ..run(policy, 1, |_| 0)
        })
    };
    assert!(compare(from_ref(&a), &draws("b")[..1], Bootstrap::default()).is_err());
    let pairs = compare(&draws("a"), &draws("b"), Bootstrap::default());
    assert_eq!(pairs.unwrap().pairs, 3);
    let error = compare(from_ref(&a), &[], Bootstrap::default()).unwrap_err();
    assert_eq!(error, CompareError::Empty { a: 1, b: 0 });
    let twice = [
        a.clone(),
        RunSample {
            name: "again".to_owned(),
            ..a.clone()
        },
    ];
    let error = compare(&twice, &[a], Bootstrap::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`a` and `again` have the same trace, seed (1) and draw"),
        "{error}"
    );
}

#[test]
fn what_only_one_side_finished_is_counted_and_left_out() {
    let (a, mut b) = (run("a", 1, |_| 0), run("b", 1, |_| 0));
    b.turns.retain(|&(session, _), _| session != 7);
    b.completion.remove(&7);
    let comparison = compare(from_ref(&a), &[b], Bootstrap::default()).unwrap();
    assert_eq!(comparison.turns_unmatched, [2, 0]);
    assert_eq!(comparison.sessions_unmatched, [1, 0]);
    assert_eq!(comparison.sessions, 39);
    let nothing = RunSample::new("b", "trace", 1);
    let error = compare(from_ref(&a), &[nothing], Bootstrap::default()).unwrap_err();
    assert!(matches!(error, CompareError::Disjoint { .. }));
}
