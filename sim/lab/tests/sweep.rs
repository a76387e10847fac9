//! What a sweep takes up of what is there: rows from the same inputs, and no others.

use lab::Wants;
use lab::sweep::{SweepOptions, SweepReport};
use results::folder::RunFolder;
use results::inputs::Inputs;
use results::runs::{RunRow, read_kept, read_runs, write_runs};
use results::spec::{Layers, SweepSpec};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use trace::format::Writer;
use trace::generate::Generator;

/// Two agents in room for one and a half, under two policies.
const CONFIG: &str = "[memory]\nhbm_blocks = 1600\n[workload]\ngen = \"poisson-agents\"\nsessions = 2\n\
                      [sweep]\npolicy = [\"vllm-recompute\", \"djinn\"]\n";

/// A folder with results, a profile and a trace that may be edited.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("h.toml", &devices::hardware_text("h200").unwrap());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Makes a step of the profile's link slower, which every run of `djinn` here feels.
    fn edit_profile(&self) {
        let text = fs::read_to_string(self.path("h.toml")).unwrap();
        let (before, after) = text.split_once("copy_ns = ").expect("a key of a profile");
        self.write("h.toml", &format!("{before}copy_ns = 9{after}"));
    }

    fn options(&self) -> SweepOptions {
        SweepOptions {
            out: self.path("out"),
            threads: Some(1),
            ..SweepOptions::default()
        }
    }

    fn sweep(&self, set: &[&str]) -> SweepSpec {
        let mut set: Vec<String> = set.iter().map(|&set| set.to_owned()).collect();
        set.push(format!("hardware={}", self.path("h.toml").display()));
        let layers = Layers {
            set,
            ..Layers::of_text("test", CONFIG)
        };
        SweepSpec::load(&layers).expect("a valid sweep")
    }

    fn run(&self, set: &[&str]) -> SweepReport {
        lab::sweep::run(&self.sweep(set), &self.options(), &|_| ()).unwrap()
    }

    /// The table, as a sweep into an empty folder gives it.
    fn afresh(&self, set: &[&str]) -> Vec<RunRow> {
        let options = SweepOptions {
            out: self.path("afresh"),
            ..self.options()
        };
        let _ = fs::remove_dir_all(&options.out);
        let report = lab::sweep::run(&self.sweep(set), &options, &|_| ()).unwrap();
        assert_eq!(report.skipped, 0);
        read_runs(&report.runs_csv).unwrap()
    }

    fn rows(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("out/rows")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut rows: Vec<PathBuf> = paths
            .filter(|path| path.extension().is_some_and(|end| end == "csv"))
            .collect();
        rows.sort();
        rows
    }
}

/// How many ran and were there; and why some were made anew, if any were.
fn told(report: &SweepReport) -> (usize, usize, Option<String>) {
    assert_eq!(report.failed, []);
    let renewed = &report.renewed;
    let why = (renewed.runs > 0).then(|| renewed.to_string());
    (report.ran, report.skipped, why)
}

#[test]
fn rows_from_the_same_inputs_are_taken_up() {
    let place = Place::new();
    let first = place.run(&[]);
    assert_eq!(told(&first), (2, 0, None));
    let table = fs::read(&first.runs_csv).unwrap();
    fs::remove_file(&place.rows()[0]).unwrap();
    let again = place.run(&[]);
    assert_eq!(told(&again), (1, 1, None));
    assert_eq!(fs::read(&again.runs_csv).unwrap(), table);
}

#[test]
fn rows_from_another_profile_are_made_anew() {
    let place = Place::new();
    place.run(&[]);
    let before = place.afresh(&[]);
    place.edit_profile();
    // A third run is new, and not told to have been there.
    let set = ["sweep.policy=[\"vllm-recompute\", \"djinn\", \"keep-always\"]"];
    let report = place.run(&set);
    let profile = place.path("h.toml");
    let why = format!(
        "2 runs whose rows were there were made anew: changed hardware profile `{}`",
        profile.display()
    );
    assert_eq!(told(&report), (3, 0, Some(why)));
    let rows = read_runs(&report.runs_csv).unwrap();
    assert_eq!(rows, place.afresh(&set));
    assert_ne!(rows[1], before[1], "the edit changes nothing");
    assert_eq!(told(&place.run(&set)), (0, 3, None));
}

#[test]
fn rows_from_another_trace_are_made_anew_whether_it_is_run_or_resampled() {
    let place = Place::new();
    let trace = place.path("t.jsonl");
    let write = |seed: u64| {
        let agents = Generator::find(
            "poisson-agents",
            toml::Table::from_iter([
                ("agents".to_owned(), 3.into()),
                ("turns".to_owned(), 2.into()),
            ]),
        );
        let mut agents = agents.unwrap().sessions(seed).unwrap();
        let mut writer = Writer::create(&trace, &agents.meta()).unwrap();
        for session in agents.by_ref() {
            writer.write(&session.unwrap()).unwrap();
        }
        writer.finish().unwrap();
    };
    let file = trace.display().to_string();
    let run = format!("workload={{ trace = \"{file}\" }}");
    let arrivals = format!("{{ trace = {{ file = \"{file}\" }} }}");
    let resample = format!(
        "workload={{ gen = \"function-calling\", sessions = 2, params = {{ arrivals = {arrivals} }} }}"
    );
    for (set, what) in [
        (&run, "changed trace `t`"),
        (&resample, "changed workload `function-calling`"),
    ] {
        write(1);
        place.run(&[set]);
        assert_eq!(told(&place.run(&[set])), (0, 2, None));
        write(2);
        let report = place.run(&[set]);
        let (ran, there, why) = told(&report);
        assert_eq!((ran, there), (2, 0));
        assert!(why.is_some_and(|why| why.ends_with(what)), "{what}");
        assert_eq!(read_runs(&report.runs_csv).unwrap(), place.afresh(&[set]));
    }
}

#[test]
fn a_row_that_is_damaged_or_of_an_earlier_version_is_made_anew() {
    let place = Place::new();
    let first = place.run(&[]);
    let rows = place.rows();
    let texts: Vec<String> = rows
        .iter()
        .map(|row| fs::read_to_string(row).unwrap())
        .collect();
    let table = fs::read(&first.runs_csv).unwrap();
    fs::write(&rows[0], &texts[0][..texts[0].len() / 2]).unwrap();
    let (row, _) = read_kept(&rows[1]).unwrap();
    write_runs(&rows[1], &[row]).unwrap();
    let report = place.run(&[]);
    let why = "2 runs whose rows were there were made anew: damaged row (1), row of an earlier version (1)";
    assert_eq!(told(&report), (2, 0, Some(why.to_owned())));
    assert_eq!(fs::read(&report.runs_csv).unwrap(), table);
    let now = rows.iter().map(|row| fs::read_to_string(row).unwrap());
    assert_eq!(now.collect::<Vec<_>>(), texts);
}

#[test]
fn kept_folders_are_those_of_their_rows() {
    let place = Place::new();
    let keep = SweepOptions {
        keep: Some(Wants::default()),
        ..place.options()
    };
    let run =
        |options: &SweepOptions| lab::sweep::run(&place.sweep(&[]), options, &|_| ()).unwrap();
    let inputs = || -> Vec<(Inputs, Inputs)> {
        let of = |row: &PathBuf| {
            let folder = place.path("out/runs").join(row.file_stem().unwrap());
            let folder = RunFolder::open(&folder).unwrap();
            let (_, inputs) = read_kept(row).unwrap();
            (inputs.unwrap(), folder.manifest().inputs.clone().unwrap())
        };
        place.rows().iter().map(of).collect()
    };
    // Rows alone are not all that is asked for.
    run(&place.options());
    assert_eq!(told(&run(&keep)), (2, 0, None));
    assert_eq!(told(&run(&keep)), (0, 2, None));
    let first = inputs();
    assert!(first.iter().all(|(row, folder)| row == folder));
    // Folders follow, asked for or not: nobody is to read one that is not its row's.
    for options in [&keep, &place.options()] {
        let before = inputs();
        place.edit_profile();
        assert_eq!(run(options).renewed.runs, 2);
        let now = inputs();
        assert!(now.iter().all(|(row, folder)| row == folder));
        assert_ne!(now, before);
    }
    assert_eq!(fs::read_dir(place.path("out/runs")).unwrap().count(), 2);
}

#[test]
fn a_profile_that_changes_under_a_sweep_ends_its_runs() {
    let place = Place::new();
    // The first that is heard of a sweep: what there is has been looked at, and nothing has run.
    let edit = |progress: lab::sweep::SweepProgress| {
        if progress.done == 0 {
            place.edit_profile();
        }
    };
    let report = lab::sweep::run(&place.sweep(&[]), &place.options(), &edit).unwrap();
    assert_eq!((report.ran, report.failed.len()), (0, 2));
    let (_, why) = &report.failed[0];
    assert!(
        why.starts_with("changed while runs were made: hardware profile"),
        "{why}"
    );
    assert_eq!(place.rows(), [] as [&Path; 0]);
}

#[test]
fn a_run_whose_profile_is_gone_fails_although_its_row_is_there() {
    let place = Place::new();
    place.run(&[]);
    fs::remove_file(place.path("h.toml")).unwrap();
    let report = place.run(&[]);
    assert_eq!((report.ran, report.skipped, report.failed.len()), (0, 0, 2));
    assert!(report.failed[0].1.contains("h.toml"), "{:?}", report.failed);
    assert_eq!(read_runs(&report.runs_csv).unwrap(), []);
}

#[test]
fn a_row_is_told_as_its_sweep_asks() {
    let place = Place::new();
    let axis = ["sweep.\"memory.hbm_blocks\"=[1600]"];
    let params = |report: &SweepReport| {
        let rows = read_runs(&report.runs_csv).unwrap();
        rows.into_iter()
            .map(|row| row.id.params)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        params(&place.run(&axis)),
        ["{\"memory.hbm_blocks\":1600}"; 2]
    );
    let plain = place.run(&[]);
    assert_eq!(told(&plain), (0, 2, None));
    assert_eq!(params(&plain), ["{}"; 2]);
}
