//! CSV tables of typed rows: the field names of the row type are the header.
//!
//! Plain RFC 4180, with a header line even where there are no rows, so that pandas, Polars and DuckDB read
//! them without being told anything.

use super::{FolderError, stored};
use csv::StringRecord;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{Read, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// Column names of a row type, in order.
pub(crate) fn columns<T: Serialize>(example: &T) -> Vec<String> {
    match serde_json::to_value(example) {
        Ok(serde_json::Value::Object(fields)) => fields.into_iter().map(|(name, _)| name).collect(),
        other => unreachable!("a row type is a struct of plain fields, got {other:?}"),
    }
}

/// Writes rows of one type.
pub(crate) struct TableWriter<W: Write> {
    csv: csv::Writer<W>,
    path: PathBuf,
}

impl<W: Write> TableWriter<W> {
    /// Writes the header. `path` is for errors.
    pub(crate) fn new(out: W, path: &Path, columns: &[String]) -> Result<Self, FolderError> {
        let csv = csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(out);
        let mut table = Self {
            csv,
            path: path.to_owned(),
        };
        let written = table.csv.write_record(columns);
        written.map_err(|error| table.error(error))?;
        Ok(table)
    }

    /// Appends a row, whose fields are the columns.
    pub(crate) fn push(&mut self, row: impl Serialize) -> Result<(), FolderError> {
        let written = self.csv.serialize(row);
        written.map_err(|error| self.error(error))
    }

    /// Writes what is buffered and hands back what it was written to.
    pub(crate) fn finish(self) -> Result<W, FolderError> {
        let path = self.path;
        self.csv
            .into_inner()
            .map_err(|error| FolderError::io("write", &path)(error.into_error()))
    }

    /// Names the file in what the CSV writer said.
    fn error(&self, error: csv::Error) -> FolderError {
        let cause = match error.into_kind() {
            csv::ErrorKind::Io(cause) => cause,
            other => std::io::Error::other(format!("{other:?}")),
        };
        FolderError::io("write", &self.path)(cause)
    }
}

impl TableWriter<File> {
    /// Writes what is buffered and waits until it is on the disk.
    pub(crate) fn sync(&mut self) -> Result<(), FolderError> {
        self.csv
            .flush()
            .map_err(FolderError::io("write", &self.path))?;
        self.csv
            .get_ref()
            .sync_all()
            .map_err(FolderError::io("write", &self.path))
    }
}

/// The rows of a table, read as they are asked for.
pub struct Rows<T> {
    csv: csv::Reader<Box<dyn Read + Send>>,
    header: StringRecord,
    record: StringRecord,
    path: PathBuf,
    row: PhantomData<T>,
}

impl<T: Serialize + DeserializeOwned + Default> Rows<T> {
    /// Opens a table and checks that its header has every column of `T`. Other columns are allowed.
    ///
    /// # Errors
    /// If the file cannot be read, or a column is missing.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        Self::open_with(path, &columns(&T::default()))
    }
}

impl<T> Rows<T> {
    /// Opens a table that must have these columns.
    pub(crate) fn open_with(path: &Path, columns: &[String]) -> Result<Self, FolderError> {
        let file = stored::open(path).map_err(FolderError::io("read", path))?;
        let mut csv = csv::Reader::from_reader(file);
        let header = csv
            .headers()
            .map_err(|error| damage(path, &error, &StringRecord::new()))?
            .clone();
        if let Some(missing) = columns
            .iter()
            .find(|name| !header.iter().any(|h| h == *name))
        {
            return Err(FolderError::Damaged {
                path: path.to_owned(),
                line: 1,
                what: format!("the header has no column `{missing}`"),
            });
        }
        let record = StringRecord::new();
        Ok(Self {
            csv,
            header,
            record,
            path: path.to_owned(),
            row: PhantomData,
        })
    }

    /// Whether the table has a column of this name.
    pub(crate) fn has(&self, column: &str) -> bool {
        self.header.iter().any(|name| name == column)
    }

    /// Reads the next record and decodes it with `decode`.
    pub(crate) fn next_with<R>(
        &mut self,
        decode: impl FnOnce(&StringRecord, &StringRecord) -> Result<R, csv::Error>,
    ) -> Option<Result<R, FolderError>> {
        match self.csv.read_record(&mut self.record) {
            Ok(false) => None,
            Ok(true) => Some(
                decode(&self.record, &self.header)
                    .map_err(|error| damage(&self.path, &error, &self.header)),
            ),
            Err(error) => Some(Err(damage(&self.path, &error, &self.header))),
        }
    }
}

impl<T: DeserializeOwned> Iterator for Rows<T> {
    type Item = Result<T, FolderError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_with(|record, header| record.deserialize(Some(header)))
    }
}

/// Says what is wrong with a line, naming the column.
fn damage(path: &Path, error: &csv::Error, header: &StringRecord) -> FolderError {
    let line = error.position().map_or(1, csv::Position::line);
    let what = match error.kind() {
        // Such an error knows no line.
        csv::ErrorKind::Io(cause) => {
            let cause = std::io::Error::new(cause.kind(), cause.to_string());
            return FolderError::io("read", path)(cause);
        }
        csv::ErrorKind::Deserialize { err, .. } => {
            let column = err.field().and_then(|field| header.get(field as usize));
            match column {
                Some(column) => format!("column `{column}`: {}", err.kind()),
                None => err.kind().to_string(),
            }
        }
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("{len} fields, but the header has {expected_len}; is the file cut off?")
        }
        csv::ErrorKind::Utf8 { err, .. } => format!("not UTF-8: {err}"),
        _ => error.to_string(),
    };
    FolderError::Damaged {
        path: path.to_owned(),
        line,
        what,
    }
}

/// All rows of a table.
///
/// # Errors
/// If the file cannot be read; with its line if that is damaged.
pub fn read_table<T>(path: &Path) -> Result<Vec<T>, FolderError>
where
    T: Serialize + DeserializeOwned + Default,
{
    Rows::open(path)?.collect()
}

/// Writes a whole table into `path`, which appears (or is replaced) at once and whole.
///
/// # Errors
/// If it cannot be written; the old file is then still there.
pub fn write_table<T: Serialize + Default>(
    path: &Path,
    rows: impl IntoIterator<Item = T>,
) -> Result<(), FolderError> {
    write_whole(path, &columns(&T::default()), rows)
}

/// [`write_table`] with the column names given.
pub(crate) fn write_whole<R: Serialize>(
    path: &Path,
    columns: &[String],
    rows: impl IntoIterator<Item = R>,
) -> Result<(), FolderError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished =
        path.with_file_name(format!("{name}{}{}", super::UNFINISHED, std::process::id()));
    let written = (|| {
        let file = File::create(&unfinished).map_err(FolderError::io("create", &unfinished))?;
        let mut table = TableWriter::new(file, &unfinished, columns)?;
        for row in rows {
            table.push(row)?;
        }
        let file = table.finish()?;
        file.sync_all()
            .map_err(FolderError::io("write", &unfinished))?;
        std::fs::rename(&unfinished, path).map_err(FolderError::io("write", path))
    })();
    if written.is_err() {
        // What went wrong is in `written`; that the leftover could not be removed adds nothing.
        let _ = std::fs::remove_file(&unfinished);
    }
    written
}
