//! `djinn-replay calibrate`: measures this machine, and writes its hardware profile.

use crate::{Failure, GpuArgs, Kind, command};
use replay::calibrate::{
    Origin, Plan, bursts_csv, copies_csv, disturbed, idle_csv, measure, steps_csv, toml,
};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

/// Measure this machine and write its hardware profile, and the timed copies and steps beside it
///
/// Times copies by every method, alone, both ways at once and beside steps, and steps of one model over a grid of shapes. Takes
/// some minutes, four fifths of HBM and 5 GiB of host memory, and the link for itself: calibrate one GPU of a host at a time. The profile is of the form of configs/hardware/*.toml:
/// `djinn run --set hardware=FILE` simulates this machine.
#[derive(clap::Args)]
pub struct Args {
    /// File of the profile; what was timed goes to the same name with .copies.csv, .steps.csv, .idle.csv (steps behind pauses) and
    /// .bursts.csv (prompts one behind another, and what follows them)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Model whose steps are timed
    #[arg(long, value_name = "NAME", default_value = "llama-2-7b")]
    model: String,
    /// What its steps do
    #[arg(long, value_enum, default_value_t)]
    compute: Kind,
    /// Profile whose formula stays for other models
    #[arg(long, value_name = "NAME", default_value = "h200")]
    base: String,
    #[command(flatten)]
    gpu: GpuArgs,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let base = devices::hardware(&args.base).map_err(|error| failed(&error))?;
    let name = args
        .out
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    let name = name
        .filter(|_| {
            args.out
                .extension()
                .is_some_and(|extension| extension == "toml")
        })
        .ok_or_else(|| {
            Failure::Failed(format!(
                "`{}` is no name of a profile; give one that ends with .toml",
                args.out.display()
            ))
        })?;
    // Where nothing can be written, that is known before the minutes of work.
    let was_there = args.out.exists();
    let opened = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&args.out);
    opened.map_err(|cause| unwritable(&args.out, &cause))?;
    let plan = Plan {
        model: args.model.clone(),
        compute: args.compute.into(),
        base: args.base.clone(),
    };
    let begun = Instant::now();
    let measured = args.gpu.open().and_then(|gpu| {
        let measured = measure(&gpu, &plan, &mut |what| {
            eprintln!("{:6.1} s  {what}", begun.elapsed().as_secs_f64());
        })?;
        Ok((gpu, measured))
    });
    let (gpu, measured) = measured.inspect_err(|_| {
        // Nothing that could be taken for a profile is left, and nothing of the user's is taken.
        if !was_there {
            let _ = std::fs::remove_file(&args.out);
        }
    })?;
    let info = gpu.info();
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let origin = Origin {
        name,
        gpu: info.name.clone(),
        driver: format!("{}.{}", info.driver / 1_000, info.driver % 1_000 / 10),
        date: date[..10].to_owned(),
        command: command(),
        hbm_bytes: info.memory_bytes,
    };
    let text = toml(&origin, &measured, &base).map_err(|error| failed(&error))?;
    write(&args.out, &text)?;
    write(
        &args.out.with_extension("copies.csv"),
        &copies_csv(&measured),
    )?;
    let steps = steps_csv(&measured.steps, &measured.cost);
    write(&args.out.with_extension("steps.csv"), &steps)?;
    let (idle, bursts) = (idle_csv(&measured.idle), bursts_csv(&measured.bursts));
    write(&args.out.with_extension("idle.csv"), &idle)?;
    write(&args.out.with_extension("bursts.csv"), &bursts)?;
    // The reader of profiles has the last word.
    devices::hardware(&args.out.to_string_lossy()).map_err(|error| failed(&error))?;
    print!("{text}");
    for what in disturbed(&measured) {
        eprintln!("warning: {what}");
    }
    eprintln!(
        "{} in {:.1} s",
        args.out.display(),
        begun.elapsed().as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}

pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|cause| unwritable(path, &cause))
}

pub fn unwritable(path: &Path, cause: &std::io::Error) -> Failure {
    Failure::Failed(format!("cannot write {}: {cause}", path.display()))
}
