//! `djinn explain`: what happened to the KV of one session around one turn, and why.
//!
//! Rows say how long the turn took and where its KV was found; the decision log says what was done to it meanwhile. Why KV had
//! to leave is who was waiting for blocks at that instant: the log has the events of all sessions.

mod story;

use crate::error::CliError;
use crate::format::{count, percent, plural, span};
use crate::out;
use crate::table::Table;
use lab::timeline::LogLine;
use results::folder::{DECISIONS, FolderError, RunFolder};
use results::parts;
use results::rows::{SessionRow, TurnRow};
use std::fmt::Write as _;
use std::io::BufRead as _;
use std::path::PathBuf;
use story::{Entry, Teller, Waiting};

/// Tell what happened to a session's KV before and during one turn, and why
///
/// Needs the decision log (`djinn run --log`) for the story; without it, the rows alone are shown.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    folder: PathBuf,
    /// Number of the session, from 0, or its name in the trace
    session: String,
    /// Number of the turn, from 0
    turn: u32,
}

const EXAMPLES: &str = "\
Examples:
  djinn run --log --out results/first
  djinn explain results/first 17 3         session 17: the wait before turn 3, and turn 3";

pub fn run(args: &Args) -> Result<(), CliError> {
    let folder = RunFolder::open(&args.folder)?;
    let session = find_session(&folder, &args.session)?;
    let turn = find_turn(&folder, &session, args.turn)?;
    let manifest = folder.manifest();
    let name = if session.name.is_empty() {
        String::new()
    } else {
        format!(" ({})", session.name)
    };
    let mut text = format!(
        "session {}{name}, turn {} of {} (numbered from 0), policy {}\n",
        session.session, turn.turn, session.turns, manifest.spec.policy
    );
    let block_bytes = manifest.model.kv_token_bytes * u64::from(manifest.spec.memory.block_tokens);
    let teller = Teller {
        turn: turn.turn,
        begin_ns: turn.ready_ns - turn.wait_ns.unwrap_or(0),
        waited: turn.wait_ns.is_some(),
        block_bytes,
    };
    text += &teller.introduction(&turn);
    match entries(&folder, &turn) {
        Ok(entries) => text += &teller.tell(&entries),
        Err(CliError::Failed {
            what,
            hint: Some(hint),
        }) => {
            out::warn(&what);
            out::note(&format!("hint: {hint}"));
        }
        Err(error) => return Err(error),
    }
    text += &outcome(&turn);
    out::stdout(&text)
}

fn find_session(folder: &RunFolder, wanted: &str) -> Result<SessionRow, CliError> {
    let number = wanted
        .strip_prefix('s')
        .unwrap_or(wanted)
        .parse::<u32>()
        .ok();
    let mut last = None;
    for row in folder.sessions()? {
        let row = row?;
        if row.name == wanted || number == Some(row.session) {
            return Ok(row);
        }
        last = last.max(Some(row.session));
    }
    let known = last.map_or("it has none".to_owned(), |last| {
        format!("it has 0 to {last}")
    });
    Err(CliError::failed(format!(
        "{} has no session `{wanted}`; {known}",
        folder.path().display()
    )))
}

fn find_turn(folder: &RunFolder, session: &SessionRow, turn: u32) -> Result<TurnRow, CliError> {
    for row in folder.turns()? {
        let row = row?;
        if (row.session, row.turn) == (session.session, turn) {
            return Ok(row);
        }
    }
    Err(CliError::failed(format!(
        "session {} has no turn {turn}; it finished {}, numbered from 0",
        session.session,
        plural(u64::from(session.turns), "turn")
    )))
}

/// What the log says of the session from the last token of the previous turn to the last token of this one; and where its KV was
/// taken away, who was waiting for blocks.
fn entries(folder: &RunFolder, turn: &TurnRow) -> Result<Vec<Entry>, CliError> {
    let mut entries = Vec::new();
    let mut waiting = Waiting::default();
    let mut inside = false;
    walk(folder, |line| {
        waiting.take_in(&line);
        if line.session != turn.session {
            return true;
        }
        inside |= match turn.turn {
            0 => line.what == "start",
            turn => line.turn + 1 == turn && line.what == "done",
        };
        if inside {
            let entry = Entry::new(&line);
            let others = if entry.takes() {
                waiting.others(turn.session)
            } else {
                Vec::new()
            };
            entries.push(Entry { others, ..entry });
        }
        !(line.turn == turn.turn && line.what == "done")
    })?;
    Ok(entries)
}

/// Reads the log from its beginning for as long as `take` wants more.
fn walk(folder: &RunFolder, mut take: impl FnMut(LogLine<'_>) -> bool) -> Result<(), CliError> {
    let log = folder.decisions().map_err(|error| match error {
        FolderError::Absent { .. } => CliError::hinted(
            format!(
                "{} has no {DECISIONS}, so what was decided cannot be told",
                folder.path().display()
            ),
            &format!(
                "repeat the run with --log, into another folder: {}",
                folder.manifest().command
            ),
        ),
        other => other.into(),
    })?;
    let path = folder.file(DECISIONS);
    for (index, line) in log.lines().enumerate() {
        let line = line.map_err(|cause| CliError::file("read", &path, &cause))?;
        let parsed = LogLine::parse(&line).ok_or_else(|| {
            let place = format!("{}, line {}", path.display(), index + 1);
            CliError::failed(format!(
                "{place}: `{line}` is no line of a decision log; the file is damaged"
            ))
        })?;
        if !take(parsed) {
            break;
        }
    }
    Ok(())
}

/// How the turn went, from its row.
fn outcome(turn: &TurnRow) -> String {
    let latency = turn.first_token_ns - turn.ready_ns;
    let name = if turn.wait_ns.is_some() {
        "wake-up"
    } else {
        "time to first token"
    };
    let mut text = format!("\n{name} latency: {}\n", span(latency));
    let mut table = Table::default();
    for (name, part) in parts::NAMES
        .into_iter()
        .zip(parts::of(turn))
        .filter(|part| part.1 > 0)
    {
        table.row([
            format!("  {name}"),
            span(part),
            percent(part as f64, latency as f64),
        ]);
    }
    text += &table.render();
    let missed = turn.input_tokens.saturating_sub(turn.hit_tokens);
    let _ = writeln!(
        text,
        "\nof {} prompt tokens, {} had their KV in HBM ({} of them brought back from the host); {} were computed, {} of them again",
        count(u64::from(turn.input_tokens)),
        count(u64::from(turn.hit_tokens)),
        count(u64::from(turn.restored_tokens)),
        count(u64::from(missed)),
        count(u64::from(turn.recomputed_tokens)),
    );
    if turn.hidden_copy_ns > 0 {
        let _ = writeln!(
            text,
            "{} of copying was hidden in the wait",
            span(turn.hidden_copy_ns)
        );
    }
    match turn.prefetch.as_str() {
        "in-time" => text.push_str("the prefetch was complete when the turn was ready\n"),
        "late" => text.push_str("the prefetch was not complete when the turn was ready\n"),
        "wasted" => text.push_str("what was prefetched was lost again before it was used\n"),
        _ => {}
    }
    if turn.preemptions > 0 {
        let _ = writeln!(
            text,
            "it was sent back to the queue {}",
            plural(u64::from(turn.preemptions), "time")
        );
    }
    text
}
