use super::*;
use crate::metrics::RunMetrics;
use crate::runs::{RunIdentity, RunRow};

/// Ten shards of one policy at a load: `ns(shard)` is every latency, saturated where `saturated(shard)`.
fn runs(
    policy: &str,
    (load, surge): (&str, bool),
    setting: Setting,
    ns: impl Fn(u64) -> u64,
    saturated: impl Fn(u64) -> bool,
) -> Vec<RunRow> {
    let label = Label {
        workload: "weka".to_owned(),
        load: load.to_owned(),
        surge,
        setting,
        rate: 0.5,
    };
    let row = |shard| RunRow {
        id: RunIdentity {
            policy: policy.to_owned(),
            seed: shard,
            params: serde_json::to_string(&label).unwrap(),
            ..RunIdentity::default()
        },
        metrics: RunMetrics {
            wakeups: 1_000 + shard,
            jct_count: 20,
            wakeup_ns_mean: Some(ns(shard)),
            wakeup_ns_p50: Some(ns(shard)),
            wakeup_ns_p99: Some(ns(shard)),
            jct_ns_mean: Some(ns(shard)),
            stable: Some(!saturated(shard)),
            ..RunMetrics::default()
        },
    };
    (1..=10).map(row).collect()
}

const KNEE: (&str, bool) = ("knee", false);
const SURGE: (&str, bool) = ("overload", true);
const NEVER: fn(u64) -> bool = |_| false;

fn find<'a>(rows: &'a [DifferenceRow], policy: &str) -> &'a DifferenceRow {
    let wanted = |row: &&DifferenceRow| row.policy == policy && row.metric == "wakeup_mean";
    rows.iter().find(wanted).unwrap()
}

fn order(rows: &[PlaceRow], setting: &str) -> Vec<(String, Option<u64>, u64)> {
    let wanted = |row: &&PlaceRow| row.metric == "wakeup_mean" && row.setting == setting;
    let place = |row: &PlaceRow| (row.spelled.clone(), row.place, row.tied);
    rows.iter().filter(wanted).map(place).collect()
}

#[test]
fn a_policy_that_is_always_half_as_slow_has_a_ratio_of_a_half_though_shards_differ_tenfold() {
    let mut rows = runs("ref", KNEE, Setting::Default, |s| 1_000 * s, NEVER);
    rows.extend(runs("half", KNEE, Setting::Default, |s| 500 * s, NEVER));
    let table = differences(&judged(&rows).unwrap(), "ref");
    // Two policies, four metrics.
    assert_eq!(table.len(), 8);
    let half = find(&table, "half");
    assert!((half.ratio.unwrap() - 0.5).abs() < 1e-12);
    assert!((half.ratio_low.unwrap() - 0.5).abs() < 1e-12 && half.shown());
    // Mean of 500 s minus 1,000 s over s = 1..10: -500 * 5.5.
    assert!((half.difference_ns.unwrap() + 2_750.0).abs() < 1e-9);
    assert!((half.reference_ns.unwrap() - 5_500.0).abs() < 1e-9);
    assert_eq!((half.shards, half.pairs, half.samples_min), (10, 10, 1_001));
    let itself = find(&table, "ref");
    assert!((itself.ratio.unwrap() - 1.0).abs() < 1e-12 && !itself.shown());
}

#[test]
fn a_saturated_shard_enters_no_average_at_a_steady_load_and_all_of_them_at_a_surge() {
    for (load, pairs, ratio) in [(KNEE, 9, 2.0), (SURGE, 10, 2.0 * 50.0_f64.powf(0.1))] {
        let mut rows = runs("ref", load, Setting::Default, |_| 1_000, NEVER);
        // Shard 10 is saturated, and fifty times as slow again.
        let ns = |s| if s == 10 { 100_000 } else { 2_000 };
        rows.extend(runs("slow", load, Setting::Default, ns, |s| s == 10));
        let table = differences(&judged(&rows).unwrap(), "ref");
        let slow = find(&table, "slow");
        assert_eq!((slow.pairs, slow.saturated), (pairs, 1));
        assert!((slow.ratio.unwrap() - ratio).abs() < 1e-9, "{slow:?}");
    }
}

#[test]
fn a_policy_that_is_mostly_saturated_has_no_ratio_and_no_place() {
    let mut rows = runs("ref", KNEE, Setting::Default, |_| 1_000, NEVER);
    rows.extend(runs("full", KNEE, Setting::Default, |_| 1, |s| s > 4));
    rows.extend(runs("slow", KNEE, Setting::Default, |s| 5_000 + s, NEVER));
    let runs = judged(&rows).unwrap();
    let table = differences(&runs, "ref");
    let full = find(&table, "full");
    assert_eq!((full.pairs, full.saturated, full.ratio), (4, 6, None));
    let expected = [
        ("ref".to_owned(), Some(1), 1),
        ("slow".to_owned(), Some(2), 1),
        ("full".to_owned(), None, 1),
    ];
    assert_eq!(order(&places(&runs, &table), "default"), expected);
}

#[test]
fn policies_that_a_shard_orders_either_way_share_a_place() {
    let mut rows = runs("ref", KNEE, Setting::Default, |_| 8_000, NEVER);
    rows.extend(runs(
        "a",
        KNEE,
        Setting::Default,
        |s| 1_000 + 100 * (s % 2),
        NEVER,
    ));
    rows.extend(runs(
        "b",
        KNEE,
        Setting::Default,
        |s| 1_101 - 100 * (s % 2),
        NEVER,
    ));
    rows.extend(runs("c", KNEE, Setting::Default, |s| 2_000 + s, NEVER));
    let runs = judged(&rows).unwrap();
    let table = places(&runs, &differences(&runs, "ref"));
    let expected = [
        ("a".to_owned(), Some(1), 2),
        ("b".to_owned(), Some(1), 2),
        ("c".to_owned(), Some(3), 1),
        ("ref".to_owned(), Some(4), 1),
    ];
    assert_eq!(order(&table, "default"), expected);
}

#[test]
fn a_tuned_ranking_takes_tuned_runs_where_there_are_and_defaults_elsewhere() {
    let mut rows = runs("ref", KNEE, Setting::Default, |_| 1_000, NEVER);
    rows.extend(runs("a", KNEE, Setting::Default, |s| 2_000 + s, NEVER));
    rows.extend(runs("b", KNEE, Setting::Default, |s| 900 + s, NEVER));
    rows.extend(runs("a[k=2]", KNEE, Setting::Tuned, |s| 100 + s, NEVER));
    let runs = judged(&rows).unwrap();
    let table = places(&runs, &differences(&runs, "ref"));
    let names = |setting| {
        let order = order(&table, setting);
        order.into_iter().map(|(name, ..)| name).collect::<Vec<_>>()
    };
    assert_eq!(names("default"), ["b", "ref", "a"]);
    assert_eq!(names("tuned"), ["a[k=2]", "b", "ref"]);
}

#[test]
fn tuned_runs_are_compared_with_the_defaults_of_the_same_policy() {
    let mut rows = runs("ref", KNEE, Setting::Default, |_| 1_000, NEVER);
    rows.extend(runs("a", KNEE, Setting::Default, |s| 2_000 * s, NEVER));
    rows.extend(runs(
        "a[k=2]",
        KNEE,
        Setting::Tuned,
        |s| 500 * s,
        |s| s == 1,
    ));
    let table = tuned(&judged(&rows).unwrap());
    assert_eq!(table.len(), 4, "one policy, four metrics");
    let row = &table[0];
    assert_eq!((row.policy.as_str(), row.tuned.as_str()), ("a", "a[k=2]"));
    // A quarter on every shard; the saturated one is left out.
    assert_eq!(
        (row.pairs, row.tuned_saturated, row.default_saturated),
        (9, 1, 0)
    );
    assert!((row.over_default.unwrap() - 0.25).abs() < 1e-12 && row.shown());
}

#[test]
fn a_table_of_another_sweep_is_refused_with_its_row() {
    let mut rows = runs("ref", KNEE, Setting::Default, |_| 1_000, NEVER);
    rows[1].id.params = r#"{"workload.rate":0.2}"#.to_owned();
    let error = judged(&rows).unwrap_err().to_string();
    assert!(error.starts_with("row 2: `params` holds"), "{error}");
}
