//! A recording of a run on an H200, decided again without one.

use lab::playback::play_back;
use std::path::Path;

#[test]
fn a_run_recorded_on_an_h200_decides_the_same_without_a_gpu() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/h200-swap-on-demand");
    let played = play_back(&folder).unwrap_or_else(|error| panic!("{error}"));
    // Six sessions of three turns; every line of decisions.log.
    assert_eq!(played.turns, 18);
    let lines = std::fs::read_to_string(folder.join("decisions.log")).unwrap();
    assert_eq!(played.decisions, lines.lines().count() as u64);
}
