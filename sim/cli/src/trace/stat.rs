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
    /// Write it all as CSV, too: a row for each sum, share and distribution
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the same table and a figure of the distributions into this folder
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

/// What there is to say of the trace as a whole, then one row for each distribution; times are in seconds.
fn rows(stat: &Stat) -> Vec<TraceStatRow> {
    let sums = sums(stat).into_iter();
    let plain = stat.quantiles.iter();
    let plain = plain.map(|r| row(stat, r.name.clone(), &r.quantiles, r.fit.as_ref()));
    let gaps = stat.gaps.iter().map(|gap| {
        let name = format!("gap_{}_s", gap.kind.name());
        let mut row = row(stat, name, &gap.quantiles, gap.fit.as_ref());
        row.total_s = Some(gap.total_s);
        row.over_60s_share = gap.long_share;
        row.set_survival(gap.survival);
        row
    });
    let tools = stat.tools.iter().map(|tool| {
        let name = format!("tool_{}_s", tool.class);
        let mut row = row(stat, name, &tool.quantiles, tool.fit.as_ref());
        row.total_s = Some(tool.total_s);
        row
    });
    sums.chain(plain).chain(gaps).chain(tools).collect()
}

/// Counts, shares and rates, each with the number of what it is counted over.
fn sums(stat: &Stat) -> Vec<TraceStatRow> {
    let later = stat.calls.saturating_sub(stat.sessions);
    let arrivals = stat.arrivals.as_ref();
    let [after_human, after_tool] = stat.turnover.probabilities();
    let all = [
        ("sessions", stat.sessions, Some(stat.sessions as f64)),
        ("subagents", stat.sessions, Some(stat.subagents as f64)),
        ("calls", stat.calls, Some(stat.calls as f64)),
        (
            "input_tokens_sum",
            stat.calls,
            Some(stat.input_tokens as f64),
        ),
        (
            "output_tokens_sum",
            stat.calls,
            Some(stat.output_tokens as f64),
        ),
        ("prefix_losses", later, Some(stat.prefix_losses as f64)),
        (
            "infinite_cache_hit_share",
            stat.calls,
            stat.prefix_hit_ratio,
        ),
        (
            "infinite_cache_hit_share_after_first",
            later,
            stat.prefix_hit_ratio_after_first,
        ),
        (
            "provider_cache_share_after_first",
            later,
            stat.cached_ratio_after_first,
        ),
        (
            "calls_with_tools",
            stat.calls,
            Some(stat.calls_with_tools as f64),
        ),
        (
            "calls_with_parallel_tools",
            stat.calls,
            Some(stat.calls_with_parallel_tools as f64),
        ),
        ("human_after_human_share", later, after_human),
        ("human_after_tool_share", later, after_tool),
        ("waiting_share", stat.calls, stat.idle_ratio),
        (
            "arrivals_per_s",
            stat.sessions,
            arrivals.map(|row| row.rate_per_s),
        ),
        (
            "arrival_interval_cv",
            stat.sessions,
            arrivals.map(|row| row.cv),
        ),
        (
            "busiest_minute_over_mean",
            stat.sessions,
            arrivals.map(|row| row.busiest_minute),
        ),
    ];
    let known = all.into_iter().filter(|(_, _, value)| value.is_some());
    known
        .map(|(quantity, count, value)| TraceStatRow {
            source: stat.source.clone(),
            quantity: quantity.to_owned(),
            count,
            value,
            ..TraceStatRow::default()
        })
        .collect()
}

fn row(stat: &Stat, quantity: String, q: &Quantiles, fit: Option<&LognormalFit>) -> TraceStatRow {
    let [p5, p25, p50, p75, p90, p95, p99] = q.percentiles.map(Some);
    TraceStatRow {
        source: stat.source.clone(),
        quantity,
        count: q.count,
        mean: Some(q.mean),
        p5,
        p25,
        p50,
        p75,
        p90,
        p95,
        p99,
        max: Some(q.max),
        lognormal_mu: fit.map(|fit| fit.mu),
        lognormal_sigma: fit.map(|fit| fit.sigma),
        lognormal_ks: fit.map(|fit| fit.ks),
        zero_share: fit.map(|fit| fit.zero_share),
        tail_alpha: fit.and_then(|fit| fit.tail_alpha),
        ..TraceStatRow::default()
    }
}
