//! A CSV source: cells by the name of their column, errors by line.

use std::io::BufRead;

use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};

use crate::format::{Extra, Lines};
use crate::{Place, TraceError};

/// Rows of a table with a heading.
pub struct Table<'a> {
    file: String,
    reader: Reader<&'a mut (dyn BufRead + Send)>,
    columns: Vec<String>,
    record: StringRecord,
}

impl<'a> Table<'a> {
    /// Reads the heading.
    ///
    /// # Errors
    /// If the source fails or is no text.
    pub fn open(lines: &'a mut Lines) -> Result<Self, TraceError> {
        let file = lines.file().to_owned();
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .trim(csv::Trim::All)
            .from_reader(lines.reader());
        let mut table = Self {
            file,
            reader,
            columns: Vec::new(),
            record: StringRecord::new(),
        };
        table.next_row()?;
        let names = table.record.iter();
        table.columns = names
            .map(|name| name.trim_start_matches('\u{feff}').to_owned())
            .collect();
        Ok(table)
    }

    /// Moves to the next row; false at the end.
    ///
    /// # Errors
    /// If the source fails, a row has more or fewer cells than the heading, or is no text.
    pub fn next_row(&mut self) -> Result<bool, TraceError> {
        let read = self.reader.read_record(&mut self.record);
        read.map_err(|error| self.failed(error))
    }

    /// Whether there is a column of one of these names, whatever their case.
    pub fn has(&self, names: &[&str]) -> bool {
        self.index(names).is_some()
    }

    /// The cell in the column of one of these names; `None` if there is no such column or it is empty.
    pub fn cell(&self, names: &[&str]) -> Option<&str> {
        let cell = self.record.get(self.index(names)?)?;
        (!cell.is_empty()).then_some(cell)
    }

    /// The same as a value.
    ///
    /// # Errors
    /// If it is missing, or is not `expected`.
    pub fn value<T>(
        &self,
        names: &[&str],
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, TraceError> {
        let cell = self
            .cell(names)
            .ok_or_else(|| self.wrong(format!("no `{}` ({expected})", names.join("` or `"))))?;
        parse(cell).ok_or_else(|| self.wrong(format!("`{}` is {cell:?}, not {expected}", names[0])))
    }

    /// A whole number of tokens.
    ///
    /// # Errors
    /// As [`Table::value`].
    pub fn tokens(&self, names: &[&str]) -> Result<u32, TraceError> {
        self.value(names, "a whole number from 0 to 4294967295", |cell| {
            cell.parse().ok()
        })
    }

    /// All cells in other columns.
    pub fn rest(&self, used: &[&str]) -> Extra {
        let is_used = |column: &str| used.iter().any(|name| name.eq_ignore_ascii_case(column));
        let cells = self.columns.iter().zip(&self.record);
        cells
            .filter(|(column, _)| !is_used(column))
            .map(|(column, cell)| (column.clone(), cell.into()))
            .collect()
    }

    /// Something wrong in the current row.
    pub fn wrong(&self, what: String) -> TraceError {
        TraceError::Malformed {
            at: self.place(self.record.position()),
            what,
        }
    }

    fn index(&self, names: &[&str]) -> Option<usize> {
        let is_named = |column: &String| names.iter().any(|name| name.eq_ignore_ascii_case(column));
        self.columns.iter().position(is_named)
    }

    fn place(&self, position: Option<&csv::Position>) -> Place {
        Place {
            file: self.file.clone(),
            line: position.map_or(0, csv::Position::line),
            column: None,
        }
    }

    fn failed(&self, error: csv::Error) -> TraceError {
        let at = self.place(error.position().or(self.record.position()));
        match error.into_kind() {
            ErrorKind::Io(source) => TraceError::of_source(at, source),
            ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => {
                let what = format!("{len} cells, but the heading has {expected_len}");
                TraceError::Malformed { at, what }
            }
            _ => {
                let what = "not UTF-8 text".to_owned();
                TraceError::Malformed { at, what }
            }
        }
    }
}
