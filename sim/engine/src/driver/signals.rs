//! What clients do: sessions begin, waits end, signals arrive.

use super::live::Prefetch;
use super::{Driver, RunError};
use crate::batch::{Request, WakeClock};
use crate::config::EndSignal;
use crate::device::{CopyClass, Device};
use crate::events::Due;
use crate::record::{Part, What};
use model::{
    Blocks, Direction, End, Event, Nanos, Phase, Residence, Restore, SessionId, Time, Tokens,
    ToolClass, TurnIndex,
};

impl<D: Device> Driver<'_, D> {
    /// Looks at the next session of the workload.
    pub(super) fn fetch_session(&mut self) -> Result<(), RunError> {
        self.next_session = self.workload.next_session()?;
        Ok(())
    }

    /// The next session of the workload enters; its first turn arrives at its start.
    pub(super) fn enter_session(&mut self) -> Result<(), RunError> {
        let script = self.next_session.take().expect("the caller has looked");
        self.fetch_session()?;
        let out_of_order = self
            .next_session
            .as_ref()
            .is_some_and(|next| next.start < script.start);
        if out_of_order && !self.config.preload {
            let name = self.next_session.as_ref().map(|next| next.name.clone());
            return Err(RunError::Unsorted(name.unwrap_or_default()));
        }
        for session in script.with_subagents() {
            let block = self.config.memory.block_tokens;
            let needed = session.context_max().blocks_ceil(block);
            if needed.0 > self.config.memory.hbm_blocks {
                return Err(RunError::TooLong {
                    session: session.name.clone(),
                    needed: needed.0,
                    capacity: self.config.memory.hbm_blocks,
                });
            }
        }
        let start = script.start;
        let id = self.adopt(script, None);
        self.begin(id, start);
        Ok(())
    }

    /// Takes in everything that is due by now.
    pub(super) fn fire_events(&mut self) -> Result<(), RunError> {
        while self
            .next_session
            .as_ref()
            .is_some_and(|next| next.start <= self.now)
        {
            self.settle_steps();
            self.settle_copies();
            self.enter_session()?;
        }
        while let Some((at, due, session, epoch)) = self.events.pop_due(self.now) {
            if due == Due::Sample {
                self.catch_up();
                self.sample();
                let period = self.config.sample_every.expect("samples were asked for");
                if self.alive > 0 || self.next_session.is_some() {
                    self.events.push(at + period, Due::Sample, session, epoch);
                }
                continue;
            }
            let timer = !matches!(due, Due::Arrive | Due::Begin | Due::PriceEnds);
            if timer && self.live[session.index()].epoch != epoch {
                continue;
            }
            self.settle_steps();
            self.settle_copies();
            match due {
                Due::IoWait => self.io_wait(session),
                Due::PinEnds => self.pin_ends(session),
                Due::PriceEnds => self.price_ends(session, epoch),
                Due::Prefetch => self.planned_prefetch(session),
                Due::FetchEnds => self.fetch_ends(session),
                Due::EndTimeout => self.end_session(session),
                Due::Begin => self.begin(session, at),
                Due::Arrive => self.arrive(session, at),
                Due::Sample => unreachable!("handled above"),
            }
        }
        Ok(())
    }

    /// `COMPUTE`: the next turn is ready, and its prompt is known.
    fn arrive(&mut self, session: SessionId, at: Time) {
        let live = &mut self.live[session.index()];
        let first = live.record.turns == 0;
        let turn = TurnIndex(live.record.turns);
        let spec = &live.script().turns[turn.index()];
        let (input, output, keep) = (spec.input, spec.output, spec.keep);
        let waited = if first {
            Nanos::ZERO
        } else {
            live.ready.since(live.record.end)
        };
        live.waited = waited;
        live.epoch += 1;
        if let Some(offload) = &mut self.offload {
            offload.tier.begin(session);
        }
        live.signal = at;
        live.prepared = false;
        live.fetched = false;
        let existed = if first { 0 } else { live.request.tokens() - 1 };
        let mut wake = WakeClock::start(live.ready, Part::Signal);
        wake.turn_to(Part::Queue, at);
        live.request = Request {
            prompt: input.0,
            output_max: output.0,
            existed: existed.min(keep.0),
            wake,
            ..Request::default()
        };
        let view = &mut self.views[session.index()];
        let tool = view.tool;
        view.turn = turn;
        if view.phase == Phase::Idle {
            self.idle -= 1;
        }
        view.phase = Phase::Queued;
        view.steps_to_execution = view.steps_to_execution.and(Some(0));
        view.ready_since = at;
        view.prompt = input;
        view.hint = None;
        if view.signalled {
            self.hints.learn(tool, waited);
        }
        view.signalled = false;
        if let Some(truth) = &self.truth {
            truth.set_return(session, None);
        }
        self.log(session, What::Ready);
        self.refresh(session);
        self.tell(Event::Compute(session, waited));
        self.hold_up(self.config.faults.io_on_hot_path);
        self.admit_session(session);
    }

    /// The turn is ready but may not be admitted yet.
    pub(super) fn park(&mut self, session: SessionId) {
        let live = &mut self.live[session.index()];
        debug_assert!(!live.parked);
        live.parked = true;
        self.batch.parked += 1;
    }

    /// Does what a ready turn needs before it may be admitted; called again when a copy of its KV has ended.
    pub(super) fn make_ready(&mut self, session: SessionId) {
        debug_assert!(self.live[session.index()].parked);
        if let Some(transfer) = &self.ledger.kv(session).transfer {
            self.live[session.index()]
                .request
                .wake
                .turn_to(Part::Copy, self.now);
            if transfer.direction == Direction::D2h {
                self.cancel_copy(session);
            } else {
                self.promote_copy(session);
            }
            return;
        }
        // A prefetch that had not begun is asked for again, as demand.
        self.lanes[Direction::H2d.index()].remove(session);
        self.ledger.stop_leak(session);
        if self.has_disk() && self.joins_read(session) {
            return;
        }
        self.prepare(session);
        if self.has_disk() {
            if self.fetches(session) {
                return;
            }
            self.drop_disk(session);
        }
        if self.ledger.restorable(session).is_some() {
            let load = match self.ask(|policy, view| policy.restore(view, session)) {
                Restore::Load => true,
                Restore::Recompute => false,
                Restore::Split(blocks) => self.restore_part(session, blocks),
                Restore::Overlap(blocks) => self.restore_behind(session, blocks),
            };
            if load {
                let live = &mut self.live[session.index()];
                live.request.wake.turn_to(Part::Copy, self.now);
                if live.overlaps {
                    let blocks = self.ledger.kv(session).host.blocks();
                    self.lanes[Direction::H2d.index()].push(session, CopyClass::Demand, blocks);
                    self.refresh(session);
                } else {
                    self.request_restore(session, CopyClass::Demand);
                }
                return;
            }
        }
        self.drop_host(session);
        self.unpark(session);
    }

    /// The turn may be admitted.
    pub(super) fn unpark(&mut self, session: SessionId) {
        let live = &mut self.live[session.index()];
        live.parked = false;
        live.request.wake.turn_to(Part::Queue, self.now);
        self.batch.parked -= 1;
        let key = self.order_key(session);
        let place = &mut self.live[session.index()].request.place;
        place.key = key;
        self.batch.waiting.insert(*place, session);
        self.note_change();
    }

    /// Only `blocks` blocks are to come back from the host, those next to what HBM has; the session gives up the rest, unless that would
    /// leave a hole that nothing fills. Returns whether there are any.
    fn restore_part(&mut self, session: SessionId, blocks: Blocks) -> bool {
        if blocks == Blocks::ZERO {
            return false;
        }
        let found = self.ledger.restorable(session).expect("the caller asked");
        if found.end == End::Back || self.ledger.computes_mid_sequence() {
            let dropped = found.blocks().saturating_sub(blocks.0);
            self.trim_host(session, found.end, dropped);
        }
        true
    }

    /// The first `blocks` blocks of what is missing are computed while the host's rest comes back. Returns whether anything is to come back.
    fn restore_behind(&mut self, session: SessionId, blocks: Blocks) -> bool {
        let found = self.ledger.restorable(session).expect("the caller asked");
        let able = self.ledger.computes_mid_sequence();
        if !able || blocks == Blocks::ZERO || found.end == End::Front {
            return true;
        }
        // At least one token is computed behind it.
        let known = self.live[session.index()].request.tokens();
        let limit = (known - 1) / self.config.memory.block_tokens;
        let (from, to) = (found.lo.saturating_add(blocks.0), found.hi.min(limit));
        if from >= to {
            return false;
        }
        self.trim_host(session, End::Back, found.hi - to);
        let first = self.ledger.kv(session).host_base;
        self.trim_host(session, End::Front, from - first);
        self.live[session.index()].overlaps = true;
        true
    }

    /// Compares the prompt with the context: what was rewritten is dropped.
    fn prepare(&mut self, session: SessionId) {
        let live = &mut self.live[session.index()];
        if std::mem::replace(&mut live.prepared, true) {
            return;
        }
        let turn = &live.script.as_ref().expect("live").turns[live.record.turns as usize];
        let context = self.views[session.index()].context;
        if let Some(runs) = &turn.content {
            self.ledger.replace_content(session, runs);
        } else if turn.keep < context {
            let kept = turn.keep.blocks_floor(self.config.memory.block_tokens);
            self.ledger.rewrite_from(session, kept.0);
        }
        self.refresh(session);
    }

    /// A turn's last token is out.
    pub(super) fn turn_done(&mut self, session: SessionId, end: Time) {
        self.settle_copies();
        let live = &mut self.live[session.index()];
        let turn = TurnIndex(live.record.turns);
        live.record.turns += 1;
        live.record.end = end;
        live.epoch += 1;
        let output = Tokens(live.request.output_max);
        let context = Tokens(live.request.tokens());
        let (input, hit) = (Tokens(live.request.prompt), Tokens(live.request.hit));
        let begun = live.request.scheduled.unwrap_or(end);
        let (waited, served) = (begun.since(live.let_in), end.since(begun));
        let next = live.script().turns.get(live.record.turns as usize);
        let next = next.map(|turn| turn.tool);
        self.summary.turns += 1;
        self.summary.output_tokens += u64::from(output.0);
        self.report.output += u64::from(output.0);
        self.summary.end = self.summary.end.max(end);
        let view = &mut self.views[session.index()];
        view.phase = Phase::Idle;
        view.idle_since = end;
        view.context = context;
        view.waited += waited;
        view.served += served;
        view.signalled = false;
        view.hint = None;
        self.idle += 1;
        self.declare_steps(session);
        self.log(session, What::Done);
        self.tell(Event::TurnDone {
            session,
            turn,
            output,
            input,
            hit,
            waited,
            served,
        });
        self.spawn(session, turn, end);
        let Some(tool) = next else {
            self.last_turn_done(session, end);
            return;
        };
        let live = &mut self.live[session.index()];
        live.prefetch = Prefetch::None;
        live.restored = Blocks::ZERO;
        live.hidden = Nanos::ZERO;
        let epoch = live.epoch;
        self.await_turn(session, self.next_ready(session, end));
        let delay = self.hints.delay();
        let lost = self.config.faults.signal_lost || self.hints.drops(session, turn);
        if lost {
            self.log(session, What::SignalLost);
        } else if delay > Nanos::ZERO {
            self.events.push(end + delay, Due::IoWait, session, epoch);
        } else {
            self.take_signal(session, turn, tool);
        }
        self.retain_finished(session);
    }

    fn last_turn_done(&mut self, session: SessionId, end: Time) {
        let epoch = self.live[session.index()].epoch;
        if let Some(truth) = &self.truth {
            truth.set_return(session, None);
        }
        self.finish_session(session);
        self.tell_parent(session);
        if self.listens {
            match self.config.end {
                EndSignal::Told => {
                    self.end_signalled(session);
                    self.retire(session);
                    return;
                }
                EndSignal::Never => {}
                EndSignal::Timeout(after) => {
                    self.events
                        .push(end + after, Due::EndTimeout, session, epoch);
                }
            }
        }
        self.retain_finished(session);
    }

    /// `IO_WAIT` arrives after the policy was first asked.
    fn io_wait(&mut self, session: SessionId) {
        let live = &self.live[session.index()];
        let next = &live.script().turns[live.record.turns as usize];
        let tool = next.tool;
        let turn = TurnIndex(live.record.turns - 1);
        self.take_signal(session, turn, tool);
        self.refresh(session);
        let view = &self.views[session.index()];
        match view.residence {
            Residence::Hbm => self.retain_again(session),
            Residence::None => self.price(session),
            // It has left without a word of its return.
            Residence::Host | Residence::Disk if !view.prefetching => self.plan_prefetch(session),
            _ => {}
        }
    }

    fn take_signal(&mut self, session: SessionId, turn: TurnIndex, tool: ToolClass) {
        let since = self.views[session.index()].idle_since;
        let wait = self.expected_wait(session);
        let hint = self.hints.hint(session, turn, tool, since, wait);
        let view = &mut self.views[session.index()];
        view.signalled = true;
        view.tool = tool;
        view.hint = hint;
        self.log(session, What::IoWait(hint));
        self.tell(Event::IoWait(session));
        self.hold_up(self.config.faults.io_on_hot_path);
    }
}
