//! `djinn trace gen`: a session trace of generated agents.

use super::check_target;
use crate::error::CliError;
use crate::format::plural;
use crate::out;
use results::spec::{Layers, RunSpec};
use std::fmt::Write as _;
use std::path::PathBuf;
use trace::format::Writer;
use trace::generate::{BARE, SHIPPED};

/// Write a session trace of generated agents
///
/// A run on the trace does what a run on the generator does. Every draw depends on seed, agent, turn and purpose alone.
#[derive(clap::Args)]
#[command(after_help = help())]
pub struct Args {
    /// A workload by name, or a file that ends in .toml
    #[arg(value_name = "NAME")]
    name: String,
    /// Session trace to write; the ending .zst or .gz compresses it [default: NAME.jsonl.zst]
    #[arg(long, value_name = "TRACE")]
    out: Option<PathBuf>,
    /// Number of sessions
    #[arg(long, value_name = "N")]
    sessions: Option<u32>,
    /// Sessions per second
    #[arg(long, value_name = "RATE")]
    rate: Option<f64>,
    /// Set a parameter, `agents=20`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Seed of every draw
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn help() -> String {
    let mut text = "Examples:
  djinn trace gen interactive-coding --sessions 200 --rate 0.1
  djinn trace gen chat --set 'arrivals={ gamma = { cv = 3 } }' --out bursty-chat.jsonl
  djinn trace gen batch-coding --set 'arrivals={ closed = { ramp_s = 60 } }' --sessions 40 --out forty-agents.jsonl
  djinn trace gen interactive-coding --set gap_cap_s=60 --out capped.jsonl.zst
  djinn trace gen poisson-agents --set agents=20 --set 'gap_s={ lognormal = { mu = 1.5, sigma = 1.2 } }' --out tails.jsonl

Workloads:"
        .to_owned();
    let bare = BARE.iter().map(|(name, summary, _)| (*name, *summary));
    for (name, summary) in SHIPPED.iter().map(|s| (s.name, s.summary)).chain(bare) {
        let _ = write!(text, "\n  {name:<20} {summary}");
    }
    text + PARAMETERS
}

const PARAMETERS: &str = "

Parameters of fleets (the same under [workload.params] of a config; files in configs/workloads are examples):
  agents, rate   sessions, and sessions per second on average
  arrivals       \"poisson\", { gamma = { cv } }, { weibull = { cv } }, { clients = { count, weight_sigma, cv, weibull_share } },
                 { diurnal = { levels = [...], period_s, start_s, cv } }, { trace = { file, block } }, { closed = { ramp_s } }
  gap_cap_s      longest wait
  turns          calls per session
  shared_prefix  [{ id, tokens, versions }]: first tokens of all prompts
  first_prompt   tokens of the first prompt after them
  output         tokens that each call generates; final_output: the last one
  append_tool    tokens that the results of a turn's tools add, where tools have no result_tokens
  opening        [{ turns, append_tool }]: what the tools of the first turns add instead
  stripped       { share, tokens }: prompts shorter than what they follow, because reasoning is not sent back
  tools          [{ class, weight, seconds, result_tokens }]; parallel: probabilities of 1, 2, 3, ... at once
  approval       { share, wait_s }: tools wait for a person first
  human          { after_human, after_tool, after_first, wait_s, append }: who sends the next input
  loss           { per_call, compaction_share, compaction_ratio, rewrite_ratio }: the prefix is lost
  context_max    tokens at which a history is compacted
  variants       [{ name, weight, ... }]: sub-populations, each with what it does differently
Parameters of plain agents (poisson-agents, closed-loop-agents, d-5s-gaps, e-60s-gaps, seed):
  agents, rate (poisson), ramp_s (closed loop), turns, first_prompt, append, output, gap_s, gap_kind = \"tool\" or \"human\",
  tool (its class), shared_prefix = { id, tokens }
Lengths and times are numbers or { uniform = { min, max } }, { lognormal = { mu, sigma, shift, tail = { above_p, alpha }, min, max } },
{ exponential = { mean, min, max } }, { quantiles = { p = [...], x = [...], tail_alpha, max } }, { mixture = [{ weight, of }] }.";

pub fn run(args: &Args) -> Result<(), CliError> {
    let target = args.out.clone().unwrap_or_else(|| {
        let path = PathBuf::from(&args.name);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        PathBuf::from(format!("{stem}.jsonl.zst"))
    });
    check_target(&target)?;
    let layers = Layers {
        set: args
            .set
            .iter()
            .map(|set| format!("workload.params.{set}"))
            .collect(),
        ..Layers::of_text("defaults", results::spec::template())
    };
    let mut spec = RunSpec::load(&layers)?;
    spec.workload.sessions = args.sessions;
    spec.workload.rate = args.rate;
    let mut agents = lab::generator(&spec, &args.name)?.sessions(args.seed)?;
    let mut writer = Writer::create(&target, &agents.meta())?;
    let (mut sessions, mut calls) = (0, 0);
    for session in agents.by_ref() {
        let session = session?;
        writer.write(&session)?;
        sessions += 1;
        calls += session.calls.len() as u64;
    }
    writer.finish()?;
    let (sessions, calls) = (plural(sessions, "session"), plural(calls, "call"));
    out::note(&format!("wrote {}: {sessions}, {calls}", target.display()));
    Ok(())
}
