//! `djinn-replay sweep`: all runs that a config stands for, one after the other on one GPU.

use crate::machine::Machine;
use crate::spec::SpecArgs;
use crate::{Failure, GpuArgs};
use results::folder::{RunFolder, left_behind};
use results::spec::{RunSpec, SweepSpec};
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

/// Replay every run of a sweep, each into a folder of its own
///
/// The `[sweep]` table of the config lists the values of each key that varies, and `--policy` several policies; there is a run for every
/// combination. Pools and weights are taken once for all runs that need the same. Runs whose folders are there are not done again, so that an interrupted
/// sweep goes on where it stopped when the same command is given again.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    /// Policies, separated by commas
    #[arg(long)]
    policy: Option<String>,
    /// Folder of the results: OUT/POLICY, or OUT/POLICY-RUN_ID where more than the policy varies
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replay all of it so often, into OUT/..-1, OUT/..-2 and so on: what differs is the GPU's own repeatability
    #[arg(long, value_name = "N", default_value = "1")]
    repeats: NonZeroU32,
    #[command(flatten)]
    gpu: GpuArgs,
}

const EXAMPLES: &str = "\
Examples:
  djinn-replay sweep my.toml --policy djinn,vllm-recompute --repeats 3 --no-integrity --out results/gpu
  djinn sweep my.toml --policy djinn,vllm-recompute --keep --out results/sim
  djinn validate results/sim/runs results/gpu";

pub fn run(args: &Args) -> Result<(), Failure> {
    let layers = args.spec.layers(args.policy.as_deref())?;
    let sweep = SweepSpec::load(&layers).map_err(|error| Failure::Failed(error.to_string()))?;
    let points = sweep.into_points();
    let specs: Vec<RunSpec> = points
        .map(|point| args.spec.complete(point.spec))
        .collect::<Result<_, _>>()?;
    let runs = runs(&specs, args.repeats.get());
    let mut machine = Machine::new(args.gpu)?;
    let mut failed = Vec::new();
    for (place, (name, spec)) in runs.iter().enumerate() {
        let target = args.out.join(name);
        eprintln!("run {} of {}: {name}", place + 1, runs.len());
        let room = make_room(&target, spec, || machine.open_for(spec));
        match room.and_then(|()| machine.replay(spec, &target)) {
            Ok(true) => {}
            Ok(false) => return Err(stopped(&target, place, runs.len())),
            Err(Failure::Failed(what)) => {
                eprintln!("error: {what}");
                failed.push(name.as_str());
            }
            Err(no_gpu @ Failure::NoGpu(_)) => return Err(no_gpu),
        }
    }
    if let Some(left) = left_behind(&args.out) {
        eprintln!("{left}");
    }
    if failed.is_empty() {
        eprintln!("{} runs in {}", runs.len(), args.out.display());
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "{} of {} runs failed: {}",
        failed.len(),
        runs.len(),
        failed.join(", ")
    )))
}

fn stopped(target: &Path, place: usize, count: usize) -> Failure {
    Failure::Failed(format!(
        "stopped in run {} of {count}, {}, which is marked as partial; the same command makes it again, and goes on",
        place + 1,
        target.display()
    ))
}

/// Drops what a sweep that was stopped left of this run, once `ready` says that it can be made again.
fn make_room(
    target: &Path,
    spec: &RunSpec,
    ready: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let part = RunFolder::open(target).is_ok_and(|folder| {
        let manifest = folder.manifest();
        manifest.partial && manifest.run_id == spec.run_id()
    });
    if !part {
        return Ok(());
    }
    ready()?;
    let at = target.display();
    eprintln!("{at} holds this run only in part: it is dropped, and made again");
    std::fs::remove_dir_all(target).map_err(|error| {
        Failure::Failed(format!(
            "{at} holds a part of this run and cannot be removed ({error}); remove it by hand"
        ))
    })
}

/// Every run and the name of its folder; all of them once before any of them again, so that a drift of the machine meets all alike.
fn runs(specs: &[RunSpec], repeats: u32) -> Vec<(String, &RunSpec)> {
    let policies: BTreeSet<&str> = specs.iter().map(|spec| spec.policy.as_str()).collect();
    let by_policy = policies.len() == specs.len();
    let repeated = (1..=repeats).flat_map(|repeat| specs.iter().map(move |spec| (repeat, spec)));
    repeated
        .map(|(repeat, spec)| {
            let mut name: String = spec.policy.chars().map(file_char).collect();
            name.truncate(name.trim_end_matches('_').len());
            if !by_policy {
                name = format!("{name}-{}", spec.run_id());
            }
            if repeats > 1 {
                name = format!("{name}-{repeat}");
            }
            (name, spec)
        })
        .collect()
}

/// `djinn[margin_ms=20]` as `djinn_margin_ms=20`.
fn file_char(c: char) -> char {
    if c.is_ascii_alphanumeric() || "-_=.".contains(c) {
        c
    } else {
        '_'
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use results::spec::Layers;

    fn names(policies: &[&str], set: &[&str], repeats: u32) -> Vec<String> {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        let layers = Layers {
            policies: owned(policies),
            set: owned(set),
            ..Layers::of_text("test", "")
        };
        let sweep = SweepSpec::load(&layers).unwrap();
        let specs: Vec<RunSpec> = sweep.into_points().map(|point| point.spec).collect();
        runs(&specs, repeats)
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    }

    #[test]
    fn what_a_stopped_sweep_left_of_a_run_is_dropped_once_it_can_be_made_again_and_nothing_else() {
        let recorded =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/h200-swap-on-demand");
        let whole = std::fs::read_to_string(recorded.join("manifest.json")).unwrap();
        let folder = RunFolder::open(&recorded).unwrap();
        let spec = folder.manifest().spec.clone();
        // Specs have gained keys since it was recorded.
        let whole = whole.replace(&folder.manifest().run_id, &spec.run_id());
        let part = whole.replace("\"partial\": false", "\"partial\": true");
        assert_ne!(whole, part);
        let other = RunSpec {
            seed: spec.seed + 1,
            ..spec.clone()
        };
        for (text, of, dropped) in [
            (&part, &spec, true),
            (&part, &other, false),
            (&whole, &spec, false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let target = dir.path().join("djinn-1");
            let unready = || Err(Failure::Failed("no trace".to_owned()));
            assert!(make_room(&target, of, unready).is_ok(), "nothing is there");
            std::fs::create_dir(&target).unwrap();
            std::fs::write(target.join("manifest.json"), text).unwrap();
            for table in ["sessions.csv", "turns.csv"] {
                std::fs::copy(recorded.join(table), target.join(table)).unwrap();
            }
            assert_eq!(make_room(&target, of, unready).is_err(), dropped);
            assert!(target.exists());
            assert!(make_room(&target, of, || Ok(())).is_ok());
            assert_eq!(target.exists(), !dropped);
        }
    }

    #[test]
    fn folders_are_named_after_what_varies() {
        assert_eq!(
            names(&["djinn[margin_ms=50]", "ski"], &[], 1),
            ["djinn_margin_ms=50", "ski"]
        );
        assert_eq!(
            names(&["djinn", "ski"], &[], 2),
            ["djinn-1", "ski-1", "djinn-2", "ski-2"]
        );
        let seeds = names(&["djinn"], &["sweep.seed=\"1..3\""], 1);
        let distinct: BTreeSet<&String> = seeds.iter().collect();
        assert_eq!(distinct.len(), 3, "{seeds:?}");
        assert!(
            seeds.iter().all(|name| name.starts_with("djinn-")),
            "{seeds:?}"
        );
    }
}
