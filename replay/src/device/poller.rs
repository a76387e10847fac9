//! The thread that asks marks whether they are done, and stamps host time when they are.
//!
//! One queue of watches per server (compute, D2H, H2D); only the oldest watch of each is asked, for the GPU serves each
//! queue in order. The thread spins while anything is watched: a sleeping thread would add tens of microseconds to every
//! completion. It takes no lock and does no I/O.

use crate::backend::{Mark, Work};
use model::OpId;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Compute, D2H, H2D.
pub(super) const SERVERS: usize = 3;

/// Work to be watched.
pub(super) struct Watch<M> {
    pub server: usize,
    pub op: OpId,
    /// What is in the queue, or why it was refused: that too is reported in its turn.
    pub work: Result<Work<M>, String>,
}

/// Work that is over.
pub(super) struct Report<M> {
    pub server: usize,
    pub op: OpId,
    /// When it was seen to begin and to end, and when its check was seen to be over.
    pub began: Instant,
    pub ended: Instant,
    pub seen: Instant,
    /// Device time.
    pub gpu: Duration,
    pub result: Result<(), String>,
    /// `None` if it was never in the queue.
    pub work: Option<Work<M>>,
}

pub(super) struct Poller<M> {
    watches: Option<Sender<Watch<M>>>,
    pub reports: Receiver<Report<M>>,
    thread: Option<JoinHandle<()>>,
}

impl<M: Mark> Poller<M> {
    /// Starts the thread, which first calls `greeting`.
    ///
    /// # Errors
    /// If the system starts no more threads.
    pub fn start(greeting: Box<dyn FnOnce() + Send>) -> Result<Self, String> {
        let (watches, inbox) = channel();
        let (sender, reports) = channel();
        let work = move || {
            greeting();
            poll(&inbox, &sender);
        };
        let thread = thread::Builder::new()
            .name("poller".to_owned())
            .spawn(work)
            .map_err(|error| format!("no thread for polling completions: {error}"))?;
        Ok(Self {
            watches: Some(watches),
            reports,
            thread: Some(thread),
        })
    }

    /// Whether the thread has taken it.
    pub fn watch(&self, watch: Watch<M>) -> bool {
        self.watches
            .as_ref()
            .is_some_and(|watches| watches.send(watch).is_ok())
    }

    /// For another thread that puts work into queues.
    pub fn inbox(&self) -> Option<Sender<Watch<M>>> {
        self.watches.clone()
    }
}

impl<M> Drop for Poller<M> {
    fn drop(&mut self) {
        self.watches = None;
        if let Some(thread) = self.thread.take() {
            // It ends at the next look at its inbox; a panic of it has been reported as a lost completion.
            let _ = thread.join();
        }
    }
}

struct Watched<M> {
    watch: Watch<M>,
    began: Option<Instant>,
    ended: Option<Instant>,
}

fn poll<M: Mark>(inbox: &Receiver<Watch<M>>, reports: &Sender<Report<M>>) {
    let mut queues: [VecDeque<Watched<M>>; SERVERS] = Default::default();
    loop {
        let idle = queues.iter().all(VecDeque::is_empty);
        let next = if idle {
            inbox.recv().map_err(|_| TryRecvError::Disconnected)
        } else {
            inbox.try_recv()
        };
        match next {
            Ok(watch) => queues[watch.server].push_back(Watched {
                watch,
                began: None,
                ended: None,
            }),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return,
        }
        for queue in &mut queues {
            let Some(result) = queue.front_mut().and_then(Watched::look) else {
                continue;
            };
            let Some(watched) = queue.pop_front() else {
                continue;
            };
            if reports.send(watched.report(result)).is_err() {
                return;
            }
        }
        thread::yield_now();
    }
}

impl<M: Mark> Watched<M> {
    /// Asks the marks; how it went once all are done.
    fn look(&mut self) -> Option<Result<(), String>> {
        match self.step() {
            Ok(false) => None,
            Ok(true) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        }
    }

    fn step(&mut self) -> Result<bool, String> {
        let work = self.watch.work.as_ref().map_err(String::clone)?;
        if self.began.is_none() && work.begun.is_done()? {
            self.began = Some(work.begun.done_at().unwrap_or_else(Instant::now));
        }
        if self.ended.is_none() && work.ended.is_done()? {
            self.ended = Some(work.ended.done_at().unwrap_or_else(Instant::now));
        }
        if self.ended.is_none() {
            return Ok(false);
        }
        work.checked.as_ref().map_or(Ok(true), Mark::is_done)
    }

    fn report(self, result: Result<(), String>) -> Report<M> {
        let work = self.watch.work.ok();
        let seen = Instant::now();
        let ended = self.ended.unwrap_or(seen);
        let timed = |work: &Work<M>| work.ended.nanos_since(&work.begun);
        let (gpu, result) = match (result, work.as_ref().map_or(Ok(0), timed)) {
            (Ok(()), Ok(nanos)) => (Duration::from_nanos(nanos), Ok(())),
            (Ok(()), Err(error)) | (Err(error), _) => (Duration::ZERO, Err(error)),
        };
        // Work so short that its beginning and its end were seen in one look began one GPU duration before its end.
        let began = self.began.unwrap_or(ended);
        let began = began.min(ended.checked_sub(gpu).unwrap_or(ended));
        Report {
            server: self.watch.server,
            op: self.watch.op,
            began,
            ended,
            seen,
            gpu,
            result,
            work,
        }
    }
}
