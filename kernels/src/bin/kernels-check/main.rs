//! `kernels-check`: every kernel against its CPU reference, and how fast it is, on a real GPU.
//!
//! Exit codes: 0 all good, 1 a comparison failed, 2 wrong usage, 3 no usable GPU (one sentence says why).

mod appending;
mod attention;
mod attention_speed;
mod copies;
mod integrity;
mod layers;
mod link;
mod products;
mod rotation;
mod skinny;
mod skinny_speed;
mod speed;
mod suite;
mod timing;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};
use kernels::gpu::{Error, Gpu};

use crate::speed::Bench;
use crate::suite::Suite;

/// Every kernel against its CPU reference, and how fast it is, on a real GPU
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
    /// Index of the GPU, from 0
    #[arg(long, global = true, value_name = "N", default_value_t = 0)]
    gpu: u32,
}

#[derive(Subcommand)]
enum Verb {
    /// Compare with the references; exit 1 if anything differs
    Check {
        /// Load the kernels from PTX, as GPUs other than Hopper do
        #[arg(long)]
        ptx: bool,
        /// Compare one subject alone
        #[arg(long, value_name = "SUBJECT", value_parser = names(&SUBJECTS))]
        only: Option<String>,
    },
    /// Measure, into CSV files
    Measure {
        /// Where to
        folder: PathBuf,
        /// Measure one subject alone
        #[arg(long, value_name = "SUBJECT", value_parser = names(&TABLES))]
        only: Option<String>,
    },
}

fn names<T>(of: &[(&'static str, T)]) -> PossibleValuesParser {
    of.iter().map(|(name, _)| *name).into()
}

type Subject = (&'static str, fn(&mut Suite) -> Result<(), Error>);

const SUBJECTS: [Subject; 7] = [
    ("copies", copies::check),
    ("integrity", integrity::check),
    ("layers", layers::check),
    ("rotation", rotation::check),
    ("products", products::check),
    ("skinny", skinny::check),
    ("attention", attention::check),
];

type Table = (
    &'static str,
    fn(&Gpu, &Path) -> Result<(), Box<dyn std::error::Error>>,
);

const TABLES: [Table; 6] = [
    ("link", link::measure),
    ("decode-attention", |gpu, folder| {
        Bench::new(gpu)?.decode_attention(folder)
    }),
    ("prefill-attention", |gpu, folder| {
        Bench::new(gpu)?.prefill_attention(folder)
    }),
    ("products", |gpu, folder| Bench::new(gpu)?.products(folder)),
    ("skinny", |gpu, folder| Bench::new(gpu)?.skinny(folder)),
    ("memory", |gpu, folder| Bench::new(gpu)?.memory(folder)),
];

fn main() -> ExitCode {
    let Args { verb, gpu } = Args::parse();
    let gpu = match Gpu::open(gpu) {
        Ok(gpu) => gpu,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(3);
        }
    };
    let info = gpu.info();
    let (major, minor) = info.capability;
    println!(
        "{} (compute capability {major}.{minor}, {} multiprocessors), driver {}",
        info.name, info.multiprocessors, info.driver
    );
    let done: Result<bool, Box<dyn std::error::Error>> = match verb {
        Verb::Check { ptx, only } => {
            if ptx {
                gpu.load_ptx_only();
            }
            check(&gpu, only.as_deref()).map_err(Into::into)
        }
        Verb::Measure { folder, only } => measure(&gpu, &folder, only.as_deref()).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every comparison held, of all subjects or of `only` one.
fn check(gpu: &Gpu, only: Option<&str>) -> Result<bool, Error> {
    let mut suite = Suite::new(gpu)?;
    for (name, check) in SUBJECTS {
        if only.is_none_or(|only| only == name) {
            check(&mut suite)?;
        }
    }
    Ok(suite.finish())
}

fn measure(gpu: &Gpu, folder: &Path, only: Option<&str>) -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all(folder)?;
    for (name, measure) in TABLES {
        if only.is_none_or(|only| only == name) {
            measure(gpu, folder)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(format!("kernels-check {line}").split_whitespace())
    }

    #[test]
    fn options_may_stand_before_and_behind_the_folder() {
        for line in [
            "measure out --gpu 1 --only skinny",
            "measure --only skinny out --gpu 1",
            "--gpu 1 measure --only skinny out",
        ] {
            let Ok(Args {
                verb: Verb::Measure { folder, only },
                gpu: 1,
            }) = parse(line)
            else {
                panic!("{line}")
            };
            assert_eq!(
                (folder.to_str(), only.as_deref()),
                (Some("out"), Some("skinny"))
            );
        }
    }

    #[test]
    fn subjects_that_there_are_not_are_named_with_those_that_there_are() {
        for line in ["check --only weather", "measure out --only weather"] {
            let error = parse(line).err().expect("refused").to_string();
            assert!(
                error.contains("`weather`") || error.contains("'weather'"),
                "{error}"
            );
            assert!(error.contains("attention"), "{error}");
        }
        // There are no copies to measure but `link`.
        assert!(parse("measure out --only copies").is_err());
        assert!(parse("measure out --ptx").is_err() && parse("check out").is_err());
    }
}
