//! The spec as users meet it: texts in, specs or messages out.

mod command_line;
mod round_trip;
mod sweep_table;
mod wrong_file;

use super::*;

fn load(text: &str) -> Result<RunSpec, SpecError> {
    RunSpec::load(&Layers::of_text("run.toml", text))
}

fn error(text: &str) -> String {
    load(text).unwrap_err().to_string()
}

fn sweep(text: &str) -> Result<SweepSpec, SpecError> {
    SweepSpec::load(&Layers::of_text("sweep.toml", text))
}

fn with_set(text: &str, set: &[&str]) -> Result<RunSpec, SpecError> {
    let set = set.iter().map(|&s| s.to_owned()).collect();
    RunSpec::load(&Layers {
        set,
        ..Layers::of_text("run.toml", text)
    })
}

#[track_caller]
fn assert_says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "`{error}` does not say `{part}`");
    }
}
