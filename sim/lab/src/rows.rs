//! The engine's records as the rows of a run folder.

use crate::LabError;
use engine::Recorder;
use engine::record::{
    Decision, OpKind, OpRecord, Part, PrefetchOutcome, Sample, SessionRecord, TurnRecord,
};
use model::{Direction, Nanos};
use results::folder::RunWriter;
use results::metrics::Collector;
use results::rows::{OpRow, SampleRow, SessionRow, TurnRow};
use std::io::Write as _;

/// Where rows go.
pub trait Sink {
    /// A row of `turns.csv`.
    fn turn(&mut self, row: &TurnRow) -> Result<(), LabError>;
    /// A row of `sessions.csv`.
    fn session(&mut self, row: &SessionRow) -> Result<(), LabError>;
    /// A row of `ops.csv`.
    fn op(&mut self, row: &OpRow) -> Result<(), LabError>;
    /// A row of `samples.csv`.
    fn sample(&mut self, row: &SampleRow) -> Result<(), LabError>;
    /// Lines of `decisions.log`.
    fn decisions(&mut self, lines: &[u8]) -> Result<(), LabError>;
    /// Which of the optional files are wanted: operations, samples, decisions.
    fn wants(&self) -> Wants;
}

/// Which of the optional files a run writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// `ops.csv`.
    pub ops: bool,
    /// `samples.csv`, with this period.
    pub samples: Option<Nanos>,
    /// `decisions.log`.
    pub decisions: bool,
}

/// A run folder, and metrics on the side.
pub struct FolderSink {
    writer: Box<RunWriter>,
    collector: Collector,
    wants: Wants,
}

impl FolderSink {
    /// Writes into `writer`.
    pub fn new(writer: Box<RunWriter>, collector: Collector, wants: Wants) -> Self {
        Self {
            writer,
            collector,
            wants,
        }
    }

    /// The folder, still open, and the metrics.
    pub fn into_parts(self) -> (Box<RunWriter>, Collector) {
        (self.writer, self.collector)
    }
}

impl FolderSink {
    /// Adds a file of its own.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), LabError> {
        Ok(self.writer.file(name, bytes)?)
    }
}

impl Sink for FolderSink {
    fn turn(&mut self, row: &TurnRow) -> Result<(), LabError> {
        self.collector.turn(row)?;
        Ok(self.writer.turn(row)?)
    }

    fn session(&mut self, row: &SessionRow) -> Result<(), LabError> {
        self.collector.session(row);
        Ok(self.writer.session(row)?)
    }

    fn op(&mut self, row: &OpRow) -> Result<(), LabError> {
        Ok(self.writer.op(row)?)
    }

    fn sample(&mut self, row: &SampleRow) -> Result<(), LabError> {
        Ok(self.writer.sample(row)?)
    }

    fn decisions(&mut self, lines: &[u8]) -> Result<(), LabError> {
        Ok(self.writer.decisions(lines)?)
    }

    fn wants(&self) -> Wants {
        self.wants
    }
}

/// Metrics only: a sweep keeps no rows.
impl Sink for Collector {
    fn turn(&mut self, row: &TurnRow) -> Result<(), LabError> {
        Ok(Collector::turn(self, row)?)
    }

    fn session(&mut self, row: &SessionRow) -> Result<(), LabError> {
        Collector::session(self, row);
        Ok(())
    }

    fn op(&mut self, _: &OpRow) -> Result<(), LabError> {
        Ok(())
    }

    fn sample(&mut self, _: &SampleRow) -> Result<(), LabError> {
        Ok(())
    }

    fn decisions(&mut self, _: &[u8]) -> Result<(), LabError> {
        Ok(())
    }

    fn wants(&self) -> Wants {
        Wants::default()
    }
}

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// So many turns are over.
    Turns(u64),
    /// Pools and link are like this; at the period of the samples.
    Levels(&'a SampleRow),
}

/// Who is told of progress.
type Listener<'a> = Box<dyn FnMut(Progress<'_>) + 'a>;

/// Turns records into rows. The first row that cannot be written is remembered, and ends the run's result.
pub struct RowRecorder<'a, S> {
    sink: &'a mut S,
    wants: Wants,
    block_bytes: u64,
    pieces_per_block: u32,
    line: Vec<u8>,
    turns: u64,
    progress: Option<Listener<'a>>,
    error: Option<LabError>,
}

impl<'a, S: Sink> RowRecorder<'a, S> {
    /// Rows go to `sink`.
    pub fn new(sink: &'a mut S, block_bytes: u64, pieces_per_block: u32) -> Self {
        let wants = sink.wants();
        Self {
            sink,
            wants,
            block_bytes,
            pieces_per_block,
            line: Vec::new(),
            turns: 0,
            progress: None,
            error: None,
        }
    }

    /// Calls `progress` at every turn and every sample.
    #[must_use]
    pub fn with_progress(mut self, progress: impl FnMut(Progress<'_>) + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// # Errors
    /// The first row that could not be written.
    pub fn finish(self) -> Result<(), LabError> {
        self.error.map_or(Ok(()), Err)
    }

    fn keep(&mut self, result: Result<(), LabError>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }
}

impl<S: Sink> Recorder for RowRecorder<'_, S> {
    fn turn(&mut self, turn: &TurnRecord) {
        let row = turn_row(turn);
        let result = self.sink.turn(&row);
        self.keep(result);
        self.turns += 1;
        if let Some(progress) = &mut self.progress {
            progress(Progress::Turns(self.turns));
        }
    }

    fn session(&mut self, session: &SessionRecord) {
        let row = session_row(session, self.block_bytes);
        let result = self.sink.session(&row);
        self.keep(result);
    }

    fn unfinished(&mut self, session: &SessionRecord) {
        let row = SessionRow {
            end_ns: None,
            outcome: "failed: the run was stopped".to_owned(),
            ..session_row(session, self.block_bytes)
        };
        let result = self.sink.session(&row);
        self.keep(result);
    }

    fn op(&mut self, op: &OpRecord) {
        if self.wants.ops {
            let row = op_row(op, self.block_bytes, self.pieces_per_block);
            let result = self.sink.op(&row);
            self.keep(result);
        }
    }

    fn sample(&mut self, sample: &Sample) {
        let row = sample_row(sample);
        let result = self.sink.sample(&row);
        self.keep(result);
        if let Some(progress) = &mut self.progress {
            progress(Progress::Levels(&row));
        }
    }

    fn decision(&mut self, decision: &Decision) {
        self.line.clear();
        writeln!(self.line, "{decision}").expect("memory takes every write");
        let result = self.sink.decisions(&self.line);
        self.keep(result);
    }

    fn wants_decisions(&self) -> bool {
        self.wants.decisions
    }
}

fn turn_row(turn: &TurnRecord) -> TurnRow {
    let part = |part: Part| turn.parts[part as usize].0;
    TurnRow {
        session: turn.session.0,
        turn: turn.turn.0,
        wait_ns: turn.wait.map(|wait| wait.0),
        ready_ns: turn.ready.0,
        signal_ns: turn.signal.0,
        scheduled_ns: turn.scheduled.0,
        first_token_ns: turn.first_token.0,
        end_ns: turn.end.0,
        input_tokens: turn.input.0,
        output_tokens: turn.output.0,
        hit_tokens: turn.hit.0,
        restored_tokens: turn.restored.0,
        recomputed_tokens: turn.recomputed.0,
        preemptions: turn.preemptions,
        wake_signal_ns: part(Part::Signal),
        wake_hold_ns: part(Part::Hold),
        wake_copy_ns: part(Part::Copy),
        wake_stall_ns: part(Part::Stall),
        wake_queue_ns: part(Part::Queue),
        wake_recompute_ns: part(Part::Recompute),
        wake_prefill_ns: part(Part::Prefill),
        hidden_copy_ns: turn.hidden_copy.0,
        prefetch: match turn.prefetch {
            None => "",
            Some(PrefetchOutcome::InTime) => "in-time",
            Some(PrefetchOutcome::Late) => "late",
            Some(PrefetchOutcome::Wasted) => "wasted",
        }
        .to_owned(),
    }
}

fn session_row(session: &SessionRecord, block_bytes: u64) -> SessionRow {
    let held = session.idle_block_ns * u128::from(block_bytes) / 1_000_000;
    SessionRow {
        session: session.session.0,
        name: session.name.clone(),
        start_ns: session.start.0,
        end_ns: Some(session.end.0),
        turns: session.turns,
        outcome: "finished".to_owned(),
        swaps: session.swaps,
        restores: session.restores,
        prefetches: session.prefetches,
        d2h_bytes: session.moved[Direction::D2h.index()].0,
        h2d_bytes: session.moved[Direction::H2d.index()].0,
        idle_byte_ms: u64::try_from(held).unwrap_or(u64::MAX),
    }
}

fn op_row(op: &OpRecord, block_bytes: u64, pieces_per_block: u32) -> OpRow {
    let row = OpRow {
        op: op.op.0,
        submit_ns: op.submit.0,
        start_ns: op.start.0,
        end_ns: op.end.0,
        ..OpRow::default()
    };
    match op.kind {
        OpKind::Steps {
            steps,
            prefill_tokens,
            decode_seqs,
            kv_tokens,
            prefill_kv_tokens,
            prefill_pairs,
            prefill_tile_kv_tokens,
        } => OpRow {
            kind: "steps".to_owned(),
            steps,
            prefill_tokens,
            decode_seqs,
            kv_tokens,
            prefill_kv_tokens,
            prefill_pairs,
            prefill_tile_kv_tokens: Some(prefill_tile_kv_tokens),
            ..row
        },
        OpKind::Copy {
            direction,
            session,
            class,
            bytes,
            ..
        } => OpRow {
            kind: direction.to_string().to_lowercase(),
            bytes: bytes.0,
            pieces: (bytes.0 / block_bytes) as u32 * pieces_per_block,
            session: Some(session.0),
            class: class.name().to_owned(),
            ..row
        },
    }
}

fn sample_row(sample: &Sample) -> SampleRow {
    SampleRow {
        time_ns: sample.time.0,
        hbm_running_blocks: sample.hbm_running,
        hbm_idle_blocks: sample.hbm_idle,
        hbm_cached_blocks: sample.hbm_cached,
        hbm_capacity_blocks: sample.hbm_capacity,
        host_used_blocks: sample.host_used,
        host_capacity_blocks: sample.host_capacity,
        running: sample.running,
        queued: sample.queued,
        idle: sample.idle,
        held: sample.held,
        d2h_bytes: sample.moved[Direction::D2h.index()].0,
        h2d_bytes: sample.moved[Direction::H2d.index()].0,
        d2h_busy_ns: sample.busy[Direction::D2h.index()].0,
        h2d_busy_ns: sample.busy[Direction::H2d.index()].0,
    }
}
