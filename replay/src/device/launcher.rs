//! The thread that submits steps to the GPU, so that the driver need not wait while one is launched kernel by kernel.
//!
//! Steps are submitted in the order in which they were ordered; one that is refused is reported in its turn, through the poller. After an
//! order the thread stays awake for a while, where there are cores to spare: the next one usually follows within a step's time, and a
//! sleeping thread would begin it tens of microseconds late. [`Launcher::rouse`] wakes it ahead of an order that is foreseen.

use super::poller::Watch;
use crate::backend::{StepQueue, Work};
use engine::device::StepShape;
use model::OpId;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longer than most steps.
const AWAKE: Duration = Duration::from_millis(20);
/// Driver, poller, launcher, and one for everything else.
const CORES: usize = 4;

enum Order<M> {
    Step(OpId, StepShape),
    /// Marks to be used again.
    Over(Work<M>),
    Rouse,
}

pub(super) struct Launcher<M> {
    orders: Option<Sender<Order<M>>>,
    thread: Option<JoinHandle<()>>,
}

impl<M: Send + 'static> Launcher<M> {
    /// Starts the thread, which first calls `greeting`; what it puts into `steps` goes to `watches`.
    ///
    /// # Errors
    /// If the system starts no more threads.
    pub fn start<S: StepQueue<Mark = M>>(
        mut steps: S,
        greeting: Box<dyn FnOnce() + Send>,
        watches: Sender<Watch<M>>,
    ) -> Result<Self, String> {
        let (orders, inbox) = channel();
        let work = move || {
            greeting();
            serve(&mut steps, &inbox, &watches);
        };
        let thread = thread::Builder::new()
            .name("launcher".to_owned())
            .spawn(work)
            .map_err(|error| format!("no thread for launching steps: {error}"))?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Orders a step of `op`. Whether the thread has taken it.
    pub fn step(&self, op: OpId, shape: StepShape) -> bool {
        self.send(Order::Step(op, shape))
    }

    /// Gives back the marks of a step that is over.
    pub fn give_back(&self, work: Work<M>) {
        self.send(Order::Over(work));
    }

    /// An order is about to come.
    pub fn rouse(&self) {
        self.send(Order::Rouse);
    }

    fn send(&self, order: Order<M>) -> bool {
        self.orders
            .as_ref()
            .is_some_and(|orders| orders.send(order).is_ok())
    }
}

impl<M> Drop for Launcher<M> {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // Its steps go with it. A panic of it has been reported as an order that nobody took.
            let _ = thread.join();
        }
    }
}

fn serve<S: StepQueue>(
    steps: &mut S,
    orders: &Receiver<Order<S::Mark>>,
    watches: &Sender<Watch<S::Mark>>,
) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let awake = if cores < CORES { Duration::ZERO } else { AWAKE };
    let mut awake_until = Instant::now();
    loop {
        let order = match orders.try_recv() {
            Err(TryRecvError::Empty) if Instant::now() < awake_until => {
                thread::yield_now();
                continue;
            }
            Err(TryRecvError::Empty) => orders.recv().map_err(|_| TryRecvError::Disconnected),
            order => order,
        };
        match order {
            Ok(Order::Step(op, shape)) => {
                let watch = Watch {
                    server: 0,
                    op,
                    work: steps.step(&shape),
                };
                if watches.send(watch).is_err() {
                    return;
                }
            }
            Ok(Order::Over(work)) => steps.finish(work),
            Ok(Order::Rouse) => {}
            Err(_) => return,
        }
        awake_until = Instant::now() + awake;
    }
}
