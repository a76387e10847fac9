//! Importing text, to memory.

use std::path::Path;

use trace::TraceError;
use trace::format::Lines;
use trace::import::{self, Collected, ImportOptions, ImportReport, MooncakeRows, WekaGap};

pub fn import_text(
    format: &str,
    text: &str,
    options: &ImportOptions,
) -> Result<(Collected, ImportReport), TraceError> {
    let bytes = std::io::Cursor::new(text.to_owned().into_bytes());
    let lines = Lines::new("source", bytes)?;
    let mut collected = Collected::default();
    let format = import::find(format)?;
    let report = import::import_lines(format, lines, options, &mut collected)?;
    Ok((collected, report))
}

pub fn import_path(
    format: &str,
    path: &Path,
    options: &ImportOptions,
) -> Result<(Collected, ImportReport), TraceError> {
    let mut collected = Collected::default();
    let report = import::import(import::find(format)?, path, options, &mut collected)?;
    Ok((collected, report))
}

pub const RAW: ImportOptions = ImportOptions {
    weka_gap: WekaGap::Raw,
    mooncake_rows: MooncakeRows::Single,
    seed: 1,
    license: None,
    origin: None,
};
