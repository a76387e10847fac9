//! The shards of each workload: session traces, dealt once and kept.
//!
//! ```text
//!   OUT/traces/<shard>/<workload>.trace.jsonl.zst
//! ```
//!
//! Training shards are dealt from one part of a trace, judged ones from the other. A fleet needs no files: its shards are seeds.

use super::spec::{RankingSpec, Workload};
use crate::LabError;
use std::path::{Path, PathBuf};
use trace::import::{FileSink, ImportOptions, MooncakeRows};
use trace::tools::{Deck, Retime, Waits};

/// Where the shard of a workload lies below `out`.
pub fn shard_file(out: &Path, workload: &str, shard: u64) -> PathBuf {
    let folder = out.join("traces").join(format!("{shard:03}"));
    folder.join(format!("{workload}.trace.jsonl.zst"))
}

/// What a workload has to deal from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dealt {
    /// The workload.
    pub workload: String,
    /// Sessions of the training part.
    pub train: usize,
    /// Sessions of the judged part.
    pub test: usize,
    /// What the source does not say.
    pub warnings: Vec<String>,
}

/// Deals all shards of `workload` that are not there yet. `None` for a fleet.
///
/// # Errors
/// If the trace cannot be read, has too few sessions, or a shard cannot be written.
pub fn deal(
    spec: &RankingSpec,
    workload: &Workload,
    traces: &Path,
    out: &Path,
) -> Result<Option<Dealt>, LabError> {
    let Some(file) = workload.file(traces) else {
        return Ok(None);
    };
    let options = ImportOptions {
        mooncake_rows: if workload.chain {
            MooncakeRows::Chain
        } else {
            MooncakeRows::Single
        },
        ..ImportOptions::default()
    };
    let mut deck = Deck::collect(&file, &options)?;
    let warnings = deck.warnings().iter().map(ToString::to_string).collect();
    if workload.one_per_cluster {
        deck.keep_one_per_cluster();
    }
    let model = devices::model(&spec.base()?.model)?;
    deck.keep_begun_within(model.max_context.get());
    if let Some(share) = workload.shared_first_prompt {
        deck.share_first_prompts(share)?;
    }
    let (train, test) = deck.split(spec.split.train_share, spec.split.seed);
    let waits = Waits {
        tool: workload.tool_s.clone(),
        human: workload.human_s.clone(),
    };
    let parts = [
        (&train, spec.training_shards()),
        (&test, spec.judged_shards()),
    ];
    for (part, shards) in parts {
        for shard in shards {
            let target = shard_file(out, &workload.name, shard);
            if target.exists() {
                continue;
            }
            let folder = target.parent().expect("it lies in a folder");
            std::fs::create_dir_all(folder).map_err(|error| LabError::File {
                path: folder.to_owned(),
                error,
            })?;
            // A writer that ends badly leaves nothing at the target.
            let mut sink = FileSink::new(&target);
            let mut retime = Retime::new(&waits, shard, &mut sink)?;
            // The training part may be smaller than a shard of sessions that are not replaced.
            let count = (workload.sessions as usize).min(if workload.replace {
                usize::MAX
            } else {
                part.len()
            });
            part.deal(count, workload.replace, shard, &mut retime)?;
            sink.finish(part.warnings())?;
        }
    }
    Ok(Some(Dealt {
        workload: workload.name.clone(),
        train: train.len(),
        test: test.len(),
        warnings,
    }))
}
