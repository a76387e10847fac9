//! The live line of a run: time, turns, sessions, pools, link.
//!
//! The driver's thread leaves numbers in atomics; a thread of its own draws them, so that the driver does no I/O.

use lab::{Progress, Setup};
use replay::device::Gauges;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_millis(500);

/// What the driver's thread leaves.
#[derive(Default)]
pub struct Board {
    turns: AtomicU64,
    /// Sessions with a turn that runs or waits.
    active: AtomicU64,
    /// Sessions between turns.
    idle: AtomicU64,
    hbm_blocks: AtomicU64,
    host_blocks: AtomicU64,
}

impl Board {
    /// Takes in how far the run has come.
    pub fn note(&self, progress: Progress<'_>) {
        let store = |cell: &AtomicU64, value: u32| cell.store(value.into(), Ordering::Relaxed);
        match progress {
            Progress::Turns(turns) => self.turns.store(turns, Ordering::Relaxed),
            Progress::Levels(row) => {
                store(&self.active, row.running + row.queued);
                store(&self.idle, row.idle);
                let held = row.hbm_running_blocks + row.hbm_idle_blocks;
                store(&self.hbm_blocks, held);
                store(&self.host_blocks, row.host_used_blocks);
            }
        }
    }
}

/// The line, on stderr.
pub struct ProgressLine {
    board: Arc<Board>,
    over: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl ProgressLine {
    /// Draws it from now on.
    pub fn start(setup: &Setup, gauges: Arc<Gauges>) -> Self {
        let (board, over) = (Arc::new(Board::default()), Arc::new(AtomicBool::new(false)));
        let (seen, ended) = (Arc::clone(&board), Arc::clone(&over));
        let counts = setup.counts;
        let begun = Instant::now();
        let thread = thread::spawn(move || {
            loop {
                let last = ended.load(Ordering::Relaxed);
                let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
                let share = |cell: &AtomicU64, of: u64| 100 * load(cell) / of.max(1);
                let [out, back] = [0, 1].map(|side| load(&gauges.moved[side]) as f64 / 1e9);
                let lanes: u64 = gauges.in_flight.iter().map(load).sum();
                eprint!(
                    "\r{:6.1} s  {}/{} turns  {} active, {} idle  HBM {} %  host {} %  D2H {out:.1} GB  H2D {back:.1} GB  \
                     {lanes} chunks in flight ",
                    begun.elapsed().as_secs_f64(),
                    load(&seen.turns),
                    counts.turns,
                    load(&seen.active),
                    load(&seen.idle),
                    share(&seen.hbm_blocks, counts.hbm_blocks),
                    share(&seen.host_blocks, counts.host_blocks),
                );
                if last {
                    eprintln!();
                    return;
                }
                thread::park_timeout(PERIOD);
            }
        });
        Self {
            board,
            over,
            thread,
        }
    }

    /// Where the driver's thread leaves its numbers.
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// Draws it a last time.
    pub fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        // A panic of the thread costs the line and nothing else.
        let _ = self.thread.join();
    }
}
