//! The answers of a device in order, as text.
//!
//! ```text
//!   djinn-wakes 1
//!   w 22813000 0:22812570:26539546:1      woke at; completions op:start:end:units, [`!what` if it failed]
//!   c 7 3                                 a cut of operation 7 left 3 units
//!   p 7 2                                 2 units of it were over
//!   b 0 155000                            the D2H lane had been busy for 155 us
//! ```
//!
//! Times are nanoseconds since the start of the run.

use engine::device::{Completion, DeviceError};
use model::{Direction, Nanos, OpId, Time};
use std::fmt::Write as _;

const HEADER: &str = "djinn-wakes 1";

/// One answer of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A wait returned, with these completions.
    Woke(Time, Vec<Completion>),
    /// A cut left so many units.
    Cut(OpId, u32),
    /// So many units were over.
    Progress(OpId, u32),
    /// A lane had been busy for so long.
    Busy(Direction, Nanos),
}

/// All answers of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WakeLog {
    /// In the order in which they were given.
    pub answers: Vec<Answer>,
}

/// A line that is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct WakeLogError {
    /// Which, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl WakeLog {
    /// The text of the log.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for answer in &self.answers {
            // Memory takes every write.
            let _ = match answer {
                Answer::Woke(at, done) => {
                    let _ = write!(text, "w {}", at.0);
                    for Completion {
                        op,
                        start,
                        end,
                        units,
                        status,
                    } in done
                    {
                        let _ = write!(text, " {op}:{}:{}:{units}", start.0, end.0);
                        if let Err(DeviceError(what)) = status {
                            let _ = write!(text, "!{}", what.replace([' ', '\n'], "\u{a0}"));
                        }
                    }
                    writeln!(text)
                }
                Answer::Cut(op, units) => writeln!(text, "c {op} {units}"),
                Answer::Progress(op, units) => writeln!(text, "p {op} {units}"),
                Answer::Busy(direction, span) => {
                    writeln!(text, "b {} {}", direction.index(), span.0)
                }
            };
        }
        text
    }

    /// Reads the text back.
    ///
    /// # Errors
    /// The first line that is no answer.
    pub fn of_text(text: &str) -> Result<Self, WakeLogError> {
        let mut lines = text.lines().zip(1..);
        let wrong = |line, what: &str| WakeLogError {
            line,
            what: what.to_owned(),
        };
        match lines.next() {
            Some((HEADER, _)) => {}
            _ => return Err(wrong(1, "a log of wakes begins with `djinn-wakes 1`")),
        }
        let mut answers = Vec::new();
        for (line, number) in lines {
            let answer = answer(line).ok_or_else(|| wrong(number, "is no answer of a device"));
            answers.push(answer?);
        }
        Ok(Self { answers })
    }
}

fn answer(line: &str) -> Option<Answer> {
    let mut words = line.split(' ');
    let kind = words.next()?;
    if kind == "w" {
        let at = Time(words.next()?.parse().ok()?);
        let done = words.map(completion).collect::<Option<_>>()?;
        return Some(Answer::Woke(at, done));
    }
    let [first, second]: [u64; 2] = [words.next()?.parse().ok()?, words.next()?.parse().ok()?];
    let units = u32::try_from(second).ok();
    if words.next().is_some() {
        return None;
    }
    Some(match kind {
        "c" => Answer::Cut(OpId(first), units?),
        "p" => Answer::Progress(OpId(first), units?),
        "b" => Answer::Busy(*Direction::LINK.get(first as usize)?, Nanos(second)),
        _ => return None,
    })
}

fn completion(word: &str) -> Option<Completion> {
    let (numbers, status) = match word.split_once('!') {
        Some((numbers, what)) => {
            let what = what.replace('\u{a0}', " ");
            (numbers, Err(DeviceError(what)))
        }
        None => (word, Ok(())),
    };
    let mut fields = numbers.split(':');
    let mut next = || fields.next()?.parse::<u64>().ok();
    let (op, start, end) = (OpId(next()?), Time(next()?), Time(next()?));
    let units = u32::try_from(next()?).ok()?;
    fields.next().is_none().then_some(Completion {
        op,
        start,
        end,
        units,
        status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_read_back_as_it_was_given() {
        let done = |op, status| Completion {
            op: OpId(op),
            start: Time(3),
            end: Time(9),
            units: 2,
            status,
        };
        let log = WakeLog {
            answers: vec![
                Answer::Woke(Time(10), vec![done(0, Ok(())), done(1, Ok(()))]),
                Answer::Cut(OpId(7), 3),
                Answer::Progress(OpId(7), 0),
                Answer::Busy(Direction::H2d, Nanos(155_000)),
                Answer::Woke(Time(11), Vec::new()),
                Answer::Woke(
                    Time(12),
                    vec![done(2, Err(DeviceError("D2H copy 2: a byte!".to_owned())))],
                ),
            ],
        };
        assert_eq!(WakeLog::of_text(&log.to_text()), Ok(log));
    }

    #[test]
    fn a_damaged_line_is_named() {
        for (text, line) in [
            ("", 1),
            ("djinn-wakes 2\n", 1),
            ("djinn-wakes 1\nw 1\nx 1 2\n", 3),
            ("djinn-wakes 1\nw 1 2:3\n", 2),
            ("djinn-wakes 1\nb 2 5\n", 2),
            ("djinn-wakes 1\nc 1 2 3\n", 2),
            ("djinn-wakes 1\np 1 9999999999\n", 2),
        ] {
            assert_eq!(WakeLog::of_text(text).unwrap_err().line, line, "{text:?}");
        }
    }
}
