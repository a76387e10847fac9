//! Rows written by a thread of their own, so that a run on the wall clock does no I/O between two wakes.
//!
//! The driver's thread hands each row over a channel without bound: it never waits for a disk.

use crate::LabError;
use crate::rows::{FolderSink, Sink, Wants};
use results::rows::{OpRow, SampleRow, SessionRow, TurnRow};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Hands rows over.
pub(crate) struct RowSender {
    rows: Sender<Row>,
    wants: Wants,
}

enum Row {
    Turn(TurnRow),
    Session(SessionRow),
    Op(OpRow),
    Sample(SampleRow),
    Decisions(Vec<u8>),
}

/// Calls `run` with a sink whose rows reach `sink` on another thread; returns both when the last one has.
///
/// # Errors
/// The first row that could not be written.
pub(crate) fn write_apart<T>(
    mut sink: FolderSink,
    run: impl FnOnce(&mut RowSender) -> T,
) -> (T, Result<FolderSink, LabError>) {
    let (sender, rows) = channel();
    let mut sender = RowSender {
        rows: sender,
        wants: sink.wants(),
    };
    thread::scope(|scope| {
        let writer = scope.spawn(move || write_all(&mut sink, &rows).map(|()| sink));
        let ran = run(&mut sender);
        // Nothing follows: the writer ends with what it has.
        drop(sender);
        let written = writer.join();
        (
            ran,
            written.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        )
    })
}

fn write_all(sink: &mut FolderSink, rows: &Receiver<Row>) -> Result<(), LabError> {
    for row in rows {
        match row {
            Row::Turn(row) => sink.turn(&row)?,
            Row::Session(row) => sink.session(&row)?,
            Row::Op(row) => sink.op(&row)?,
            Row::Sample(row) => sink.sample(&row)?,
            Row::Decisions(lines) => sink.decisions(&lines)?,
        }
    }
    Ok(())
}

impl RowSender {
    /// A writer that has given up has its reason, which the end of the run reports.
    fn send(&self, row: Row) {
        let _ = self.rows.send(row);
    }
}

impl Sink for RowSender {
    fn turn(&mut self, row: &TurnRow) -> Result<(), LabError> {
        self.send(Row::Turn(row.clone()));
        Ok(())
    }

    fn session(&mut self, row: &SessionRow) -> Result<(), LabError> {
        self.send(Row::Session(row.clone()));
        Ok(())
    }

    fn op(&mut self, row: &OpRow) -> Result<(), LabError> {
        self.send(Row::Op(row.clone()));
        Ok(())
    }

    fn sample(&mut self, row: &SampleRow) -> Result<(), LabError> {
        self.send(Row::Sample(row.clone()));
        Ok(())
    }

    fn decisions(&mut self, lines: &[u8]) -> Result<(), LabError> {
        self.send(Row::Decisions(lines.to_vec()));
        Ok(())
    }

    fn wants(&self) -> Wants {
        self.wants
    }
}
