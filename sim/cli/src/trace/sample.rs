//! `djinn trace sample`: some sessions of a trace.

use super::common::{OnlyArgs, name, tell, write};
use crate::error::CliError;
use std::path::PathBuf;
use trace::import::ImportOptions;
use trace::tools::{OnlyMatching, Pick};

/// Write some sessions of a trace to another: at random, one of each cluster of copies, or of a kind
///
/// A session is picked by its name and the seed alone: 10 sessions are among the 20 of the same seed. Two sessions are copies or
/// branches of one if they share five consecutive calls with equal token counts; of a cluster, the longest session is taken.
/// Sub-agents go with their parent.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
#[group(id = "pick", multiple = false)]
pub struct Args {
    /// A session trace, or a file that `djinn trace import` reads
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// So many sessions, or all if there are fewer
    #[arg(long, value_name = "N", group = "pick")]
    sessions: Option<u64>,
    /// About this share of the sessions, 0 to 1
    #[arg(long, value_name = "SHARE", group = "pick")]
    share: Option<f64>,
    /// One session of each cluster of copies and branches
    #[arg(long, group = "pick")]
    one_per_cluster: bool,
    #[command(flatten)]
    only: OnlyArgs,
    /// Seed of the choice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Session trace to write; the ending .zst or .gz compresses it
    #[arg(long, value_name = "TRACE")]
    out: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  djinn trace sample weka.jsonl.zst --sessions 100 --out hundred.jsonl
  djinn trace sample weka.jsonl.zst --one-per-cluster --main-agents --out independent.jsonl.zst
  djinn trace sample tau2.jsonl.zst --config gpt-4.1_airline --out airline.jsonl";

pub fn run(args: &Args) -> Result<(), CliError> {
    let pick = match (args.sessions, args.share) {
        (Some(count), _) => Pick::Count(count),
        (_, Some(share)) => Pick::Share(share),
        _ if args.one_per_cluster => Pick::OnePerCluster,
        _ => Pick::Share(1.0),
    };
    let only = args.only.only()?;
    write(&args.out, |sink| {
        let mut matching = OnlyMatching::new(&only, &name(&args.file), sink);
        let options = ImportOptions::default();
        let fed = pick.run(&args.file, &options, args.seed, &mut matching)?;
        Ok(tell(&args.file, fed))
    })
}
