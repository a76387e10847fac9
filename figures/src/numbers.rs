//! The numbers of the paper: `numbers.tex` with one `\newcommand` each, and `numbers.json` with the same.
//!
//! No number is typed into the paper. A name is letters only, because TeX ends a command at anything
//! else, and is given once: a number that means two things is refused.

use crate::FigureError;
use crate::format::{grouped, tex_escaped, three_digits};
use crate::render::write;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A value and how it is printed.
#[derive(Clone, Debug, PartialEq)]
enum Number {
    Count(u64),
    Real { value: f64, decimals: Option<usize> },
    Text(String),
}

/// Numbers by name, in the order in which they were given.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    entries: Vec<(String, Number)>,
}

impl Numbers {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A whole number, printed with commas between thousands.
    ///
    /// # Errors
    /// If the name is taken or is not letters only.
    pub fn count(&mut self, name: &str, value: u64) -> Result<(), FigureError> {
        self.add(name, Number::Count(value))
    }

    /// A real number, printed with three significant digits.
    ///
    /// # Errors
    /// As [`Numbers::count`], and if it is not finite.
    pub fn real(&mut self, name: &str, value: f64) -> Result<(), FigureError> {
        self.add(
            name,
            Number::Real {
                value,
                decimals: None,
            },
        )
    }

    /// A real number, printed with so many decimals.
    ///
    /// # Errors
    /// As [`Numbers::real`].
    pub fn fixed(&mut self, name: &str, value: f64, decimals: usize) -> Result<(), FigureError> {
        self.add(
            name,
            Number::Real {
                value,
                decimals: Some(decimals),
            },
        )
    }

    /// Words: the name of a policy, a verdict.
    ///
    /// # Errors
    /// As [`Numbers::count`].
    pub fn text(&mut self, name: &str, value: &str) -> Result<(), FigureError> {
        self.add(name, Number::Text(value.to_owned()))
    }

    fn add(&mut self, name: &str, number: Number) -> Result<(), FigureError> {
        let refuse = |why| {
            Err(FigureError::Number {
                name: name.to_owned(),
                why,
            })
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
            return refuse("a TeX command is letters only; write digits as words");
        }
        if self.entries.iter().any(|(taken, _)| taken == name) {
            return refuse("it was given twice; choose another name for the second");
        }
        if matches!(number, Number::Real { value, .. } if !value.is_finite()) {
            return refuse(
                "its value is not a finite number; leave it out where there are no samples",
            );
        }
        self.entries.push((name.to_owned(), number));
        Ok(())
    }

    /// The text of `numbers.tex`. Commands are made with `\newcommand`, so TeX itself refuses one that exists.
    pub fn tex(&self) -> String {
        let mut text = String::from("% Generated from results; changes are overwritten.\n");
        for (name, number) in &self.entries {
            writeln!(text, "\\newcommand{{\\{name}}}{{{}}}", number.tex())
                .expect("writing to a string");
        }
        text
    }

    /// The text of `numbers.json`: by name the bare value and how the paper prints it.
    pub fn json(&self) -> String {
        let entry = |(name, number): &(String, Number)| {
            let value = match number {
                Number::Count(value) => json!(value),
                Number::Real { value, .. } => json!(value),
                Number::Text(value) => json!(value),
            };
            (
                name.clone(),
                json!({ "value": value, "shown": number.shown() }),
            )
        };
        let all: Map<String, Value> = self.entries.iter().map(entry).collect();
        serde_json::to_string_pretty(&all).expect("plain data") + "\n"
    }

    /// Writes `numbers.tex` and `numbers.json` into `folder`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>, FigureError> {
        let tex = write(&folder.join("numbers.tex"), self.tex().as_bytes())?;
        let json = write(&folder.join("numbers.json"), self.json().as_bytes())?;
        Ok(vec![tex, json])
    }
}

impl Number {
    fn shown(&self) -> String {
        match self {
            Self::Count(value) => grouped_count(*value),
            Self::Real {
                value,
                decimals: Some(decimals),
            } => grouped(*value, *decimals),
            Self::Real {
                value,
                decimals: None,
            } => three_digits(*value),
            Self::Text(text) => text.clone(),
        }
    }

    /// As shown, fit for text and for mathematics: no comma that TeX would space, a minus that is one.
    fn tex(&self) -> String {
        if let Self::Text(text) = self {
            return tex_escaped(text);
        }
        let shown = self.shown().replace(',', "{,}");
        if shown.starts_with('-') {
            format!("\\ensuremath{{{shown}}}")
        } else {
            shown
        }
    }
}

/// Exact for every `u64`, which a double is not.
fn grouped_count(value: u64) -> String {
    let digits = value.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|g| std::str::from_utf8(g).expect("digits"))
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_commands_that_read_well() {
        let mut numbers = Numbers::new();
        numbers
            .count("runsTotal", 18_446_744_073_709_551_615)
            .unwrap();
        numbers.real("wakeupPNinetyNine", 5_183.4).unwrap();
        numbers.fixed("gain", -3.0612, 1).unwrap();
        numbers.text("best", "djinn & co").unwrap();
        assert_eq!(
            numbers.tex(),
            "% Generated from results; changes are overwritten.\n\
             \\newcommand{\\runsTotal}{18{,}446{,}744{,}073{,}709{,}551{,}615}\n\
             \\newcommand{\\wakeupPNinetyNine}{5{,}183}\n\
             \\newcommand{\\gain}{\\ensuremath{-3.1}}\n\
             \\newcommand{\\best}{djinn \\& co}\n"
        );
    }

    #[test]
    fn the_json_has_the_bare_value_and_the_printed_one() {
        let mut numbers = Numbers::new();
        numbers.real("mean", 2_421.0).unwrap();
        numbers.count("agents", 80).unwrap();
        let parsed: Value = serde_json::from_str(&numbers.json()).unwrap();
        assert_eq!(parsed["mean"], json!({ "value": 2421.0, "shown": "2,421" }));
        assert_eq!(parsed["agents"]["value"], 80);
    }

    #[test]
    fn a_name_that_tex_could_not_read_or_that_is_taken_is_refused() {
        let mut numbers = Numbers::new();
        for name in ["p99", "wake_up", "", "größe", "a b"] {
            let error = numbers.count(name, 1).unwrap_err().to_string();
            assert!(error.contains("letters only"), "{error}");
        }
        numbers.count("agents", 80).unwrap();
        let error = numbers.count("agents", 81).unwrap_err().to_string();
        assert!(
            error.contains("`agents`") && error.contains("twice"),
            "{error}"
        );
        assert!(numbers.real("share", f64::NAN).is_err());
    }

    #[test]
    fn both_files_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut numbers = Numbers::new();
        numbers.count("agents", 80).unwrap();
        let files = numbers.write(folder.path()).unwrap();
        assert!(files.iter().all(|file| file.is_file()) && files.len() == 2);
    }
}
