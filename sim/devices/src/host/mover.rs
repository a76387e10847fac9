//! A thread that moves blocks from one arena to the other, chunk after chunk: one direction's copy engine.
//!
//! Each block is checked before it leaves and after it has arrived.

use super::arena::Arena;
use super::fault::CopyFault;
use engine::device::{BlockCopy, CopyRun, DeviceError};
use model::{Direction, OpId};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Instant;

/// All arenas.
pub(super) struct Arenas {
    pub hbm: Arena,
    pub host: Arena,
    pub disk: Arena,
}

impl Arenas {
    /// Where copies in `direction` come from and go to.
    pub fn ends(&self, direction: Direction) -> (&Arena, &Arena) {
        match direction {
            Direction::D2h => (&self.hbm, &self.host),
            Direction::H2d => (&self.host, &self.hbm),
            Direction::DiskWrite => (&self.host, &self.disk),
            Direction::DiskRead => (&self.disk, &self.host),
        }
    }
}

/// A chunk to move.
pub(super) struct Job {
    pub run: Arc<CopyRun>,
    pub chunk: u32,
    pub fault: Option<CopyFault>,
}

/// A chunk that has been moved, or not.
pub(super) struct Report {
    pub op: OpId,
    pub direction: Direction,
    pub started: Instant,
    pub ended: Instant,
    pub result: Result<(), DeviceError>,
}

/// Starts a mover. It ends when its job channel closes; nobody waits for it, for it may be stalled.
///
/// # Panics
/// If the system starts no more threads.
pub(super) fn start(
    direction: Direction,
    arenas: Arc<Arenas>,
    reports: Sender<Report>,
) -> Sender<Job> {
    let (jobs, inbox) = channel::<Job>();
    let work = move || {
        let mut bounce = Vec::new();
        for job in inbox {
            if let Some(CopyFault::Stall(span)) = job.fault {
                thread::sleep(span);
            }
            let started = Instant::now();
            let result = move_chunk(&arenas, &job, &mut bounce);
            let report = Report {
                op: job.run.id,
                direction,
                started,
                ended: Instant::now(),
                result,
            };
            if reports.send(report).is_err() {
                return;
            }
        }
    };
    let name = format!("{direction} mover");
    thread::Builder::new()
        .name(name)
        .spawn(work)
        .expect("a thread for each direction");
    jobs
}

fn move_chunk(arenas: &Arenas, job: &Job, bounce: &mut Vec<u8>) -> Result<(), DeviceError> {
    let run = &job.run;
    let blocks =
        &run.blocks[run.blocks_in(job.chunk) as usize..run.blocks_in(job.chunk + 1) as usize];
    let error = |text: String| {
        DeviceError(format!(
            "{} copy {} of session {}: {text}",
            run.direction, run.id, run.session
        ))
    };
    if job.fault == Some(CopyFault::Fail) {
        return Err(error("failed on request".to_owned()));
    }
    let (source, destination) = arenas.ends(run.direction);
    for (
        index,
        BlockCopy {
            source: from,
            destination: to,
            content,
        },
    ) in blocks.iter().enumerate()
    {
        source
            .verify(*from, *content)
            .map_err(|text| error(format!("before leaving, {text}")))?;
        source.read(*from, bounce);
        destination.write(*to, bounce);
        if job.fault == Some(CopyFault::FlipByte) && index + 1 == blocks.len() {
            destination.flip_byte(*to);
        }
        destination
            .verify(*to, *content)
            .map_err(|text| error(format!("after arriving, {text}")))?;
    }
    Ok(())
}
