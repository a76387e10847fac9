//! Every figure from made-up results, through the same door as the program. The files stay in the
//! build's temporary folder, to be looked at.

mod synthetic;

use figures::{ALL, FigureError, by_name};
use std::fs;
use std::path::{Path, PathBuf};
use synthetic::{
    POLICIES, SEED_TABLE, samples, turns, write_contradictions, write_ranking, write_run,
    write_sweep, write_trace_stat, write_validation, write_validation_policies,
};

/// A fresh folder that outlives the test.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("figures")
        .join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// Makes one figure and checks that its files are what they claim to be.
fn make(name: &str, from: &Path, out: &Path) -> Vec<PathBuf> {
    let files = by_name(name)
        .expect("a figure of that name")
        .make(from, out)
        .unwrap();
    for file in &files {
        let bytes = fs::read(file).unwrap();
        let magic: &[u8] = match file.extension().unwrap().to_str().unwrap() {
            "svg" => b"<svg",
            "pdf" => b"%PDF",
            "png" => b"\x89PNG",
            _ => continue,
        };
        assert!(bytes.starts_with(magic), "{}", file.display());
    }
    files
}

fn names(files: &[PathBuf]) -> Vec<&str> {
    files
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap())
        .collect()
}

/// Seven policies, two seeds, one setting, samples of one run, a sweep and a seed table.
fn write_everything(from: &Path) {
    for (policy, scale) in POLICIES {
        for seed in 1..=2 {
            let samples = if policy == "djinn" && seed == 1 {
                samples()
            } else {
                Vec::new()
            };
            write_run(
                &from.join("runs"),
                policy,
                seed,
                80,
                &turns(seed, 1_600, scale, 0.9),
                &samples,
            );
        }
    }
    write_sweep(from, &POLICIES, &[10, 20, 40, 80, 120], 5);
    fs::write(from.join("seed_table.csv"), SEED_TABLE).unwrap();
    write_trace_stat(from);
    write_validation(from);
    write_validation_policies(from);
    write_ranking(from);
    write_contradictions(from);
}

#[test]
fn every_figure_is_made_from_a_full_folder_of_results_and_twice_the_same() {
    let from = folder("full/results");
    write_everything(&from);
    let (once, again) = (folder("full/once"), folder("full/again"));
    for figure in &ALL {
        let files = make(figure.name, &from, &once);
        let expected =
            ["svg", "pdf", "png"].map(|extension| format!("{}.{extension}", figure.name));
        assert_eq!(names(&files)[..3], expected, "{}", figure.name);
        let table = |file: &PathBuf| file.extension().is_some_and(|e| e == "csv" || e == "tex");
        let beside = &files[3..];
        assert!(
            !beside.is_empty() && beside.iter().all(table),
            "{}",
            figure.name
        );
        for (one, other) in files.iter().zip(make(figure.name, &from, &again)) {
            assert!(
                fs::read(one).unwrap() == fs::read(&other).unwrap(),
                "{} differs",
                other.display()
            );
        }
    }
}

#[test]
fn an_absent_input_is_named_with_what_would_write_it() {
    let empty = folder("absent/results");
    for figure in &ALL {
        let error = figure.make(&empty, &folder("absent/out")).unwrap_err();
        assert!(matches!(error, FigureError::Missing { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(figure.name) && text.contains(figure.needs),
            "{text}"
        );
        assert!(text.contains(empty.to_str().unwrap()), "{text}");
    }
}

#[test]
fn runs_of_several_settings_get_a_figure_each() {
    let from = folder("settings/results");
    for agents in [20, 80] {
        write_run(&from, "djinn", 1, agents, &turns(1, 200, 1.0, 0.8), &[]);
    }
    let files = make("wakeup_cdf", &from, &folder("settings/out"));
    let pdfs: Vec<PathBuf> = files
        .into_iter()
        .filter(|file| file.extension().is_some_and(|e| e == "pdf"))
        .collect();
    assert_eq!(
        names(&pdfs),
        ["wakeup_cdf_sessions-20.pdf", "wakeup_cdf_sessions-80.pdf"]
    );
}

#[test]
fn one_policy_with_one_wake_up_makes_figures() {
    let from = folder("one/results");
    write_run(
        &from,
        "djinn[margin_ms=20]",
        1,
        1,
        &turns(3, 1, 1.0, 0.1),
        &samples()[..1],
    );
    write_sweep(&from, &POLICIES[4..5], &[10, 20], 1);
    fs::write(
        from.join("seed_table.csv"),
        SEED_TABLE.lines().take(2).collect::<Vec<_>>().join("\n"),
    )
    .unwrap();
    write_trace_stat(&from);
    write_validation(&from);
    write_validation_policies(&from);
    write_ranking(&from);
    write_contradictions(&from);
    let out = folder("one/out");
    for figure in &ALL {
        make(figure.name, &from, &out);
    }
    let svg = fs::read_to_string(out.join("wakeup_cdf.svg")).unwrap();
    assert!(
        svg.contains("djinn (n = 1)"),
        "the only variant needs no parameters"
    );
}

#[test]
fn runs_without_wake_ups_are_refused_only_if_all_are() {
    let from = folder("none/results");
    write_run(&from, "keep-always", 1, 1, &[], &[]);
    let error = by_name("wakeup_cdf")
        .unwrap()
        .make(&from, &folder("none/out"))
        .unwrap_err();
    assert!(
        error.to_string().contains("no turn follows a wait"),
        "{error}"
    );
    write_run(&from, "djinn", 1, 1, &turns(1, 50, 1.0, 0.5), &[]);
    make("wakeup_cdf", &from, &folder("none/out"));
    make("wakeup_breakdown", &from, &folder("none/out"));
}

#[test]
fn six_decades_eight_policies_and_long_names_still_fit() {
    let from = folder("extreme/results");
    let long = "continuum-release[ttl_quantile=0.95,fallback=drop,host_share=0.25,epoch=adaptive]";
    let mut policies = POLICIES.to_vec();
    policies.push((long, 900.0));
    for &(policy, scale) in &policies {
        let scale = scale * if policy == "clairvoyant" { 0.001 } else { 1.0 };
        write_run(&from, policy, 1, 80, &turns(1, 3_000, scale, 1.6), &[]);
    }
    let longer = long.replace("adaptive", "fixed");
    write_run(&from, &longer, 1, 80, &turns(2, 3_000, 400.0, 1.6), &[]);
    policies.push((&longer, 1.7));
    policies[7].1 = 2.0;
    write_sweep(
        &from,
        &policies,
        &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000],
        3,
    );
    let out = folder("extreme/out");
    for name in ["wakeup_cdf", "wakeup_breakdown", "wakeup_vs_agents"] {
        make(name, &from, &out);
    }
    let svg = fs::read_to_string(out.join("wakeup_cdf.svg")).unwrap();
    assert!(
        svg.contains("epoch=fixed]") && svg.contains("=adaptive]"),
        "variants must be told apart"
    );
}

#[test]
fn a_turn_within_the_warm_up_is_not_drawn() {
    let from = folder("warmup/results");
    write_run(&from, "djinn", 1, 80, &turns(1, 10, 1.0, 0.5), &[]);
    let manifest = from.join("djinn_1_80/manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    // Turns are ready every 0.4 s from 0: those at 0, 0.4 and 0.8 s fall within one second.
    fs::write(
        &manifest,
        text.replace("\"warmup_s\": 0.0", "\"warmup_s\": 1.0"),
    )
    .unwrap();
    let out = folder("warmup/out");
    make("wakeup_cdf", &from, &out);
    assert!(
        fs::read_to_string(out.join("wakeup_cdf.svg"))
            .unwrap()
            .contains("djinn (n = 7)")
    );
}

#[test]
fn a_damaged_row_is_reported_with_file_and_line() {
    let from = folder("damaged/results");
    let damaged = SEED_TABLE.replace("124.7", "about two minutes");
    fs::write(from.join("seed_table.csv"), damaged).unwrap();
    let error = by_name("seed_table")
        .unwrap()
        .make(&from, &folder("damaged/out"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("seed_table.csv, line 2") && error.contains("seed_value"),
        "{error}"
    );
}
