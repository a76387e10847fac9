//! What a `[sweep]` stands for.

use super::*;

#[test]
fn a_sweep_is_the_product_of_its_axes_with_seeds_innermost() {
    let text = "[workload]\ngen = \"g\"\n[sweep]\nseed = \"1..2\"\npolicy = [\"a\", \"b\"]\n\
                \"workload.rate\" = [0.1, 0.2]\n";
    let sweep = sweep(text).unwrap();
    let points: Vec<_> = sweep
        .points()
        .iter()
        .map(|p| {
            (
                p.index,
                p.spec.policy.as_str(),
                p.spec.workload.rate.unwrap(),
                p.spec.seed,
            )
        })
        .collect();
    let expected = [
        (0, "a", 0.1, 1),
        (1, "a", 0.1, 2),
        (2, "a", 0.2, 1),
        (3, "a", 0.2, 2),
        (4, "b", 0.1, 1),
        (5, "b", 0.1, 2),
        (6, "b", 0.2, 1),
        (7, "b", 0.2, 2),
    ];
    assert_eq!(points, expected);
    assert_eq!(sweep.points()[2].params, r#"{"workload.rate":0.2}"#);
    let mut ids: Vec<_> = sweep.points().iter().map(|p| p.spec.run_id()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 8);
}

#[test]
fn a_bare_key_varies_as_a_quoted_one_does() {
    let head = "[workload]\ngen = \"g\"\n[sweep]\n";
    let quoted = sweep(&format!("{head}\"workload.rate\" = [1, 2]\n")).unwrap();
    let bare = sweep(&format!("{head}workload.rate = [1, 2]\n")).unwrap();
    assert_eq!(quoted, bare);
}

#[test]
fn draws_of_the_jitter_may_be_a_range_and_no_draw_is_not_written_down() {
    let head = "[workload]\ngen = \"g\"\n[sweep]\n";
    let swept = |axes: &str| sweep(&format!("{head}{axes}\n")).unwrap();
    let two = swept("engine.jitter = \"1..2\"\npolicy = [\"a\", \"b\"]");
    let order = two
        .points()
        .iter()
        .map(|p| (p.spec.policy.as_str(), p.spec.engine.jitter));
    // Draws of a policy are neighbours, wherever they are written.
    assert!(order.eq([("a", 1), ("a", 2), ("b", 1), ("b", 2)]));
    let sweep = swept("engine.jitter = \"0..2\"");
    let draws: Vec<u32> = sweep
        .points()
        .iter()
        .map(|p| p.spec.engine.jitter)
        .collect();
    assert_eq!(draws, [0, 1, 2]);
    let written = |point: usize| sweep.points()[point].spec.canonical_json();
    // Runs without a draw keep the names that they had before there were any.
    assert!(!written(0).contains("jitter") && written(1).contains("\"jitter\":1"));
}

#[test]
fn a_file_without_a_sweep_is_one_run() {
    let sweep = sweep("seed = 4").unwrap();
    assert_eq!((sweep.len(), sweep.points()[0].spec.seed), (1, 4));
    assert_eq!(sweep.points()[0].params, "{}");
}

#[test]
fn what_a_sweep_varies_is_checked_as_the_file_is() {
    let fails = |text: &str| sweep(text).unwrap_err().to_string();
    let place = |text: &str| format!("[sweep]\n{text}\n");
    assert_says(
        &fails(&place("seed = \"1-20\"")),
        &["sweep.toml:2:8", "`1-20` is no range", "1..20"],
    );
    assert_says(
        &fails(&place("seed = \"9..1\"")),
        &["sweep.toml:2:8", "9 is more than 1"],
    );
    assert_says(
        &fails(&place("policy = \"a\"")),
        &["sweep.toml:2:10", "must be a list"],
    );
    assert_says(
        &fails(&place("policy = []")),
        &["2:10", "the list is empty"],
    );
    assert_says(
        &fails(&place("policy = [\"a\", 3]")),
        &["2:10", "`policy`", "invalid type: integer"],
    );
    assert_says(
        &fails(&place("seed = [1, 2, 1]")),
        &["2:8", "1 is listed twice"],
    );
    assert_says(
        &fails(&place("\"memory.host_gb\" = [1]")),
        &["2:20", "unknown field `host_gb`"],
    );
    assert_says(
        &fails(&place("\"memory.host_gib\" = [1, -2]")),
        &["2:21", "but is -2"],
    );
    assert_says(
        &fails(&place("\"seed.x\" = [1]")),
        &["2:12", "invalid type: map"],
    );
    let below = "seed = 1\n[sweep]\n\"seed.x\" = [1]\n";
    assert_says(
        &fails(below),
        &["3:12", "`seed` holds a value and no further keys"],
    );
    let twice = place("\"memory.host_gib\" = [1]\nmemory.host_gib = [2]");
    assert_says(&fails(&twice), &["is varied twice"]);
    let many = "seed = \"1..1000\"\n\"engine.max_seqs\" = [".to_owned()
        + &(1..=101)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join(", ")
        + "]";
    assert_says(&fails(&place(&many)), &["101000 runs, more than 100000"]);
}

#[test]
fn a_combination_that_makes_no_sense_is_found_before_anything_runs() {
    let text = "[hints]\nend_timeout_s = 5\n[sweep]\n\"hints.end\" = [\"timeout\", \"never\"]\n";
    let error = sweep(text).unwrap_err().to_string();
    assert_says(
        &error,
        &["sweep.toml:2:17", "with `end = \"timeout\"` only"],
    );
}

#[test]
fn capacity_can_be_varied_in_blocks_over_a_file_that_gives_gib() {
    let sweep = sweep("[memory]\nhost_gib = 5\n[sweep]\nmemory.host_blocks = [1, 2]\n").unwrap();
    let memory = &sweep.points()[1].spec.memory;
    assert_eq!((memory.host_gib, memory.host_blocks), (None, Some(2)));
}
