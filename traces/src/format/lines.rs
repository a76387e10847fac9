//! Lines of a file, numbered, decompressed, one at a time.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::Path;

use super::codec;
use crate::{Place, TraceError};

/// A line reader that knows where it is. Memory: the longest line.
pub struct Lines {
    file: String,
    source: Box<dyn BufRead + Send>,
    buffer: Vec<u8>,
    line: u64,
}

impl Lines {
    /// Opens a file, compressed or not.
    ///
    /// # Errors
    /// If it cannot be opened, or its first bytes cannot be read.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let file = path.display().to_string();
        let failed = |source| TraceError::File {
            action: "open",
            file: file.clone(),
            source,
        };
        let raw = File::open(path).map_err(failed)?;
        Self::new(&file, raw)
    }

    /// Reads `source`; `name` is used in messages.
    ///
    /// # Errors
    /// If the first bytes cannot be read.
    pub fn new<R: Read + Send + 'static>(name: &str, source: R) -> Result<Self, TraceError> {
        let file = name.to_owned();
        let source = codec::decoder(source).map_err(|source| TraceError::File {
            action: "read",
            file: file.clone(),
            source,
        })?;
        Ok(Self {
            file,
            source,
            buffer: Vec::new(),
            line: 0,
        })
    }

    /// The next line that is not blank, without its end.
    ///
    /// # Errors
    /// When the source fails or the compressed stream is cut off.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, TraceError> {
        loop {
            self.buffer.clear();
            match self.source.read_until(b'\n', &mut self.buffer) {
                Ok(0) => return Ok(None),
                Ok(_) => self.line += 1,
                Err(source) => return Err(self.failed(source)),
            }
            if !self.buffer.trim_ascii().is_empty() {
                return Ok(Some(self.buffer.trim_ascii_end()));
            }
        }
    }

    /// The next line that is not blank, parsed.
    ///
    /// # Errors
    /// As [`Lines::next_line`] and [`Lines::parse`].
    pub fn row<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>, TraceError> {
        let found = self.next_line()?.is_some();
        found.then(|| self.parse()).transpose()
    }

    /// The next value: a line, or what is spread over all lines that are left.
    ///
    /// # Errors
    /// As [`Lines::next_line`] and [`Lines::value`].
    pub fn next_value<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>, TraceError> {
        let found = self.next_line()?.is_some();
        found.then(|| self.value()).transpose()
    }

    /// The current line and all that follows: for a source that is one JSON value over many lines.
    ///
    /// # Errors
    /// As [`Lines::next_line`].
    pub fn rest(&mut self) -> Result<&[u8], TraceError> {
        self.source
            .read_to_end(&mut self.buffer)
            .map_err(|source| self.failed(source))?;
        Ok(&self.buffer)
    }

    /// Up to `count` bytes from where the reader is, taken out of it: for a look at what a file is.
    ///
    /// # Errors
    /// As [`Lines::next_line`].
    pub fn head(&mut self, count: u64) -> Result<Vec<u8>, TraceError> {
        let mut head = Vec::new();
        let read = self.source.by_ref().take(count).read_to_end(&mut head);
        read.map(|_| head).map_err(|source| self.failed(source))
    }

    /// Parses the current line.
    ///
    /// # Errors
    /// [`TraceError::Malformed`] with line and column.
    pub fn parse<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, TraceError> {
        serde_json::from_slice(self.buffer.trim_ascii_end()).map_err(|e| self.malformed(&e))
    }

    /// The value on the current line or, where one is spread over the lines of a file, that.
    ///
    /// # Errors
    /// [`TraceError::Malformed`] with line and column.
    pub fn value<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, TraceError> {
        match serde_json::from_slice(self.buffer.trim_ascii_end()) {
            Ok(value) => Ok(value),
            Err(error) if error.is_eof() => {
                self.rest()?;
                self.parse()
            }
            Err(error) => Err(self.malformed(&error)),
        }
    }

    /// All that follows, for a source that is no JSON lines. [`Lines::place`] stays where it is.
    pub fn reader(&mut self) -> &mut (dyn BufRead + Send) {
        &mut *self.source
    }

    /// The current line.
    pub fn current(&self) -> &[u8] {
        &self.buffer
    }

    /// Number of the current line.
    pub fn place(&self) -> Place {
        Place {
            file: self.file.clone(),
            line: self.line,
            column: None,
        }
    }

    /// Name in messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Name in messages without folders and endings: what a source calls itself.
    pub fn stem(&self) -> &str {
        let name = self.file.rsplit(['/', '\\']).next().unwrap_or(&self.file);
        name.split('.')
            .find(|part| !part.is_empty())
            .unwrap_or("trace")
    }

    /// Something wrong on the current line, in the words of who found it.
    pub fn wrong(&self, what: impl Into<String>) -> TraceError {
        TraceError::Malformed {
            at: self.place(),
            what: what.into(),
        }
    }

    /// A parse error of the current line (or of what began on it) in this crate's words.
    pub fn malformed(&self, error: &serde_json::Error) -> TraceError {
        let text = error.to_string();
        let suffix = format!(" at line {} column {}", error.line(), error.column());
        let what = text.strip_suffix(&suffix).unwrap_or(&text).to_owned();
        let line = self.line + (error.line() as u64).saturating_sub(1);
        let at = Place {
            file: self.file.clone(),
            line,
            column: Some(error.column()),
        };
        TraceError::Malformed { at, what }
    }

    fn failed(&self, source: io::Error) -> TraceError {
        TraceError::of_source(self.place(), source)
    }
}
