//! `kernels-check`: every kernel against its CPU reference, and how fast it is, on a real GPU.
//!
//! ```text
//!   kernels-check check [--ptx] [--only SUBJECT] [--gpu N]   compare; exit 1 if anything differs
//!   kernels-check measure FOLDER [--only TABLE] [--gpu N]    measure; CSV files in FOLDER
//! ```
//!
//! Exit codes: 0 all good, 1 a comparison failed, 2 wrong usage, 3 no usable GPU (one sentence says why).
//! Tables: link, attention, products, skinny, memory. Subjects: copies, integrity, layers, rotation, products, skinny, attention. `--ptx` loads the kernels from PTX, as GPUs other than Hopper do.

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

use kernels::gpu::{Error, Gpu};

use crate::speed::Bench;
use crate::suite::Suite;

const USAGE: &str = "usage: kernels-check check [--ptx] [--only SUBJECT] [--gpu N] | kernels-check measure FOLDER [--only TABLE] [--gpu N]";

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

const TABLES: [Table; 5] = [
    ("link", link::measure),
    ("attention", |gpu, folder| {
        Bench::new(gpu)?.attention(folder)
    }),
    ("products", |gpu, folder| Bench::new(gpu)?.products(folder)),
    ("skinny", |gpu, folder| Bench::new(gpu)?.skinny(folder)),
    ("memory", |gpu, folder| Bench::new(gpu)?.memory(folder)),
];

enum Verb {
    Check {
        ptx: bool,
        only: Option<&'static str>,
    },
    Measure {
        folder: PathBuf,
        only: Option<&'static str>,
    },
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((verb, ordinal)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let gpu = match Gpu::open(ordinal) {
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
            check(&gpu, only).map_err(Into::into)
        }
        Verb::Measure { folder, only } => measure(&gpu, &folder, only).map(|()| true),
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

fn parse(arguments: &[String]) -> Option<(Verb, u32)> {
    let mut words = arguments.iter().map(String::as_str);
    let mut verb = match words.next()? {
        "check" => Verb::Check {
            ptx: false,
            only: None,
        },
        "measure" => Verb::Measure {
            folder: PathBuf::from(words.next()?),
            only: None,
        },
        _ => return None,
    };
    let mut ordinal = 0;
    while let Some(word) = words.next() {
        match (word, &mut verb) {
            ("--gpu", _) => ordinal = words.next()?.parse().ok()?,
            ("--ptx", Verb::Check { ptx, .. }) => *ptx = true,
            ("--only", Verb::Check { only, .. }) => {
                let name = words.next()?;
                *only = Some(SUBJECTS.iter().find(|subject| subject.0 == name)?.0);
            }
            ("--only", Verb::Measure { only, .. }) => {
                let name = words.next()?;
                *only = Some(TABLES.iter().find(|table| table.0 == name)?.0);
            }
            _ => return None,
        }
    }
    Some((verb, ordinal))
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

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn both_verbs_take_a_gpu() {
        assert!(matches!(
            parse(&words("check --gpu 2")),
            Some((
                Verb::Check {
                    ptx: false,
                    only: None
                },
                2
            ))
        ));
        assert!(matches!(
            parse(&words("check --ptx --only attention")),
            Some((
                Verb::Check {
                    ptx: true,
                    only: Some("attention")
                },
                0
            ))
        ));
        let Some((
            Verb::Measure {
                folder,
                only: Some("skinny"),
            },
            1,
        )) = parse(&words("measure out --gpu 1 --only skinny"))
        else {
            panic!("a folder and a GPU")
        };
        assert_eq!(folder, PathBuf::from("out"));
    }

    #[test]
    fn anything_else_is_wrong_usage() {
        for line in [
            "",
            "measure",
            "check --gpu",
            "check --gpu x",
            "measure out --ptx",
            "run",
            "check out",
            "check --only weather",
            "measure out --only copies",
        ] {
            assert!(parse(&words(line)).is_none(), "{line:?}");
        }
    }
}
