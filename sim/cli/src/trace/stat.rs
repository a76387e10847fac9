//! `djinn trace stat`: what is in a trace.

use super::check_target;
use crate::error::CliError;
use crate::out;
use std::path::{Path, PathBuf};
use trace::TraceError;
use trace::format::{Meta, Reader, Session};
use trace::import::{ImportOptions, Sink, import, sniff};
use trace::stat::{Collector, PERCENTILES, Quantiles, Stat};

/// Describe a trace: sessions, tokens, waits, what a cache that forgets nothing would hold
///
/// Takes a session trace, or any format that `djinn trace import` reads. Calls of sub-agents count.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The trace, compressed (.zst, .gz) or not
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write the distributions as CSV, too
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  djinn trace stat weka.jsonl.zst
  djinn trace stat weka.jsonl.zst --csv weka_stat.csv";

pub fn run(args: &Args) -> Result<(), CliError> {
    if let Some(path) = &args.csv {
        check_target(path)?;
    }
    let stat = read(&args.file)?;
    if let Some(path) = &args.csv {
        std::fs::write(path, csv(&stat)).map_err(|cause| {
            // Half a table would be taken for a whole one.
            let _ = std::fs::remove_file(path);
            CliError::file("write", path, &cause)
        })?;
    }
    out::stdout(&stat.to_string())
}

fn read(file: &Path) -> Result<Stat, CliError> {
    let reader = match Reader::open(file) {
        Ok(reader) => reader,
        // Not a session trace: of another tool, perhaps.
        Err(missing @ TraceError::MissingMeta { .. }) => {
            return match sniff(file) {
                Ok(format) => {
                    out::note(&format!(
                        "{}: read as {}, for it begins like one ({})",
                        file.display(),
                        format.name,
                        format.summary
                    ));
                    let mut sink = StatSink(None);
                    let report = import(format, file, &ImportOptions::default(), &mut sink)?;
                    for warning in &report.warnings {
                        out::warn(&warning.to_string());
                    }
                    let collector = sink.0.expect("an importer sends the meta line first");
                    Ok(collector.finish())
                }
                Err(TraceError::Unrecognised { .. }) => Err(missing.into()),
                Err(error) => Err(error.into()),
            };
        }
        Err(error) => return Err(error.into()),
    };
    let meta = reader.meta().clone();
    Ok(Stat::of(&meta, reader)?)
}

/// Counts what an importer hands over, and keeps none of it.
struct StatSink(Option<Collector>);

impl Sink for StatSink {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        self.0 = Some(Collector::new(meta.clone()));
        Ok(())
    }

    fn session(&mut self, session: Session) -> Result<(), TraceError> {
        self.0
            .as_mut()
            .expect("an importer sends the meta line first")
            .add(&session);
        Ok(())
    }
}

/// One row for each distribution; gaps are in seconds.
fn csv(stat: &Stat) -> Vec<u8> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let percentiles = PERCENTILES.map(|p| format!("p{p}"));
    let heading = ["quantity", "count", "mean"].map(str::to_owned).into_iter();
    let heading = heading.chain(percentiles).chain(["max".to_owned()]);
    let row = |name: String, q: &Quantiles| {
        let numbers = [q.mean].into_iter().chain(q.percentiles).chain([q.max]);
        let cells = [name, q.count.to_string()];
        cells
            .into_iter()
            .chain(numbers.map(|value| value.to_string()))
            .collect::<Vec<_>>()
    };
    let rows = stat
        .quantiles
        .iter()
        .map(|r| row(r.name.to_owned(), &r.quantiles));
    let gaps = stat.gaps.iter().map(|gap| {
        let kind = serde_json::to_value(gap.kind).expect("a plain word");
        row(
            format!("gap_{}_s", kind.as_str().unwrap_or_default()),
            &gap.quantiles,
        )
    });
    csv.write_record(heading).expect("memory takes every write");
    for cells in rows.chain(gaps) {
        csv.write_record(cells).expect("memory takes every write");
    }
    csv.into_inner().expect("memory takes every write")
}
