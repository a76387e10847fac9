//! Files that are wrong: each message names the place.

use super::*;
use miette::Diagnostic;

#[test]
fn an_unknown_key_is_named_with_file_line_column_and_what_is_allowed() {
    let unknown = error("model = \"m\"\n\n[memory]\nhost_gb = 5\n");
    assert_says(
        &unknown,
        &[
            "run.toml:4:1",
            "`memory.host_gb`",
            "unknown field `host_gb`",
        ],
    );
    assert_says(&unknown, &["`host_gib`", "`lane_depth`"]);
    assert_says(
        &error("sede = 1"),
        &["run.toml:1:1", "`sede`", "`seed`", "`sweep`"],
    );
    assert_says(&error("[swep]\nseed = [1]"), &["run.toml:1:2", "`swep`"]);
    assert_says(
        &error("[hints.noise]\nbais = 1.0"),
        &["2:1", "hints.noise.bais"],
    );
}

#[test]
fn a_value_of_the_wrong_type_is_pointed_at() {
    assert_says(
        &error("seed = \"one\""),
        &["run.toml:1:8", "`seed`", "invalid type: string \"one\""],
    );
    assert_says(&error("seed = -1"), &["run.toml:1:8", "`seed`", "-1"]);
    assert_says(
        &error("[engine]\nasync = 1"),
        &["run.toml:2:9", "`engine.async`", "boolean"],
    );
    let choice = error("[engine]\nbatching = \"static\"");
    assert_says(
        &choice,
        &[
            "2:12",
            "`engine.batching`",
            "`static`",
            "`continuous`",
            "`serial`",
        ],
    );
}

#[test]
fn a_syntax_error_is_pointed_at() {
    assert_says(&error("seed = 1\nmodel = llama\n"), &["run.toml:2:"]);
    assert_says(
        &error("seed = 1\nseed = 2\n"),
        &["run.toml:2:1", "duplicate key"],
    );
}

#[test]
fn a_value_that_makes_no_sense_is_pointed_at() {
    let cases = [
        (
            "[memory]\nhost_gib = -1",
            "2:12",
            "must be 0 or more, but is -1",
        ),
        (
            "[memory]\nhbm_gib = nan",
            "2:11",
            "must be more than 0, but is NaN",
        ),
        (
            "[memory]\nhost_gib = 1e30",
            "2:12",
            "must be at most 1048576, which is a PiB, but is 1000000",
        ),
        (
            "[memory]\nutilisation = 1.5",
            "2:15",
            "more than 0 and at most 1, but is 1.5",
        ),
        (
            "[memory]\nlane_depth = 0",
            "2:14",
            "must be at least 1, but is 0",
        ),
        (
            "[memory]\nhbm_gib = 80\nhbm_blocks = 9",
            "3:14",
            "excludes `memory.hbm_gib`",
        ),
        (
            "[memory]\nhost_gib = 80\nhost_blocks = 9",
            "3:15",
            "excludes `memory.host_gib`",
        ),
        (
            "[workload]\nsessions = 5",
            "1:1",
            "give `trace` (a file) or `gen`",
        ),
        (
            "[workload]\ntrace = \"t\"\ngen = \"g\"",
            "3:7",
            "excludes `workload.trace`",
        ),
        (
            "[workload]\ngen = \"g\"\nrate = 0",
            "3:8",
            "must be more than 0",
        ),
        (
            "[workload]\ntrace = \"t\"\nparams = { a = 1 }",
            "3:10",
            "are for a generator",
        ),
        (
            "[workload]\ngen = \"g\"\ntiming = \"original\"",
            "3:10",
            "only `think-only`",
        ),
        ("[hints]\nend = \"timeout\"", "2:7", "needs `end_timeout_s`"),
        (
            "[hints]\nend_timeout_s = 3",
            "2:17",
            "with `end = \"timeout\"` only",
        ),
        (
            "[hints]\nnoise = { drop = 2 }",
            "2:18",
            "must be from 0 to 1, but is 2",
        ),
        ("[measure]\nwarmup_s = inf", "2:12", "must be 0 or more"),
        ("policy = \" \"", "1:10", "must not be empty"),
        ("[faults]\ninject = [\"\"]", "2:10", "must not be empty"),
    ];
    for (text, place, message) in cases {
        assert_says(&error(text), &[&format!("run.toml:{place}: "), message]);
    }
}

#[test]
fn columns_count_characters_and_not_bytes() {
    assert_says(
        &error("model = \"é\"\n[memory] # é\nlane_depth = 0"),
        &["run.toml:3:14"],
    );
    assert_says(&error("memory = { host = \"é\" }"), &["run.toml:1:19"]);
}

#[test]
fn a_diagnostic_shows_the_line() {
    let report = load("[memory]\nhost_gib = -1\n").unwrap_err();
    assert!(report.source_code().is_some() && report.labels().unwrap().count() == 1);
    let mut text = String::new();
    let theme = miette::GraphicalTheme::unicode_nocolor();
    miette::GraphicalReportHandler::new_themed(theme)
        .render_report(&mut text, &report)
        .unwrap();
    assert_says(&text, &["host_gib = -1", "here"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Layers::of_file(std::path::Path::new("no/such.toml")).unwrap_err();
    assert_says(&error.to_string(), &["cannot read no/such.toml"]);
}
