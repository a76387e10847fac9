//! A recorded run, decided again without its device.
//!
//! Manifest, trace and `wakes.log` are enough: the driver and the policy get the answers that the device gave, and every
//! decision must come out as it did. What does not is a change of the program (or of a profile) since the recording.

use crate::rows::{Sink, Wants};
use crate::run::execute;
use crate::{LabError, Setup};
use devices::playback::{Playback, WakeLog, WakeLogError};
use model::{Bytes, CopyEstimate, Nanos};
use results::folder::{DECISIONS, RunFolder, TURNS, WAKES};
use results::rows::{OpRow, SampleRow, SessionRow, TurnRow};
use std::io::Read as _;
use std::path::Path;

/// A run that came out as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayedBack {
    /// Decisions, each byte for byte the same.
    pub decisions: u64,
    /// Turns, with the same times to the nanosecond.
    pub turns: u64,
}

/// Why a recording was not reproduced.
#[derive(Debug, thiserror::Error)]
pub enum PlaybackError {
    /// The folder, its trace, or its profile.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The log of wakes is damaged.
    #[error("{WAKES}: {0}")]
    Log(#[from] WakeLogError),
    /// The trace is another one.
    #[error(
        "the trace of the recording ({recorded}) is not the one that its manifest names now ({found})"
    )]
    Trace {
        /// Start of its hash, then.
        recorded: String,
        /// And now.
        found: String,
    },
    /// The driver asked what it had not asked then.
    #[error("after {lines} equal decisions {what}")]
    Question {
        /// Decisions before.
        lines: u64,
        /// What it asked.
        what: String,
    },
    /// A decision differs.
    #[error("{DECISIONS}, line {line}: was `{recorded}`, is `{now}`")]
    Decision {
        /// Which, from 1.
        line: u64,
        /// In the recording; empty beyond its end.
        recorded: String,
        /// Now; empty beyond the end.
        now: String,
    },
    /// A turn differs, although no decision does.
    #[error("{TURNS}: turn {turn} of session {session} differs from the recording")]
    Turn {
        /// Whose.
        session: u32,
        /// Which.
        turn: u32,
    },
}

impl From<results::folder::FolderError> for PlaybackError {
    fn from(error: results::folder::FolderError) -> Self {
        Self::Lab(error.into())
    }
}

/// Plays the run in `folder` back.
///
/// # Errors
/// If the folder was not recorded, or anything comes out differently.
pub fn play_back(folder: &Path) -> Result<PlayedBack, PlaybackError> {
    let folder = RunFolder::open(folder)?;
    let manifest = folder.manifest();
    let mut setup = Setup::new(&manifest.spec)?;
    if setup.trace.sha256 != manifest.trace.sha256 {
        let short = |hash: &str| hash.chars().take(12).collect();
        return Err(PlaybackError::Trace {
            recorded: short(&manifest.trace.sha256),
            found: short(&setup.trace.sha256),
        });
    }
    // What a profile may have said otherwise then.
    let blocks = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    setup.engine.memory.hbm_blocks = blocks(manifest.counts.hbm_blocks);
    setup.engine.memory.host_blocks = blocks(manifest.counts.host_blocks);
    let text = folder.wakes()?;
    let (given, log) = split_given(&text).ok_or_else(|| WakeLogError {
        line: 1,
        what: "is not what the driver was given".to_owned(),
    })?;
    setup.engine.link = given.link;
    let log = WakeLog::of_text(log).map_err(|error| WakeLogError {
        line: error.line + 1,
        ..error
    })?;
    let mut device = Playback::new(log);
    let mut kept = Kept {
        samples: given.samples,
        ..Kept::default()
    };
    let ran = execute(&setup, &mut device, &mut kept, |_| ());
    let mut recorded = String::new();
    let read = folder.decisions()?.read_to_string(&mut recorded);
    read.map_err(|error| LabError::File {
        path: folder.file(DECISIONS),
        error,
    })?;
    let now = String::from_utf8_lossy(&kept.decisions);
    let lines = compare(&recorded, &now, manifest.partial)?;
    if let Some(what) = device.diverged()
        && !(manifest.partial && device.left() == 0)
    {
        return Err(PlaybackError::Question { lines, what });
    }
    if !manifest.partial {
        ran?;
    }
    let turns = folder.turns()?.collect::<Result<Vec<TurnRow>, _>>()?;
    let other = turns
        .iter()
        .zip(&kept.turns)
        .find(|(then, now)| then != now);
    let missing = turns.get(kept.turns.len()).map(|row| (row, row));
    if let Some((row, _)) = other.or(missing) {
        return Err(PlaybackError::Turn {
            session: row.session,
            turn: row.turn,
        });
    }
    Ok(PlayedBack {
        decisions: lines,
        turns: turns.len() as u64,
    })
}

/// Compares line by line. A run that was stopped has no end to compare.
fn compare(recorded: &str, now: &str, partial: bool) -> Result<u64, PlaybackError> {
    let (mut then, mut now) = (recorded.lines(), now.lines());
    let mut lines = 0;
    loop {
        let (was, is) = match (then.next(), now.next()) {
            (None, None) => return Ok(lines),
            (None, Some(_)) if partial => return Ok(lines),
            (was, is) => (was.unwrap_or_default(), is.unwrap_or_default()),
        };
        lines += 1;
        if was != is {
            return Err(PlaybackError::Decision {
                line: lines,
                recorded: was.to_owned(),
                now: is.to_owned(),
            });
        }
    }
}

/// The text of `wakes.log`: first what the driver was told besides the spec, then the answers of the device.
///
/// ```text
///   given 54900000000:4200 54900000000:4200 500000000     rate and fixed cost of each lane, period of samples
///   djinn-wakes 1
/// ```
pub(crate) fn log_text(setup: &Setup, samples: Option<Nanos>, log: &WakeLog) -> String {
    let [d2h, h2d] = setup
        .engine
        .link
        .map(|lane| format!("{}:{}", lane.bytes_per_s, lane.fixed.0));
    let period = samples.map_or(0, |period| period.0);
    format!("given {d2h} {h2d} {period}\n{}", log.to_text())
}

/// What the driver was told besides the spec.
#[derive(Debug, PartialEq, Eq)]
struct Given {
    link: [CopyEstimate; 2],
    samples: Option<Nanos>,
}

/// The first line, and the text after it.
fn split_given(text: &str) -> Option<(Given, &str)> {
    let (first, rest) = text.split_once('\n')?;
    let mut words = first.strip_prefix("given ")?.split(' ');
    let lane = |word: &str| {
        let (rate, fixed) = word.split_once(':')?;
        Some(CopyEstimate {
            queued: Bytes::ZERO,
            bytes_per_s: rate.parse().ok()?,
            fixed: Nanos(fixed.parse().ok()?),
        })
    };
    let link = [lane(words.next()?)?, lane(words.next()?)?];
    let period: u64 = words.next()?.parse().ok()?;
    let samples = (period > 0).then_some(Nanos(period));
    words
        .next()
        .is_none()
        .then_some((Given { link, samples }, rest))
}

/// Decisions and turns, in memory.
#[derive(Default)]
struct Kept {
    decisions: Vec<u8>,
    turns: Vec<TurnRow>,
    samples: Option<Nanos>,
}

impl Sink for Kept {
    fn turn(&mut self, row: &TurnRow) -> Result<(), LabError> {
        self.turns.push(row.clone());
        Ok(())
    }

    fn session(&mut self, _: &SessionRow) -> Result<(), LabError> {
        Ok(())
    }

    fn op(&mut self, _: &OpRow) -> Result<(), LabError> {
        Ok(())
    }

    fn sample(&mut self, _: &SampleRow) -> Result<(), LabError> {
        Ok(())
    }

    fn decisions(&mut self, lines: &[u8]) -> Result<(), LabError> {
        self.decisions.extend_from_slice(lines);
        Ok(())
    }

    fn wants(&self) -> Wants {
        Wants {
            ops: false,
            samples: self.samples,
            decisions: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_was_given_is_read_back() {
        let (given, rest) = split_given("given 54:4 55:3 500\ndjinn-wakes 1\n").unwrap();
        let lane = |bytes_per_s, fixed| CopyEstimate {
            queued: Bytes::ZERO,
            bytes_per_s,
            fixed: Nanos(fixed),
        };
        assert_eq!(given.link, [lane(54, 4), lane(55, 3)]);
        assert_eq!(given.samples, Some(Nanos(500)));
        assert_eq!(rest, "djinn-wakes 1\n");
        assert_eq!(split_given("given 54:4 55:3\n"), None);
    }

    #[test]
    fn the_first_line_that_differs_is_named_with_both_texts() {
        assert_eq!(compare("a\nb\n", "a\nb\n", false).unwrap(), 2);
        let error = compare("a\nb\n", "a\nc\n", false).unwrap_err();
        assert_eq!(error.to_string(), "decisions.log, line 2: was `b`, is `c`");
        assert!(compare("a\n", "a\nb\n", false).is_err());
        assert_eq!(compare("a\n", "a\nb\n", true).unwrap(), 1);
    }
}
