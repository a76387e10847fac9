//! Schedulings on their way to the device and back.
//!
//! A step is held back while a store reads what it would overwrite. Stores leave their lane in order, so that it is one number that a step
//! waits for: how many must have left. What its predecessor waits for as well, and will have polled, is not waited for again.

use super::super::steps::InFlight;
use super::super::{Driver, RunError, Sleep};
use super::jobs::Submitted;
use crate::device::{Completion, Device, Op, StepRun};
use crate::memory::{JobId, Orders};
use model::{ContentId, Direction};

/// What the host tier has to do with one scheduling; nothing, without a host tier.
#[derive(Debug, Default)]
pub(in super::super) struct Launch {
    /// Counts schedulings.
    pub number: u64,
    /// Stores that must have left the lane before its step may begin.
    pub waits_for: Option<u64>,
    /// It has waited, or will.
    waited: bool,
    /// Jobs that end now are its to take in.
    pub polls: bool,
    /// Jobs that it has polled.
    pub ended: Vec<JobId>,
    /// Its step, as long as it is not on the device.
    held: Option<StepRun>,
    /// What its step writes.
    writes: Vec<(u32, ContentId)>,
    /// Its step is over, and a scheduling before it is not.
    over: Option<Completion>,
}

impl Launch {
    /// Its step waits for a store.
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// When it is over, the state changes beyond what its step does.
    fn brings_news(&self) -> bool {
        self.waits_for.is_some() || !self.ended.is_empty()
    }
}

impl<D: Device> Driver<'_, D> {
    /// What `orders` ask of the lanes enters them, and the scheduling that gave them is launched as soon as it may be.
    pub(in super::super) fn launch(&mut self, orders: Orders, runs: bool) -> Launch {
        let Some(offload) = &mut self.offload else {
            return Launch::default();
        };
        offload.scheduling = false;
        offload.stirred |= runs
            || !orders.is_empty()
            || !offload.unsubmitted.is_empty()
            || !offload.unpolled.is_empty();
        offload.number += 1;
        let Orders {
            loads,
            mut stores,
            flush,
            ..
        } = orders;
        let mut launch = Launch {
            number: offload.number,
            writes: std::mem::take(&mut offload.writes),
            ..Launch::default()
        };
        // Stores of the last scheduling; of this one, those that its own step must wait for.
        let [d2h, h2d] = &mut offload.lanes;
        let (by, steps) = (launch.number, offload.stepped);
        let mut store = |job| {
            let submitted = Submitted {
                job,
                by,
                steps,
                launch: None,
            };
            d2h.push(submitted, offload.tier.blocks(job));
        };
        for job in std::mem::take(&mut offload.unsubmitted) {
            store(job);
        }
        for &job in &flush {
            if let Some(at) = stores.iter().position(|&store| store == job) {
                stores.remove(at);
                store(job);
            }
        }
        offload.unsubmitted = stores;
        let before = self.in_flight.back().map(|run| &run.launch);
        let anyway = before.and_then(|before| before.waits_for).unwrap_or(0);
        launch.waits_for = d2h.last_of(&flush).filter(|&last| last > anyway);
        let polling = before.is_some_and(|before| before.polls);
        launch.waited = launch.waits_for.is_some() && !(polling && offload.poll_at_end);
        launch.polls = launch.waits_for.is_some() || (runs && offload.poll_at_end);
        if !polling {
            launch.ended = std::mem::take(&mut offload.unpolled);
        }
        offload.stepped += u64::from(runs);
        for job in loads {
            let submitted = Submitted {
                job,
                by,
                steps: offload.stepped,
                launch: (!runs).then_some(by),
            };
            h2d.push(submitted, offload.tier.blocks(job));
        }
        launch
    }

    /// Gives the step of the newest scheduling to the device, unless it or one before it waits for a store.
    pub(in super::super) fn hand_over(&mut self, run: StepRun) {
        let behind = self.in_flight.iter().any(|run| run.launch.is_held());
        let newest = self.in_flight.back_mut().expect("just put there");
        if behind || newest.launch.waits_for.is_some() {
            newest.launch.held = Some(run);
            return;
        }
        put_on_device(self.device, &mut newest.launch, run);
    }

    /// Launches what need not wait any longer, and takes in schedulings that are over, in their order.
    pub(in super::super) fn settle_launches(&mut self) -> Result<(), RunError> {
        if self.offload.is_none() {
            return Ok(());
        }
        self.launch_held();
        while let Some(front) = self.in_flight.front_mut() {
            if let Some(completion) = front.launch.over.take() {
                self.run_done(0, &completion)?;
                continue;
            }
            let empty = front.is_empty() && front.launch.waits_for.is_none();
            // With asynchronous scheduling its turn comes when the next has been put together, or there is nothing to put together.
            let turn =
                !self.config.batching.ahead || self.in_flight.len() > 1 || !self.has_requests();
            if !empty || !turn {
                break;
            }
            let run = self.in_flight.pop_front().expect("just seen");
            self.record_empty(&run);
            self.take_in(&run.launch.ended);
            // The next is put together before another is taken in, even if that is over.
            if self.config.batching.ahead && self.has_requests() {
                break;
            }
        }
        self.rest();
        Ok(())
    }

    fn launch_held(&mut self) {
        let offload = self.offload.as_mut().expect("the caller has looked");
        let left = offload.lanes[Direction::D2h.index()].left;
        let mut held = false;
        for run in &mut self.in_flight {
            let empty = run.is_empty();
            let submitted = run.submitted;
            let launch = &mut run.launch;
            if launch.waits_for.is_some_and(|wanted| wanted <= left) {
                launch.waits_for = None;
                launch.polls = offload.poll_at_end && !empty;
                if launch.waited {
                    run.launched = self.now;
                    offload.summary.flush_waits += 1;
                    offload.summary.flush_wait += self.now.since(submitted);
                }
            }
            held |= launch.waits_for.is_some() && !empty;
            if !held && let Some(step) = launch.held.take() {
                put_on_device(self.device, launch, step);
            }
        }
    }

    /// A step run is over on the device. Returns whether its turn has come; if not, it is kept until then.
    pub(in super::super) fn is_next_over(&mut self, at: usize, completion: &Completion) -> bool {
        let Some(offload) = &mut self.offload else {
            return true;
        };
        offload.over += 1;
        if at > 0 && self.in_flight.iter().take(at).all(InFlight::is_empty) {
            self.in_flight[at].launch.over = Some(completion.clone());
            return false;
        }
        true
    }

    /// A scheduling is over: what it has polled takes effect.
    pub(in super::super) fn take_in(&mut self, ended: &[JobId]) {
        let Some(offload) = &mut self.offload else {
            return;
        };
        for &job in ended {
            offload.arrived.extend(offload.tier.complete(job));
        }
        // It polls no more, and its successor begins to wait.
        let left = offload.lanes[Direction::D2h.index()].left;
        if let Some(next) = self.in_flight.front_mut() {
            let launch = &mut next.launch;
            launch.waited |= launch.waits_for.is_some_and(|wanted| wanted > left);
        }
        if !ended.is_empty() {
            self.note_change();
        }
    }

    /// The newest scheduling ran nothing and is the only one left: the engine core sleeps before the next. Nothing can come of that one
    /// if nothing has changed, nor of those after it.
    fn rest(&mut self) {
        let most = usize::from(self.config.batching.ahead);
        if !self.ran_nothing || self.in_flight.len() > most {
            return;
        }
        self.ran_nothing = false;
        if self.has_requests() {
            let stirred = self.offload.as_ref().is_none_or(|offload| offload.stirred);
            let poll = self.config.batching.idle_poll;
            // An engine core that does not sleep tries again at once, as long as anything may come of it.
            self.sleep = (poll.0 > 0 || !stirred).then_some(Sleep {
                until: self.now + poll,
                idle: !stirred,
            });
        }
    }

    /// How many equal steps may follow one another without anything for the host tier to do: until one of `items` fills a block that it
    /// offers at once.
    pub(in super::super) fn offload_horizon(
        &self,
        sessions: impl Iterator<Item = model::SessionId>,
        orders: &Orders,
    ) -> u32 {
        let Some(offload) = &self.offload else {
            return u32::MAX;
        };
        let news = self.in_flight.iter().any(|run| run.launch.brings_news());
        let polling =
            !offload.unpolled.is_empty() || (offload.poll_at_end && offload.tier.has_jobs());
        if !orders.is_empty() || news || polling || offload.tier.has_fences() {
            return 1;
        }
        if offload.tier.prompt_only() {
            return u32::MAX;
        }
        let block = self.config.memory.block_tokens;
        let steps = sessions.map(|session| {
            let request = &self.live[session.index()].request;
            let known = request.computed.min(request.tokens());
            (offload.tier.handled(session) + 1) * block - known
        });
        steps.min().unwrap_or(1)
    }
}

/// A step begins as soon as the device has come to it. What it writes may be copied from then on.
fn put_on_device<D: Device>(device: &mut D, launch: &mut Launch, step: StepRun) {
    for (block, content) in std::mem::take(&mut launch.writes) {
        device.wrote(block, content);
    }
    device.submit(Op::Steps(step));
}
