//! A result that was made from another profile than the one of that name today is not passed over in silence.

mod common;

use common::{Place, TINY, has};

#[test]
fn run_refuses_a_folder_of_the_same_run_from_another_profile_and_says_which() {
    let place = Place::new();
    let profile = devices::hardware_text("h200").expect("it is shipped");
    place.write("mine.toml", profile.as_bytes());
    let args = ["--set", "hardware=mine.toml", "--out", "a"];
    let first = place.tiny(&args);
    has(
        &place.tiny(&args).err,
        &["a holds this run already; nothing to do"],
    );
    place.write("mine.toml", format!("{profile}# measured again\n"));
    let error = place.refuses(1, &[&["run"], TINY, &args].concat());
    has(
        &error,
        &[
            "a exists and holds this run made with another hardware profile `mine.toml`",
            "remove it or choose another folder",
        ],
    );
    assert_eq!(place.ok(&["show", "a"]).out, first.out, "it is left alone");
    // A comment costs no time: the same results, and the same digest.
    let elsewhere = place.tiny(&["--set", "hardware=mine.toml", "--out", "b"]);
    assert_eq!(elsewhere.out, first.out);
    std::fs::remove_dir_all(place.path("a")).expect("it is there");
    assert_eq!(place.tiny(&args).out, first.out);
}

#[test]
fn compare_says_when_one_name_stood_for_two_profiles() {
    let place = Place::new();
    let profile = devices::hardware_text("h200").expect("it is shipped");
    let run = |out: &str| place.tiny(&["--set", "hardware=mine.toml", "--out", out]);
    place.write("mine.toml", profile.as_bytes());
    run("a");
    place.tiny(&["--out", "c"]);
    place.write("mine.toml", format!("{profile}# measured again\n"));
    run("b");
    let said = place.ok(&["compare", "a", "b"]).err;
    has(
        &said,
        &[
            "warning: not all runs were made with the same hardware profile `mine.toml` as a; a difference may be of that",
        ],
    );
    // Under another name another profile is meant.
    assert_eq!(place.ok(&["compare", "a", "c"]).err, "");
}
