//! `djinn trace merge`: several traces in one.

use super::common::{tell, write};
use crate::error::CliError;
use std::path::PathBuf;
use trace::tools::{Content, Merge, feed};

/// Put several traces into one, to run side by side
///
/// Start times stay as they are, so all begin together. Names of sessions get the name of their file in front. Prefix blocks and shared
/// prefixes of different files are different content, unless --shared-content says that they are not.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Session traces, or files that `djinn trace import` reads
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    files: Vec<PathBuf>,
    /// Equal ids of blocks and shared prefixes name equal content in all files
    #[arg(long)]
    shared_content: bool,
    /// Session trace to write; the ending .zst or .gz compresses it
    #[arg(long, value_name = "TRACE")]
    out: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  djinn trace merge coding.jsonl chat.jsonl --out both.jsonl.zst
  djinn trace merge monday.jsonl tuesday.jsonl --shared-content --out week.jsonl";

pub fn run(args: &Args) -> Result<(), CliError> {
    let content = if args.shared_content {
        Content::Shared
    } else {
        Content::Apart
    };
    write(&args.out, |sink| {
        let mut merge = Merge::new(content, sink);
        let mut warnings = Vec::new();
        for file in &args.files {
            let stem = file.file_name().unwrap_or_default().to_string_lossy();
            merge.begin(stem.split('.').next().unwrap_or_default());
            warnings.extend(tell(file, feed(file, &mut merge)?));
        }
        Ok(warnings)
    })
}
