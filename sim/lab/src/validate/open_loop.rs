//! A measured run beside the cost model: what each of its operations should have taken.
//!
//! Shapes, starts and neighbours are the recording's; times are the model's. What the two runs as wholes come to is
//! `results::validation`'s.

use crate::{LabError, Setup};
use devices::predict::{Busy, CopyShape, StepsShape, copy_time, steps_time};
use devices::{Load, StepTotals, Work};
use model::{Direction, Nanos, Time};
use results::folder::RunFolder;
use results::rows::OpRow;
use results::spec::RunSpec;
use results::validation::OpenLoopRow;

/// Predicts every operation of `measured` with the costs of `hardware` (a name, or a file), as repeat `repeat` of its policy.
///
/// # Errors
/// If the run has no `ops.csv`, or its spec or the profile cannot be resolved.
pub fn open_loop(
    measured: &RunFolder,
    hardware: &str,
    repeat: u32,
) -> Result<Vec<OpenLoopRow>, LabError> {
    let manifest = measured.manifest();
    let setup = Setup::new(&RunSpec {
        hardware: hardware.to_owned(),
        ..manifest.spec.clone()
    })?;
    let ops = measured.ops()?.collect::<Result<Vec<OpRow>, _>>()?;
    let busy = |kind: &str| {
        let spans = ops.iter().filter(|op| op.kind == kind);
        Busy::new(
            spans
                .map(|op| (Time(op.start_ns), Time(op.end_ns)))
                .collect(),
        )
    };
    let (steps, copies) = (busy("steps"), [busy("d2h"), busy("h2d")]);
    let cost = &setup.steps;
    let mut load = Load::default();
    let mut predict = |op: &OpRow| {
        let start = Time(op.start_ns);
        let Some(direction) = direction(&op.kind) else {
            let run = StepsShape {
                first: totals(op),
                count: op.steps.max(1),
            };
            let idle = steps.idle_before(start);
            let time = steps_time(cost, &setup.link, run, start, idle, &load, &copies);
            let work = Work::of(&run.first);
            load.add(&cost.throttle, work, start, Time(op.end_ns));
            return time;
        };
        let copy = CopyShape {
            blocks: (op.bytes / setup.engine.block_bytes.0) as u32,
            chunk_blocks: setup.engine.chunk_blocks,
            block_bytes: setup.engine.block_bytes,
        };
        let other = &copies[direction.opposite().index()];
        copy_time(setup.link.lane(direction), copy, start, other, &steps)
    };
    Ok(ops
        .iter()
        .map(|op| row(op, &manifest.spec.policy, repeat, predict(op)))
        .collect())
}

fn direction(kind: &str) -> Option<Direction> {
    Direction::LINK
        .into_iter()
        .find(|direction| direction.to_string().to_lowercase() == kind)
}

/// What the first step of a recorded run of steps counts.
fn totals(op: &OpRow) -> StepTotals {
    let totals = StepTotals {
        prefill_tokens: op.prefill_tokens,
        prefill_kv_tokens: op.prefill_kv_tokens,
        prefill_pairs: op.prefill_pairs,
        decode_seqs: op.decode_seqs,
        decode_kv_tokens: op.kv_tokens - op.prefill_kv_tokens.min(op.kv_tokens),
        ..StepTotals::default()
    };
    totals.with_tiles(op.prefill_tile_kv_tokens)
}

fn row(op: &OpRow, policy: &str, repeat: u32, predicted: Nanos) -> OpenLoopRow {
    let kind = match (op.kind.as_str(), op.prefill_tokens, op.decode_seqs) {
        ("steps", 0, _) => "decode",
        ("steps", _, 0) => "prefill",
        ("steps", ..) => "mixed",
        (copy, ..) => copy,
    };
    OpenLoopRow {
        policy: policy.to_owned(),
        repeat,
        op: op.op,
        kind: kind.to_owned(),
        start_ns: op.start_ns,
        steps: op.steps.max(1),
        prefill_tokens: op.prefill_tokens,
        decode_seqs: op.decode_seqs,
        kv_tokens: op.kv_tokens,
        bytes: op.bytes,
        measured_ns: op.end_ns - op.start_ns.min(op.end_ns),
        predicted_ns: predicted.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wants;
    use crate::run::{Ran, RunOptions, simulate};
    use crate::validate::key;
    use results::spec::Layers;
    use std::path::Path;

    const CONFIG: &str = "model = \"llama-2-7b\"\nhardware = \"h200\"\npolicy = \"swap-on-demand\"\n\
        [memory]\nhbm_blocks = 200\nhost_blocks = 600\n\
        [workload]\ngen = \"closed-loop-agents\"\nsessions = 8\n[workload.params]\n\
        ramp_s = 0.2\nturns = 4\nfirst_prompt = 512\nappend = 64\noutput = 16\n\
        gap_s = { uniform = { min = 0.3, max = 0.6 } }\n";

    fn simulated(folder: &Path) -> RunFolder {
        let spec = RunSpec::load(&Layers::of_text("test", CONFIG)).unwrap();
        let options = RunOptions {
            wants: Wants {
                ops: true,
                ..Wants::default()
            },
            ..RunOptions::default()
        };
        match simulate(&Setup::new(&spec).unwrap(), folder, &options, |_| ()).unwrap() {
            Ran::Now(finished) => finished.folder,
            Ran::Before(_) => panic!("the folder is new"),
        }
    }

    #[test]
    fn the_model_predicts_every_operation_of_its_own_run() {
        let folder = tempfile::tempdir().unwrap();
        let run = simulated(&folder.path().join("run"));
        let rows = open_loop(&run, "h200", 0).unwrap();
        for kind in ["prefill", "decode", "mixed", "d2h", "h2d"] {
            assert!(rows.iter().any(|row| row.kind == kind), "no {kind}");
        }
        // The slow-down of a step is fixed when it begins, from copies that the recording knows to a nanosecond.
        let wrong: Vec<_> = rows
            .iter()
            .filter(|row| row.predicted_ns.abs_diff(row.measured_ns) > 2)
            .collect();
        assert!(
            wrong.is_empty(),
            "{} of {}: {:?}",
            wrong.len(),
            rows.len(),
            wrong[0]
        );
    }

    #[test]
    fn another_machine_has_the_error_of_its_link() {
        let folder = tempfile::tempdir().unwrap();
        let run = simulated(&folder.path().join("run"));
        let rows = open_loop(&run, "a100-80g-pcie4", 0).unwrap();
        // PCIe 4 has less than half the rate of the H200's PCIe 5.
        let copies: Vec<_> = rows.iter().filter(|row| row.kind == "h2d").collect();
        assert!(!copies.is_empty());
        assert!(
            copies.iter().all(|row| row.error() > 0.9),
            "{:?}",
            copies.last()
        );
    }

    #[test]
    fn a_replayed_spec_and_a_simulated_one_have_one_key() {
        let spec = RunSpec::load(&Layers::of_text("test", CONFIG)).unwrap();
        let replayed = RunSpec {
            replay: results::spec::Replay {
                compute: Some(results::spec::Compute::Touch),
                integrity: true,
            },
            hardware: "measured.toml".to_owned(),
            ..spec.clone()
        };
        assert_eq!(key(&spec), key(&replayed));
        let other = RunSpec {
            seed: 2,
            ..spec.clone()
        };
        assert_ne!(key(&spec), key(&other));
    }
}
