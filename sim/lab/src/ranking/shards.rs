//! The shards of each workload: session traces, dealt from its source and kept beside the results.
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

/// Deals all shards of `workload`, in place of those that are there: other sessions a shard, another source or split would not show in their names.
/// Equal inputs give equal bytes. `None` for a fleet.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use trace::format::Writer;
    use trace::generate::Generator;

    const CONFIG: &str = "reference = \"vllm-recompute\"\nshards = \"1..2\"\n\
        [split]\ntrain_share = 0.5\nseed = 1\n[search]\nshards = \"101..101\"\nunloaded = 0.01\nprecision = 0.2\n\
        [[loads]]\nname = \"knee\"\nwakeup_times = 4\n\
        [[workloads]]\nname = \"agents\"\nabout = \"made up\"\ntrace = \"t.jsonl\"\nsessions = 4\nwarmup = 0.2\n";

    /// Twelve sessions.
    fn write_trace(path: &Path, seed: u64) {
        let changes = [("agents".to_owned(), 12.into())].into_iter().collect();
        let agents = Generator::find("poisson-agents", changes);
        let mut agents = agents.unwrap().sessions(seed).unwrap();
        let mut writer = Writer::create(path, &agents.meta()).unwrap();
        for session in agents.by_ref() {
            writer.write(&session.unwrap()).unwrap();
        }
        writer.finish().unwrap();
    }

    #[test]
    fn shards_are_those_of_the_config_and_the_trace_whatever_lies_there() {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("t.jsonl");
        let dealt = |config: &str| -> Vec<Vec<u8>> {
            let spec = RankingSpec::load("test", config, &[]).unwrap();
            deal(&spec, &spec.workloads[0], folder.path(), folder.path()).unwrap();
            let read = |shard| fs::read(shard_file(folder.path(), "agents", shard)).unwrap();
            [1, 2, 101].map(read).into()
        };
        write_trace(&trace, 1);
        let first = dealt(CONFIG);
        // A quick ranking, and then the whole one.
        let quick = dealt(&CONFIG.replace("sessions = 4", "sessions = 2"));
        assert!(first.iter().zip(&quick).all(|(a, b)| a != b));
        assert_eq!(dealt(CONFIG), first);
        write_trace(&trace, 2);
        let other = dealt(CONFIG);
        assert!(first.iter().zip(&other).all(|(a, b)| a != b));
    }
}
