//! `djinn trace stat`: what is in a trace.

use super::common::{OnlyArgs, name, tell};
use super::{check_target, write_csv};
use crate::error::CliError;
use crate::out;
use figures::trace_stat;
use results::rows::TraceStatRow;
use std::path::{Path, PathBuf};
use trace::TraceError;
use trace::format::{Meta, Session};
use trace::import::Sink;
use trace::stat::{Collector, LognormalFit, Quantiles, Stat};
use trace::tools::{Only, OnlyMatching, feed};

/// Describe a trace: sessions, tokens, waits, tools, what a cache that forgets nothing would hold
///
/// Takes a session trace, or any format that `djinn trace import` reads. Each row has quantiles and a lognormal through the values above 0:
/// mean and standard deviation of the logarithm, Kolmogorov-Smirnov distance, and Hill's tail index of the largest 5 %.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The trace, compressed (.zst, .gz) or not
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    only: OnlyArgs,
    /// Write the distributions as CSV, too
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the distributions and a figure of them into this folder
    #[arg(long, value_name = "DIR")]
    figure: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  djinn trace stat weka.jsonl.zst
  djinn trace stat weka.jsonl.zst --main-agents --csv weka_stat.csv
  djinn trace stat agentcgroup.jsonl.zst --config claude-haiku-4.5-cloud --figure haiku";

pub fn run(args: &Args) -> Result<(), CliError> {
    if let Some(path) = &args.csv {
        check_target(path)?;
    }
    let stat = read(&args.file, &args.only.only()?)?;
    if let Some(path) = &args.csv {
        write_csv(path, &rows(&stat))?;
    }
    if let Some(folder) = &args.figure {
        std::fs::create_dir_all(folder).map_err(|e| CliError::file("create", folder, &e))?;
        let table = folder.join(trace_stat::TABLE);
        results::folder::write_table(&table, rows(&stat))?;
        for file in trace_stat::make(folder, folder)? {
            out::note(&format!("wrote {}", file.display()));
        }
    }
    out::stdout(&stat.to_string())
}

fn read(file: &Path, only: &Only) -> Result<Stat, CliError> {
    let mut sink = StatSink(None);
    let report = feed(file, &mut OnlyMatching::new(only, &name(file), &mut sink))?;
    tell(file, report);
    Ok(sink.0.expect("the meta line comes first").finish())
}

/// Counts what passes, and keeps none of it.
struct StatSink(Option<Collector>);

impl Sink for StatSink {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        self.0 = Some(Collector::new(meta.clone()));
        Ok(())
    }

    fn session(&mut self, session: Session) -> Result<(), TraceError> {
        let collector = self.0.as_mut().expect("the meta line comes first");
        collector.add(&session);
        Ok(())
    }
}

/// One row for each distribution; times are in seconds.
fn rows(stat: &Stat) -> Vec<TraceStatRow> {
    let row = |quantity: String, q: &Quantiles, fit: Option<&LognormalFit>| {
        let [p5, p25, p50, p75, p90, p95, p99] = q.percentiles;
        TraceStatRow {
            source: stat.source.clone(),
            quantity,
            count: q.count,
            mean: q.mean,
            p5,
            p25,
            p50,
            p75,
            p90,
            p95,
            p99,
            max: q.max,
            lognormal_mu: fit.map(|fit| fit.mu),
            lognormal_sigma: fit.map(|fit| fit.sigma),
            lognormal_ks: fit.map(|fit| fit.ks),
            zero_share: fit.map(|fit| fit.zero_share),
            tail_alpha: fit.and_then(|fit| fit.tail_alpha),
            ..TraceStatRow::default()
        }
    };
    let plain = stat.quantiles.iter();
    let plain = plain.map(|r| row(r.name.clone(), &r.quantiles, r.fit.as_ref()));
    let gaps = stat.gaps.iter().map(|gap| {
        let name = format!("gap_{}_s", gap.kind.name());
        let mut row = row(name, &gap.quantiles, gap.fit.as_ref());
        row.total_s = Some(gap.total_s);
        row.over_60s_share = gap.long_share;
        row.set_survival(gap.survival);
        row
    });
    let tools = stat.tools.iter().map(|tool| {
        let name = format!("tool_{}_s", tool.class);
        let mut row = row(name, &tool.quantiles, tool.fit.as_ref());
        row.total_s = Some(tool.total_s);
        row
    });
    plain.chain(gaps).chain(tools).collect()
}
