//! `djinn figures`: whatever the results in a folder allow.

use crate::error::CliError;
use crate::out;
use figures::{ALL, Figure, FigureError, by_name};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Draw every figure for which there are results: SVG, PDF, PNG, and the table behind each
#[derive(clap::Args)]
#[command(after_help = help())]
pub struct Args {
    /// Folder with runs, sweeps or tables, searched with all folders below it
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Where the figures go [default: DIR/figures]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Figures to draw [default: all that can be]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

fn help() -> String {
    let mut text = "Examples:\n  djinn figures results/first\n  djinn figures results --out fig wakeup_cdf\n\nFigures:".to_owned();
    for figure in &ALL {
        let _ = write!(
            text,
            "\n  {}\n      {}\n      needs {}",
            figure.name, figure.claim, figure.needs
        );
    }
    text
}

pub fn run(args: &Args) -> Result<(), CliError> {
    let chosen = chosen(&args.names)?;
    if !args.folder.is_dir() {
        let folder = args.folder.display();
        return Err(CliError::failed(format!(
            "{folder} is no folder; give one that holds results"
        )));
    }
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| args.folder.join("figures"));
    let mut made = 0;
    for figure in chosen {
        match figure.make(&args.folder, &out) {
            Ok(files) => {
                made += 1;
                for file in files {
                    out::stdout(&format!("{}\n", file.display()))?;
                }
            }
            // Asked for by name, a figure that cannot be made is a failure; else it is only said.
            Err(error @ (FigureError::Missing { .. } | FigureError::Empty { .. }))
                if args.names.is_empty() =>
            {
                out::note(&format!("skipped: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if made == 0 {
        return Err(CliError::hinted(
            format!(
                "{} holds results for none of the figures",
                args.folder.display()
            ),
            "`djinn figures --help` says what each needs",
        ));
    }
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Figure>, CliError> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let find = |name: &String| {
        by_name(name).ok_or_else(|| {
            let known: Vec<_> = ALL.iter().map(|figure| figure.name).collect();
            CliError::Usage(format!(
                "no figure is called `{name}`; known: {}",
                known.join(", ")
            ))
        })
    };
    names.iter().map(find).collect()
}
