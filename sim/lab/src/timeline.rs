//! A finished run as a Perfetto trace, to be opened in its UI (<https://ui.perfetto.dev>).
//!
//! ```text
//!   GPU            ▆▆▆▆ ▆▆▆▆▆▆▆ ▆▆      step runs             (ops.csv)
//!   D2H, H2D         ▃▃▃    ▃▃▃▃▃       copies                (ops.csv)
//!   disk                ▃▃▃▃▃▃          its writes and reads  (ops.csv, where there are any)
//!   HBM, host, ... ╱╲__╱╲____           levels                (samples.csv)
//!   Sessions
//!     s0           turn│wait   │turn    turns and waits       (turns.csv)
//!     s1              ↓keep  ↓swap-out  what was decided      (decisions.log)
//! ```
//!
//! **Must hold:** slices of one track nest, and an end comes before a beginning at the same instant.
//! **Absent on purpose:** metrics. Every number is one of the run folder.

mod log_line;
mod perfetto;

pub use log_line::LogLine;

use crate::LabError;
use model::Time;
use perfetto::{File, Happening, Kind, Note, Track};
use results::folder::{FolderError, RunFolder};
use results::parts;
use results::rows::{OpRow, SampleRow, SessionRow, TurnRow};
use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

/// What of a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineOptions {
    /// Nothing that ends before this.
    pub from: Time,
    /// Nothing that begins after this.
    pub to: Time,
    /// Tracks of sessions at most; the first ones by number are kept.
    pub sessions_max: usize,
}

impl Default for TimelineOptions {
    /// The whole run, and as many sessions as a screen can be scrolled through.
    fn default() -> Self {
        Self {
            from: Time::ZERO,
            to: Time::NEVER,
            sessions_max: 500,
        }
    }
}

/// What a timeline holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimelineReport {
    /// Packets in the file.
    pub packets: u64,
    /// Tracks of sessions.
    pub sessions: usize,
    /// Sessions that lived in the window and got none.
    pub sessions_left_out: usize,
    /// Files that the run does not have, whose tracks are therefore missing.
    pub missing: Vec<&'static str>,
}

/// Writes the timeline of a run to `target`, which is replaced at once when the timeline is complete.
///
/// # Errors
/// If a row is damaged or the file cannot be written.
pub fn write(
    folder: &RunFolder,
    options: &TimelineOptions,
    target: &Path,
) -> Result<TimelineReport, LabError> {
    let mut timeline = Timeline::new(*options, &folder.manifest().spec.policy);
    timeline.sessions(folder.sessions()?)?;
    timeline.turns(folder.turns()?)?;
    if let Some(ops) = timeline.present("ops.csv", folder.ops())? {
        timeline.ops(ops)?;
    }
    if let Some(samples) = timeline.present("samples.csv", folder.samples())? {
        timeline.samples(samples)?;
    }
    if let Some(log) = timeline.present("decisions.log", folder.decisions())? {
        let path = folder.file("decisions.log");
        let lines = log.lines().map(|line| {
            line.map_err(|error| LabError::File {
                path: path.clone(),
                error,
            })
        });
        timeline.decisions(lines)?;
    }
    let (bytes, report) = timeline.finish();
    put(target, &bytes).map_err(|error| LabError::File {
        path: target.to_owned(),
        error,
    })?;
    Ok(report)
}

/// Writes beside `target` and renames; what is no regular file (a pipe, a device) is written to as it is.
fn put(target: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if target.exists() && !target.is_file() {
        return std::fs::write(target, bytes);
    }
    let mut unfinished = target.as_os_str().to_owned();
    unfinished.push(".tmp");
    let written =
        std::fs::write(&unfinished, bytes).and_then(|()| std::fs::rename(&unfinished, target));
    if written.is_err() {
        // The error says why there is no file; a second one of the removal would not help.
        let _ = std::fs::remove_file(&unfinished);
    }
    written
}

// Numbers of tracks; those of sessions follow.
const GPU: Track = Track(1);
const D2H: Track = Track(2);
const H2D: Track = Track(3);
const SESSIONS: Track = Track(4);
const DISK_WRITE: Track = Track(5);
const DISK_READ: Track = Track(6);
const COUNTERS: u64 = 10;
const FIRST_SESSION: u64 = 100;

/// Name of a level and how it is read off a sample.
type Counter = (&'static str, fn(&SampleRow) -> u32);

/// Levels over time, one track each.
const LEVELS: [Counter; 7] = [
    ("HBM blocks: running turns", |row| row.hbm_running_blocks),
    ("HBM blocks: idle sessions", |row| row.hbm_idle_blocks),
    ("HBM blocks: cached", |row| row.hbm_cached_blocks),
    ("host blocks in use", |row| row.host_used_blocks),
    ("turns running", |row| row.running),
    ("turns queued", |row| row.queued),
    ("sessions idle", |row| row.idle),
];

struct Timeline {
    options: TimelineOptions,
    policy: String,
    tracks: Vec<(Track, String)>,
    shown: BTreeMap<u32, Track>,
    happenings: Vec<Happening>,
    report: TimelineReport,
}

impl Timeline {
    fn new(options: TimelineOptions, policy: &str) -> Self {
        Self {
            options,
            policy: policy.to_owned(),
            tracks: Vec::new(),
            shown: BTreeMap::new(),
            happenings: Vec::new(),
            report: TimelineReport::default(),
        }
    }

    /// An optional file: `None`, and noted, if the run did not write it.
    fn present<T>(
        &mut self,
        file: &'static str,
        opened: Result<T, FolderError>,
    ) -> Result<Option<T>, LabError> {
        match opened {
            Err(FolderError::Absent { .. }) => {
                self.report.missing.push(file);
                Ok(None)
            }
            other => Ok(Some(other?)),
        }
    }

    fn within(&self, start: u64, end: u64) -> bool {
        end >= self.options.from.0 && start <= self.options.to.0
    }

    fn sessions(
        &mut self,
        rows: impl Iterator<Item = Result<SessionRow, FolderError>>,
    ) -> Result<(), LabError> {
        let mut alive = BTreeMap::new();
        for row in rows {
            let row = row?;
            if self.within(row.start_ns, row.end_ns.unwrap_or(u64::MAX)) {
                alive.insert(row.session, row.name);
            }
        }
        self.report.sessions = alive.len().min(self.options.sessions_max);
        self.report.sessions_left_out = alive.len() - self.report.sessions;
        for (session, name) in alive.into_iter().take(self.options.sessions_max) {
            let track = Track(FIRST_SESSION + u64::from(session));
            self.tracks.push((track, format!("s{session} {name}")));
            self.shown.insert(session, track);
        }
        Ok(())
    }

    fn turns(
        &mut self,
        rows: impl Iterator<Item = Result<TurnRow, FolderError>>,
    ) -> Result<(), LabError> {
        for row in rows {
            let row = row?;
            let Some(&track) = self.shown.get(&row.session) else {
                continue;
            };
            if let Some(wait) = row.wait_ns {
                let notes = vec![Note::Number("before turn", u64::from(row.turn))];
                self.slice(
                    track,
                    "wait",
                    [row.ready_ns.saturating_sub(wait), row.ready_ns],
                    notes,
                );
            }
            let mut notes = vec![
                Note::Number("turn", u64::from(row.turn)),
                Note::Number("input tokens", u64::from(row.input_tokens)),
                Note::Number("output tokens", u64::from(row.output_tokens)),
                Note::Number("hit tokens", u64::from(row.hit_tokens)),
                Note::Number("restored tokens", u64::from(row.restored_tokens)),
                Note::Number("recomputed tokens", u64::from(row.recomputed_tokens)),
            ];
            if !row.prefetch.is_empty() {
                notes.push(Note::Text("prefetch", row.prefetch.clone()));
            }
            self.slice(track, "turn", [row.ready_ns, row.end_ns], notes);
            let latency = if row.wait_ns.is_some() {
                "wake-up"
            } else {
                "first token"
            };
            let parts = parts::NAMES.into_iter().zip(parts::of(&row));
            let notes = parts
                .filter(|part| part.1 > 0)
                .map(|(name, ns)| Note::Number(name, ns));
            self.slice(
                track,
                latency,
                [row.ready_ns, row.first_token_ns],
                notes.collect(),
            );
            self.slice(
                track,
                "decode",
                [row.first_token_ns, row.end_ns],
                Vec::new(),
            );
        }
        Ok(())
    }

    fn ops(
        &mut self,
        rows: impl Iterator<Item = Result<OpRow, FolderError>>,
    ) -> Result<(), LabError> {
        for (track, name) in [(GPU, "GPU"), (D2H, "D2H link"), (H2D, "H2D link")] {
            self.tracks.push((track, name.to_owned()));
        }
        let mut rows: Vec<OpRow> = rows.collect::<Result<_, _>>()?;
        for (track, name, kind) in [
            (DISK_WRITE, "disk, written", "disk-write"),
            (DISK_READ, "disk, read", "disk-read"),
        ] {
            if rows.iter().any(|row| row.kind == kind) {
                self.tracks.push((track, name.to_owned()));
            }
        }
        rows.sort_by_key(|row| (row.start_ns, row.op));
        // A copy may be given to its lane before the last one has left it: its slice begins when that one's ends.
        let mut free = BTreeMap::new();
        for row in rows {
            let track = match row.kind.as_str() {
                "d2h" => D2H,
                "h2d" => H2D,
                "disk-write" => DISK_WRITE,
                "disk-read" => DISK_READ,
                _ => GPU,
            };
            let free = free.entry(track).or_insert(0);
            let span = [row.start_ns.max(*free), row.end_ns];
            *free = row.end_ns.max(*free);
            if track == GPU {
                let name = if row.prefill_tokens > 0 {
                    "prefill and decode"
                } else {
                    "decode"
                };
                let notes = vec![
                    Note::Number("steps", u64::from(row.steps)),
                    Note::Number("prefill tokens", u64::from(row.prefill_tokens)),
                    Note::Number("decode sequences", u64::from(row.decode_seqs)),
                    Note::Number("KV tokens read", row.kv_tokens),
                ];
                self.slice(track, name, span, notes);
            } else {
                let notes = vec![
                    Note::Number("session", u64::from(row.session.unwrap_or_default())),
                    Note::Number("bytes", row.bytes),
                    Note::Number("asked at [ns]", row.submit_ns),
                ];
                self.slice(track, &row.class, span, notes);
            }
        }
        Ok(())
    }

    fn samples(
        &mut self,
        rows: impl Iterator<Item = Result<SampleRow, FolderError>>,
    ) -> Result<(), LabError> {
        let tracks = (COUNTERS..).map(Track);
        self.tracks
            .extend(tracks.clone().zip(LEVELS.map(|(name, _)| name.to_owned())));
        for row in rows {
            let row = row?;
            if !self.within(row.time_ns, row.time_ns) {
                continue;
            }
            for (track, (_, level)) in tracks.clone().zip(LEVELS) {
                let value = u64::from(level(&row));
                self.happen(
                    row.time_ns,
                    track,
                    Kind::Count,
                    String::new(),
                    value,
                    Vec::new(),
                );
            }
        }
        Ok(())
    }

    /// Lines of the decision log, as instants on the track of their session. Turns and copies have slices already.
    fn decisions(
        &mut self,
        lines: impl Iterator<Item = Result<String, LabError>>,
    ) -> Result<(), LabError> {
        const SHOWN_ELSEWHERE: [&str; 6] =
            ["start", "ready", "done", "end", "copy-start", "copy-end"];
        for line in lines {
            let line = line?;
            let Some(entry) = LogLine::parse(&line) else {
                continue;
            };
            let word = entry.what.split(' ').next().unwrap_or_default();
            let track = self.shown.get(&entry.session).copied();
            let (Some(track), false) = (track, SHOWN_ELSEWHERE.contains(&word)) else {
                continue;
            };
            if self.within(entry.at.0, entry.at.0) {
                let notes = vec![Note::Text("decision", entry.what.to_owned())];
                self.happen(entry.at.0, track, Kind::Instant, word.to_owned(), 0, notes);
            }
        }
        Ok(())
    }

    fn slice(&mut self, track: Track, name: &str, [start, end]: [u64; 2], notes: Vec<Note>) {
        if end > start && self.within(start, end) {
            self.happen(start, track, Kind::Begin, name.to_owned(), 0, notes);
            self.happen(end, track, Kind::End, String::new(), 0, Vec::new());
        }
    }

    fn happen(
        &mut self,
        at: u64,
        track: Track,
        kind: Kind,
        name: String,
        value: u64,
        notes: Vec<Note>,
    ) {
        self.happenings.push(Happening {
            at,
            track,
            kind,
            name,
            value,
            notes,
        });
    }

    /// The file. The sort is stable, so that an outer slice begins before the inner ones that begin with it.
    fn finish(mut self) -> (Vec<u8>, TimelineReport) {
        self.happenings
            .sort_by_key(|happening| (happening.at, happening.kind.rank()));
        let mut file = File::default();
        file.track(
            SESSIONS,
            None,
            &format!("Sessions ({})", self.policy),
            false,
        );
        for (track, name) in &self.tracks {
            let parent = (track.0 >= FIRST_SESSION).then_some(SESSIONS);
            let counter = (COUNTERS..FIRST_SESSION).contains(&track.0);
            file.track(*track, parent, name, counter);
        }
        for happening in &self.happenings {
            file.event(happening);
        }
        self.report.packets = file.packets;
        (file.bytes, self.report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_goes_before_a_beginning_at_the_same_instant_and_nothing_has_no_length() {
        let mut timeline = Timeline::new(TimelineOptions::default(), "djinn");
        timeline.slice(GPU, "second", [5, 9], Vec::new());
        timeline.slice(GPU, "first", [1, 5], Vec::new());
        timeline.slice(GPU, "nothing", [5, 5], Vec::new());
        let (_, report) = timeline.finish();
        // One track (of all sessions) and four ends and beginnings.
        assert_eq!(report.packets, 5);
    }
}
