//! `djinn revalidate`: all recordings of GPUs, judged by today's simulator.

use crate::error::CliError;
use crate::format::plural;
use crate::{command, out, progress};
use figures::{validation, validation_policies};
use lab::run::RunOptions;
use lab::validate::Judged;
use lab::validate::recordings::{Recording, Recordings};
use results::compare::Bootstrap;
use results::folder::write_table;
use results::validation::{
    CLOSED_LOOP, OPERATIONS, OperationsRow, POLICY_ROWS, RANKING, Summary, markdown,
};
use std::fs;
use std::path::{Path, PathBuf};

/// Simulate recorded GPU runs again, and judge the simulator by them: the tables of the validation
///
/// DIR has a list, `recordings.toml`, that says by which calibration each recording is judged, and which calibrations of like cards show how far a
/// simulation carries. The spec of each recorded run is simulated by each of them, and by 25 draws of the jitter of the first, whose median is judged;
/// they are compared as `djinn validate` does.
/// Without `--update` the tables in DIR stay as they are, and those that would change are named.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder with the list and the recordings
    #[arg(value_name = "DIR", default_value = "replay/measurements/validation")]
    folder: PathBuf,
    /// Only these recordings, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Where simulations, tables and figures go
    #[arg(long, value_name = "OUT", default_value = "results/revalidation")]
    out: PathBuf,
    /// Put the new tables in place of those in DIR
    #[arg(long)]
    update: bool,
    /// Print nothing, and fail if a table in DIR is not what comes out
    #[arg(long, conflicts_with = "update")]
    check: bool,
}

const EXAMPLES: &str = "\
Examples:
  djinn revalidate                        all recordings, some 10,000 simulations: a minute and a half on two cores
  djinn revalidate --only registry-5 --check
  djinn revalidate --update               after a change of the simulator, or a recording more
OUT/NAME/validation.png shows the errors of a recording, OUT/validation_policies.png the policies of those with the kernels of the first, simulated against measured.
DIR/NAME/operations.csv, closed_loop.csv and ranking.csv are tables of one recording, DIR/tables.md those of all (with --only it is left alone).";

/// Tables of all recordings.
const TABLES: &str = "tables.md";

pub fn run(args: &Args) -> Result<(), CliError> {
    let mut recordings = Recordings::read(&args.folder)?;
    if !args.only.is_empty() {
        recordings.only(&args.only)?;
    }
    let bar = progress::staged_bar("simulations");
    let mut summaries = Vec::new();
    // Tables as they are now, and where they belong.
    let mut tables: Vec<(PathBuf, PathBuf)> = Vec::new();
    for recording in &recordings.all {
        bar.set_message(recording.name.clone());
        bar.set_position(0);
        let out = args.out.join(&recording.name);
        summaries.push(judge(&recordings, recording, &out, &bar)?);
        let own = recordings.folder_of(recording);
        tables.extend(
            [OPERATIONS, CLOSED_LOOP, RANKING].map(|name| (out.join(name), own.join(name))),
        );
    }
    bar.finish_and_clear();
    let latest = recordings.latest().zip(&summaries);
    let policies = latest.flat_map(|(recording, summary)| summary.policies(&recording.load));
    write_table(&args.out.join(POLICY_ROWS), policies)?;
    validation_policies::make(&args.out, &args.out)?;
    let text = markdown(&summaries);
    let made = args.out.join(TABLES);
    fs::write(&made, &text).map_err(|cause| CliError::file("write", &made, &cause))?;
    if args.only.is_empty() {
        tables.push((made.clone(), args.folder.join(TABLES)));
    }
    let changed = changed(tables)?;
    if args.update {
        for (now, place) in &changed {
            fs::copy(now, place).map_err(|cause| CliError::file("write", place, &cause))?;
        }
        out::note(&format!(
            "{} replaced",
            plural(changed.len() as u64, "table")
        ));
        return Ok(());
    }
    for (now, place) in &changed {
        out::note(&format!(
            "{} would become {}",
            place.display(),
            now.display()
        ));
    }
    if !args.check {
        return out::stdout(&text);
    }
    if !changed.is_empty() {
        return Err(CliError::hinted(
            format!(
                "{} of {} no longer hold",
                plural(changed.len() as u64, "table"),
                args.folder.display()
            ),
            "`djinn revalidate --update` replaces them; what is said of them may have to change, too",
        ));
    }
    Ok(())
}

fn judge(
    recordings: &Recordings,
    recording: &Recording,
    out: &Path,
    bar: &indicatif::ProgressBar,
) -> Result<Summary, CliError> {
    let options = RunOptions {
        command: command::given(),
        commit: command::commit(),
        started: command::started(),
        replace: true,
        ..RunOptions::default()
    };
    let matched = recordings.simulate(recording, &out.join("simulated"), &options, &|total| {
        bar.set_length(total as u64);
        bar.inc(1);
    })?;
    let judged = Judged::of(&matched, None, Bootstrap::default())?;
    judged.write(out)?;
    validation::make(out, out)?;
    let operations = OperationsRow::of(&judged.open);
    write_table(&out.join(OPERATIONS), operations.iter().cloned())?;
    Ok(Summary::new(
        &recording.name,
        &recording.kernels,
        &operations,
        &judged.closed,
        &judged.ranked,
        &judged.pairs,
    ))
}

/// Those of the tables that are not what their places hold.
fn changed(tables: Vec<(PathBuf, PathBuf)>) -> Result<Vec<(PathBuf, PathBuf)>, CliError> {
    let mut changed = Vec::new();
    for (now, place) in tables {
        let made = fs::read(&now).map_err(|cause| CliError::file("read", &now, &cause))?;
        if fs::read(&place).ok() != Some(made) {
            changed.push((now, place));
        }
    }
    Ok(changed)
}
