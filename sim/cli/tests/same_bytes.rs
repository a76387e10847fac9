//! The same run gives the same bytes, wherever and however it is run.

mod common;

use common::{Place, TINY, names};

#[test]
fn neither_home_nor_locale_nor_temporary_folder_change_a_result() {
    let place = Place::new();
    let run = |out: &str, home: &str, locale: &str, zone: &str| {
        let (home, out) = (
            place.path(home),
            ["--out", out, "--log", "--ops", "--samples", "0.5"],
        );
        std::fs::create_dir_all(&home).expect("the folder can be written");
        let status = place
            .command(&[&["run"], TINY, &out].concat())
            .env("HOME", &home)
            .env("TMPDIR", &home)
            .envs([("LC_ALL", locale), ("LANG", locale), ("TZ", zone)])
            .output()
            .expect("starts")
            .status;
        assert!(status.success());
    };
    run("a", "home/one", "C", "UTC");
    run("b", "home/two", "de_DE.UTF-8", "Asia/Tokyo");
    let digest = |folder: &str| {
        let json = place.ok(&["show", folder, "--json"]).out;
        serde_json::from_str::<serde_json::Value>(&json).expect("JSON")["digest"].clone()
    };
    assert_eq!(digest("a"), digest("b"));
    for file in names(&place.path("a"))
        .iter()
        .filter(|file| *file != "manifest.json")
    {
        assert_eq!(
            place.read(&format!("a/{file}")),
            place.read(&format!("b/{file}")),
            "{file}"
        );
    }
}

#[test]
fn a_sweep_gives_the_same_bytes_on_one_thread_and_on_two() {
    let place = Place::new();
    for threads in ["1", "2"] {
        let args = [
            "sweep",
            "--policy",
            "djinn,clairvoyant",
            "--set",
            "sweep.seed=\"1..3\"",
            "--keep",
            "--threads",
            threads,
            "--out",
            threads,
        ];
        place.ok(&[&args, TINY].concat());
    }
    assert_eq!(place.read("1/runs.csv"), place.read("2/runs.csv"));
    assert_eq!(names(&place.path("1/runs")), names(&place.path("2/runs")));
    for run in names(&place.path("1/runs")) {
        for file in ["turns.csv", "sessions.csv"] {
            let read = |threads: &str| place.read(&format!("{threads}/runs/{run}/{file}"));
            assert_eq!(read("1"), read("2"), "{run}/{file}");
        }
    }
}
