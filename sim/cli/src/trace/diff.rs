//! `djinn trace diff`: how far two traces are apart.

use super::common::{OnlyArgs, name, tell};
use super::{check_target, write_csv};
use crate::error::CliError;
use crate::out;
use crate::table::Table;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use trace::tools::{Band, Diff, DiffRow, Only, OnlyMatching, feed};

/// Compare two traces: medians and the Kolmogorov-Smirnov distance of every quantity
///
/// The distance is the largest difference between the two distribution functions: 0 for equal ones, 1 for values that do not
/// overlap. The column "5 %" is what two samples of one distribution exceed in 5 % of cases, if values were independent; calls of one
/// session are not, so for quantities per call a larger distance may still be chance.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A session trace, or a file that `djinn trace import` reads
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Waits shorter than this count as equal, for a trace that cannot resolve them
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    gap_floor_s: f64,
    #[command(flatten)]
    only: OnlyArgs,
    /// Add the distance that 95 % of N resamples of A's own sessions stay within: what chance explains
    #[arg(long, value_name = "N", default_value_t = 0)]
    resample: u32,
    /// Seed of the resamples
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the table as CSV, too
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  djinn trace diff weka.jsonl.zst generated.jsonl.zst --gap-floor-s 1 --resample 200
  djinn trace diff monday.jsonl tuesday.jsonl --csv days.csv";

pub fn run(args: &Args) -> Result<(), CliError> {
    if let Some(path) = &args.csv {
        check_target(path)?;
    }
    let only = args.only.only()?;
    let mut band = BTreeMap::new();
    if args.resample > 0 {
        let mut own = Band::default();
        let mut matching = OnlyMatching::new(&only, &name(&args.a), &mut own);
        feed(&args.a, &mut matching)?;
        band = own.distances(args.resample, args.seed, args.gap_floor_s);
    }
    let (a, b) = (collect(&args.a, &only)?, collect(&args.b, &only)?);
    let rows = a.rows(b, args.gap_floor_s, &band);
    if let Some(path) = &args.csv {
        write_csv(path, &rows)?;
    }
    let heading = [
        "quantity",
        "n in A",
        "n in B",
        "p50 A",
        "p50 B",
        "p90 A",
        "p90 B",
        "KS",
        "5 %",
        "95 % of A",
    ];
    let mut table = Table::new(&heading);
    for row in &rows {
        table.row(cells(row));
    }
    out::stdout(&table.render())
}

fn collect(file: &Path, only: &Only) -> Result<Diff, CliError> {
    let mut diff = Diff::default();
    let report = feed(file, &mut OnlyMatching::new(only, &name(file), &mut diff))?;
    tell(file, report);
    Ok(diff)
}

fn cells(row: &DiffRow) -> [String; 10] {
    let number = |value: Option<f64>| match value {
        None => "-".to_owned(),
        Some(value) if value < 10.0 && value.fract() != 0.0 => format!("{value:.3}"),
        Some(value) if value < 1_000.0 && value.fract() != 0.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    };
    let distance = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    [
        row.quantity.clone(),
        row.count_a.to_string(),
        row.count_b.to_string(),
        number(row.p50_a),
        number(row.p50_b),
        number(row.p90_a),
        number(row.p90_b),
        distance(row.ks),
        distance(row.ks_5_percent),
        distance(row.band_95),
    ]
}
