//! `djinn-replay run`: one run on a GPU, from its config to its folder.

use crate::machine::Machine;
use crate::spec::SpecArgs;
use crate::{Failure, GpuArgs};
use results::spec::RunSpec;
use std::path::{Path, PathBuf};

/// Replay one run and write its folder
///
/// A folder that holds this run already, made by this program from the same hardware profile, model and trace, is left as it is; one that was made from
/// others ends the command, which says what differs.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    /// Policy and its parameters, `djinn[margin_ms=20]`
    #[arg(long)]
    policy: Option<String>,
    /// Folder of the run [default: results/RUN_ID-gpu]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    gpu: GpuArgs,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let layers = args.spec.layers(args.policy.as_deref())?;
    let spec = RunSpec::load(&layers).map_err(|error| Failure::Failed(error.to_string()))?;
    let spec = args.spec.complete(spec)?;
    let name = format!("{}-gpu", spec.run_id());
    let default = || Path::new("results").join(name);
    let target = args.out.clone().unwrap_or_else(default);
    let mut machine = Machine::new(args.gpu)?;
    if !machine.replay(&spec, &target)? {
        eprintln!("the results are those up to the stop, and are marked as partial");
    }
    eprintln!("results in {}", target.display());
    Ok(())
}
