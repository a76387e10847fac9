//! `djinn trace gen`: a session trace of generated agents.

use super::check_target;
use crate::error::CliError;
use crate::format::plural;
use crate::out;
use results::spec::{Layers, RunSpec};
use std::path::PathBuf;
use trace::format::Writer;
use trace::generate::GeneratorSpec;

/// Write a session trace of generated agents
///
/// A run on the trace does what a run on the generator does. Every draw depends on seed, agent, turn and purpose alone.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A generator (poisson-agents, closed-loop-agents) or a preset (d-5s-gaps, e-60s-gaps, seed)
    #[arg(value_name = "NAME")]
    name: String,
    /// Session trace to write; the ending .zst or .gz compresses it
    #[arg(long, value_name = "TRACE")]
    out: PathBuf,
    /// Set a parameter, `agents=20`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Seed of every draw
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const EXAMPLES: &str = "\
Examples:
  djinn trace gen poisson-agents --set agents=20 --set rate=0.2 --out small.jsonl
  djinn trace gen e-60s-gaps --seed 3 --out e.jsonl.zst
  djinn trace gen poisson-agents --set 'gap_s={ lognormal = { mu = 1.5, sigma = 1.2 } }' --out tails.jsonl

Parameters (the same under [workload.params] of a config):
  agents         sessions
  rate           poisson-agents: sessions per second
  ramp_s         closed-loop-agents: seconds within which all start
  turns          turns per session
  first_prompt   tokens of the first prompt, where it is not as `append`
  append         tokens that each turn adds to the history
  output         tokens that each turn generates
  gap_s          wait before each turn but the first, in seconds
  gap_kind       \"tool\" or \"human\"
  tool           class of the tool
  shared_prefix  { id = \"system\", tokens = 1024 }: first tokens of all prompts
turns, first_prompt, append, output and gap_s are numbers or { uniform = { min, max } },
{ lognormal = { mu, sigma, min, max } }, { exponential = { mean, min, max } }.

Presets:
  d-5s-gaps      1,000 agents of 10 turns, waits of 5 s, 0.2 agents/s
  e-60s-gaps     the same with waits of 60 s at 0.3 agents/s: HBM thrashes
  seed           the script of the original evaluation: 80 agents of 2 turns";

/// Parameters of generators under names of their own, as in `configs/workloads`.
const PRESETS: [(&str, &str); 3] = [
    (
        "d-5s-gaps",
        include_str!("../../../../configs/workloads/d-5s-gaps.toml"),
    ),
    (
        "e-60s-gaps",
        include_str!("../../../../configs/workloads/e-60s-gaps.toml"),
    ),
    (
        "seed",
        include_str!("../../../../configs/workloads/seed.toml"),
    ),
];

const GENERATORS: [&str; 2] = ["poisson-agents", "closed-loop-agents"];

pub fn run(args: &Args) -> Result<(), CliError> {
    check_target(&args.out)?;
    let spec = spec(args)?;
    let mut agents = spec.sessions(args.seed)?;
    let mut writer = Writer::create(&args.out, &agents.meta())?;
    let (mut sessions, mut calls) = (0, 0);
    for session in agents.by_ref() {
        let session = session?;
        writer.write(&session)?;
        sessions += 1;
        calls += session.calls.len() as u64;
    }
    writer.finish()?;
    let (sessions, calls) = (plural(sessions, "session"), plural(calls, "call"));
    out::note(&format!(
        "wrote {}: {sessions}, {calls}",
        args.out.display()
    ));
    Ok(())
}

/// The parameters: of the preset, or the defaults of the generator, and over them what was set.
fn spec(args: &Args) -> Result<GeneratorSpec, CliError> {
    let preset = PRESETS.iter().find(|(name, _)| *name == args.name);
    if preset.is_none() && !GENERATORS.contains(&args.name.as_str()) {
        let presets = PRESETS.map(|(name, _)| name).join(", ");
        return Err(CliError::hinted(
            format!(
                "no generator is called `{}`; known: {}; presets: {presets}",
                args.name,
                GENERATORS.join(", ")
            ),
            "`djinn trace gen --help` describes them",
        ));
    }
    let layers = Layers {
        set: args
            .set
            .iter()
            .map(|set| format!("workload.params.{set}"))
            .collect(),
        ..Layers::of_text("defaults", results::spec::template())
    };
    let mut run = RunSpec::load(&layers)?;
    let Some((name, text)) = preset else {
        return Ok(lab::generator(&run, &args.name)?);
    };
    let mut table: toml::Table = toml::from_str(text).expect("a shipped preset is valid");
    table.extend(std::mem::take(&mut run.workload.params));
    table.try_into().map_err(|error: toml::de::Error| {
        CliError::hinted(
            format!("preset `{name}`: {}", error.message()),
            "`djinn trace gen --help` lists the parameters",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_can_be_generated() {
        for (name, text) in PRESETS {
            let spec: GeneratorSpec = toml::from_str(text).expect(name);
            spec.validate().expect(name);
        }
    }
}
