//! `djinn validate` on runs whose difference is known: a simulation stands in for the GPU.

mod common;

use common::{Place, has};
use flate2::{Compression, write::GzEncoder};
use results::folder::{RunFolder, read_table};
use results::validation::{CLOSED_LOOP, ClosedLoopRow, OPEN_LOOP, OpenLoopRow, RANKING, RankRow};
use std::fs;

const AGENTS: &[&str] = &[
    "--set",
    "model=llama-2-7b",
    "--set",
    "workload.gen=closed-loop-agents",
    "--set",
    "workload.sessions=8",
    "--set",
    "workload.params={ ramp_s = 0.2, turns = 4, first_prompt = 512, append = 64, output = 16, gap_s = 0.4 }",
    "--set",
    "memory.hbm_blocks=200",
    "--set",
    "memory.host_blocks=600",
    "--ops",
];

fn simulate(place: &Place, policy: &str, out: &str, more: &[&str]) {
    let out = place.path(out);
    let to = [
        "run",
        "--policy",
        policy,
        "--out",
        out.to_str().expect("UTF-8"),
    ];
    place.ok(&[&to[..], AGENTS, more].concat());
}

fn closed(place: &Place, quantity: &str) -> ClosedLoopRow {
    let rows: Vec<ClosedLoopRow> = read_table(&place.path("v").join(CLOSED_LOOP)).expect("rows");
    let found = rows.into_iter().find(|row| row.quantity == quantity);
    found.unwrap_or_else(|| panic!("no {quantity}"))
}

#[test]
fn a_run_against_itself_has_no_error_anywhere() {
    let place = Place::new();
    simulate(&place, "swap-on-demand", "sim", &[]);
    simulate(&place, "swap-on-demand", "gpu", &[]);
    let done = place.ok(&["validate", "sim", "gpu", "--out", "v", "--resamples", "200"]);
    // Nothing was stamped in a run that was not replayed.
    assert!(!done.err.contains("stamped"), "{}", done.err);
    has(&done.err, &["gpu is a simulation: what follows says"]);
    has(
        &done.out,
        &[
            "open loop",
            "closed loop: swap-on-demand",
            "wake-up by wake-up",
            "0.00 %",
            "ok (aim 3 %)",
        ],
    );
    let open: Vec<OpenLoopRow> = read_table(&place.path("v").join(OPEN_LOOP)).expect("rows");
    assert!(open.len() > 20);
    // Beyond the rounding of a nanosecond at each change of what runs beside it.
    assert!(
        open.iter()
            .all(|row| row.predicted_ns.abs_diff(row.measured_ns) <= 2)
    );
    let p50 = closed(&place, "wakeup_ns_p50");
    assert_eq!((p50.error, p50.verdict.as_str()), (Some(0.0), "ok"));
    let apart = closed(&place, "wakeup_cdf_distance").simulated;
    assert!(apart.abs() < f64::EPSILON, "{apart}");
    for file in [
        "validation.svg",
        "validation.pdf",
        "validation.png",
        "wakeups.csv",
    ] {
        assert!(place.path("v").join(file).is_file(), "{file}");
    }
}

#[test]
fn copies_that_took_longer_show_in_the_open_loop_with_their_sign() {
    let place = Place::new();
    simulate(&place, "swap-on-demand", "sim", &[]);
    simulate(&place, "swap-on-demand", "gpu", &[]);
    // Every restore of the stand-in took a quarter longer.
    let path = place.path("gpu").join("ops.csv");
    let text = fs::read_to_string(&path).expect("ops");
    let header: Vec<&str> = text.lines().next().expect("a header").split(',').collect();
    let column = |name: &str| header.iter().position(|h| *h == name).expect("a column");
    let (kind, start, end) = (column("kind"), column("start_ns"), column("end_ns"));
    let slower = |line: &str| {
        let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
        if cells[kind] == "h2d" {
            let [from, to]: [u64; 2] = [start, end].map(|at| cells[at].parse().expect("a time"));
            cells[end] = (from + (to - from) * 5 / 4).to_string();
        }
        cells.join(",") + "\n"
    };
    fs::write(&path, text.lines().map(slower).collect::<String>()).expect("ops");
    place.ok(&["validate", "sim", "gpu", "--out", "v", "--resamples", "200"]);
    let open: Vec<OpenLoopRow> = read_table(&place.path("v").join(OPEN_LOOP)).expect("rows");
    let of = |kind: &str| {
        let mut errors: Vec<f64> = open
            .iter()
            .filter(|row| row.kind == kind)
            .map(OpenLoopRow::error)
            .collect();
        errors.sort_by(f64::total_cmp);
        errors[errors.len() / 2]
    };
    // 1 / 1.25 - 1; a longer restore is beside more steps, which the prediction takes into account.
    assert!((of("h2d") + 0.2).abs() < 0.01, "{}", of("h2d"));
    assert!(of("decode").abs() < 0.01, "{}", of("decode"));
    // A prefill follows its restore: it now begins beside it, and the profile says what that costs a step.
    let profile = devices::hardware("h200").expect("it is shipped");
    let slowdown = f64::from(profile.link.h2d.slowdown_ppm) / 1e6;
    assert!(slowdown > 0.01, "nothing to see");
    let prefill = of("prefill");
    assert!(
        (prefill - slowdown).abs() < 0.003,
        "{prefill}, not {slowdown}"
    );
}

#[test]
fn another_machine_is_found_out_by_the_closed_loop_and_policies_are_ranked() {
    let place = Place::new();
    for policy in ["swap-on-demand", "vllm-recompute"] {
        simulate(&place, policy, &format!("sim/{policy}"), &[]);
        let slow = [
            "--set",
            "hardware=a100-80g-pcie4",
            "--set",
            "replay.compute=model",
        ];
        simulate(&place, policy, &format!("gpu/{policy}"), &slow);
    }
    let done = place.ok(&["validate", "sim", "gpu", "--out", "v", "--resamples", "200"]);
    has(&done.out, &["ranking of 2 policies", "missed (aim 3 %)"]);
    has(
        &done.err,
        &["warning: 2 of 2 measured runs stamped and verified"],
    );
    // An H200 is faster than an A100: the simulation is below the "measurement".
    assert!(closed(&place, "wakeup_ns_p50").error.expect("measured") < -0.1);
    let ranks: Vec<RankRow> = read_table(&place.path("v").join(RANKING)).expect("rows");
    assert_eq!((ranks.len(), ranks[0].policies), (4, 2));
}

#[test]
fn runs_of_different_workloads_are_not_compared() {
    let place = Place::new();
    simulate(&place, "swap-on-demand", "sim", &[]);
    simulate(&place, "swap-on-demand", "gpu", &["--set", "seed=2"]);
    let error = place.refuses(1, &["validate", "sim", "gpu", "--out", "v"]);
    has(
        &error,
        &["no simulated and measured runs have the same spec"],
    );
    assert!(!place.path("v").exists());
    let folder = RunFolder::open(&place.path("sim")).expect("a run");
    assert!(folder.ops().is_ok());
}

#[test]
fn a_run_without_operations_and_one_without_a_recording_say_what_is_missing() {
    let place = Place::new();
    simulate(&place, "swap-on-demand", "sim", &[]);
    fs::remove_file(place.path("sim").join("ops.csv")).expect("it is there");
    let error = place.refuses(1, &["validate", "sim", "sim", "--out", "v"]);
    has(&error, &["no ops.csv; repeat the run with `--ops`"]);
    let error = place.refuses(1, &["playback", "sim"]);
    has(&error, &["no wakes.log"]);
}

#[test]
fn simulations_with_other_profiles_show_how_far_one_carries() {
    let place = Place::new();
    simulate(&place, "swap-on-demand", "sim/a", &[]);
    let h200 = devices::hardware_text("h200").expect("it is shipped");
    let slower = h200.replace("mixed_ps = ", "mixed_ps = 9");
    fs::write(place.path("slower.toml"), slower).expect("a profile");
    let other = ["--set", "hardware=slower.toml"];
    simulate(&place, "swap-on-demand", "sim/b", &other);
    simulate(&place, "swap-on-demand", "gpu", &[]);
    let done = place.ok(&["validate", "sim", "gpu", "--out", "v", "--resamples", "200"]);
    has(
        &done.out,
        &[
            "swap-on-demand, 1 measured, 2 simulated",
            "spread of simulations",
        ],
    );
    // The first by name is judged.
    let mean = closed(&place, "wakeup_ns_mean");
    assert_eq!(mean.error, Some(0.0));
    assert!(mean.simulated_max > mean.simulated * 1.01, "{mean:?}");
}

#[test]
fn of_draws_of_the_jitter_the_median_is_judged() {
    let place = Place::new();
    let draw = |number: usize| ["--set".to_owned(), format!("engine.jitter={number}")];
    for number in [0, 1, 2, 3] {
        let [set, jitter] = draw(number);
        // Named so that the run without jitter does not come first.
        let out = format!("sim/{}", 9 - number);
        simulate(&place, "swap-on-demand", &out, &[&set, &jitter]);
    }
    simulate(&place, "swap-on-demand", "gpu", &[]);
    let done = place.ok(&["validate", "sim", "gpu", "--out", "v", "--resamples", "200"]);
    has(
        &done.out,
        &["1 measured, 1 simulated, judged by the median of 3 draws"],
    );
    let jct = closed(&place, "jct_ns_mean");
    let (least, most) = (jct.drawn_min.expect("draws"), jct.drawn_max.expect("draws"));
    assert!(least < jct.simulated && jct.simulated < most, "{jct:?}");
    assert_eq!((jct.draws, jct.without_jitter), (3, Some(jct.measured)));
    // They differ by something, and by no more than steps do.
    assert!(most < least * 1.05, "{jct:?}");

    // A draw that lies there twice counts once.
    let [set, again] = draw(1);
    simulate(&place, "swap-on-demand", "sim/x", &[&set, &again]);
    let done = place.ok(&["validate", "sim", "gpu", "--out", "v", "--resamples", "200"]);
    has(&done.out, &["judged by the median of 3 draws"]);
    has(
        &done.err,
        &["sim/x is the run of ", "again, and is left out"],
    );
    assert_eq!(closed(&place, "jct_ns_mean"), jct);

    // Of two cards the one with draws is judged, whichever is named first.
    let h200 = devices::hardware_text("h200").expect("it is shipped");
    let slower = h200.replace("mixed_ps = ", "mixed_ps = 9");
    fs::write(place.path("slower.toml"), slower).expect("a profile");
    let other = ["--set", "hardware=slower.toml"];
    simulate(&place, "swap-on-demand", "sim/0", &other);
    let done = place.ok(&["validate", "sim", "gpu", "--out", "v", "--resamples", "200"]);
    has(
        &done.out,
        &["1 measured, 2 simulated, judged by the median of 3 draws"],
    );
    let beside = closed(&place, "jct_ns_mean");
    assert_eq!((beside.draws, beside.error), (3, jct.error));
    // Another profile under the same name is another card.
    let slowest = h200.replace("mixed_ps = ", "mixed_ps = 99");
    fs::write(place.path("slower.toml"), slowest).expect("a profile");
    simulate(&place, "swap-on-demand", "sim/00", &other);
    let done = place.ok(&["validate", "sim", "gpu", "--out", "v", "--resamples", "200"]);
    has(&done.out, &["1 measured, 3 simulated, judged by the"]);
    for more in ["sim/0", "sim/00"] {
        fs::remove_dir_all(place.path(more)).expect("it is there");
    }

    // Draws alone do not say what a run without is.
    fs::remove_dir_all(place.path("sim/9")).expect("it is there");
    let error = place.refuses(1, &["validate", "sim", "gpu", "--out", "w"]);
    has(
        &error,
        &["is a draw of the jitter", "with `engine.jitter` 0 as well"],
    );

    let [set, jitter] = draw(1);
    let rough = [
        "run",
        "--set",
        "hardware=a100-80g-pcie4",
        "--out",
        "x",
        &set,
        &jitter,
    ];
    let error = place.refuses(1, &[&rough[..], AGENTS].concat());
    has(&error, &["engine.jitter", "was not measured; leave it 0"]);
}

#[test]
fn recordings_are_simulated_again_and_tables_that_no_longer_hold_are_named() {
    let place = Place::new();
    fs::create_dir(place.path("r")).expect("the folder can be written");
    for run in ["djinn-1", "djinn-2"] {
        simulate(&place, "djinn", &format!("r/few/gpu/{run}"), &[]);
    }
    simulate(&place, "ski", "r/few/gpu/ski", &[]);
    let h200 = devices::hardware_text("h200").expect("it is shipped");
    // Of a card whose equal steps take the same there is nothing to draw.
    let steady = h200.replace("jitter = {", "# jitter = {");
    place.write("r/card.toml", steady.as_bytes());
    place.write(
        "r/slower.toml",
        steady.replace("mixed_ps = ", "mixed_ps = 9"),
    );
    place.write("r/jittered.toml", h200.as_bytes());
    let list = "[[recording]]\nname = \"few\"\nload = \"one\"\nkernels = \"none\"\njudge = \"card.toml\"\nlike = \"all\"\n\n[cards]\nall = [\"card.toml\", \"slower.toml\"]\n";
    place.write("r/recordings.toml", list);
    let again = |more: &[&'static str]| [&["revalidate", "r", "--out", "v"], more].concat();
    let done = place.ok(&again(&[]));
    has(
        &done.out,
        &[
            "| kernels: none | `few` |",
            "| decode steps | 0.0 % (0.0) |",
            "| `few` | 1 of 1 | 1 of 1 | 1 of 1 | 1 of 1 | 1 of 1 | 1 of 1 | 1 of 1 | 1 of 1 |",
            // Both policies, and what the slower card simulates.
            "| `few` | 2 | 2 | 2 | 2 |  |",
        ],
    );
    has(&done.err, &["tables.md would become"]);
    assert!(!place.path("r/tables.md").exists());
    let error = place.refuses(1, &again(&["--check"]));
    has(&error, &["4 tables of r no longer hold", "--update"]);
    let done = place.ok(&again(&["--update"]));
    has(&done.err, &["4 tables replaced"]);
    assert_eq!(place.read("r/tables.md"), place.read("v/tables.md"));
    place.ok(&again(&["--check"]));
    // By a card with jitter: 25 draws and one simulation without.
    place.write(
        "r/recordings.toml",
        list.replace("card.toml", "jittered.toml"),
    );
    let done = place.ok(&again(&[]));
    has(&done.out, &["| `few` | 27 | 2 |"]);
    place.write("r/recordings.toml", list);
    // One recording alone does not touch the tables of all.
    place.write("r/tables.md", "of others");
    place.ok(&again(&["--only", "few", "--check"]));
    let error = place.refuses(1, &again(&["--only", "more"]));
    has(&error, &["no recording `more`; there are few"]);
    let error = place.refuses(1, &["revalidate", "--out", "v"]);
    has(
        &error,
        &[
            "validation/recordings.toml: No such file",
            "DIR is relative",
        ],
    );
}

#[test]
fn tables_that_were_compressed_are_those_that_they_were() {
    let place = Place::new();
    let kept = ["--samples", "1", "--log"];
    simulate(&place, "swap-on-demand", "sim", &kept);
    let shown =
        || [&["show", "sim"][..], &["explain", "sim", "3", "1"]].map(|args| place.ok(args).out);
    let before = shown();
    for name in [
        "turns.csv",
        "sessions.csv",
        "ops.csv",
        "samples.csv",
        "decisions.log",
    ] {
        let plain = place.path("sim").join(name);
        let packed = fs::File::create(plain.with_file_name(format!("{name}.gz")));
        let mut gzip = GzEncoder::new(packed.expect("a file"), Compression::fast());
        let mut rows = fs::File::open(&plain).expect("it is there");
        std::io::copy(&mut rows, &mut gzip).expect("room");
        gzip.finish().expect("room");
        fs::remove_file(&plain).expect("it is there");
    }
    assert_eq!(shown(), before);
    // It is still the run with what was asked for, has a figure, and can be compared.
    simulate(&place, "swap-on-demand", "sim", &kept);
    place.ok(&["figures", "sim", "timeline", "--out", "f"]);
    place.ok(&["validate", "sim", "sim", "--out", "v", "--resamples", "200"]);
}
