//! Importing text, to memory.

use std::path::Path;

use trace::TraceError;
use trace::import::{self, Collected, ImportOptions, ImportReport, MooncakeRows, WekaGap};

pub fn import_text(
    format: &str,
    text: &str,
    options: &ImportOptions,
) -> Result<(Collected, ImportReport), TraceError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("source");
    std::fs::write(&path, text).unwrap();
    import_path(format, &path, options)
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
    license: None,
    origin: None,
};
