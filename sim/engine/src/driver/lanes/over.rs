//! A copy has left its lane: what it has changed, and what follows.
use super::super::live::Prefetch;
use super::super::{Driver, RunError};
use super::lane::Current;
use crate::device::{Completion, CopyClass, CopyRun, Device, Op};
use crate::record::{OpKind, OpRecord, What};
use model::{Blocks, Direction, Event, Phase, SessionId, Time};

impl<D: Device> Driver<'_, D> {
    /// A copy has left its lane.
    pub(in super::super) fn copy_done(&mut self, completion: &Completion) -> Result<(), RunError> {
        completion.status.clone()?;
        let lane_of = |direction: &Direction| {
            let current = self.lanes[direction.index()].current.as_ref();
            current.is_some_and(|current| current.op == completion.op)
        };
        let Some(direction) = Direction::ALL.into_iter().find(lane_of) else {
            let what = format!("operation {} is not in flight", completion.op);
            return Err(self.broken("completions", what));
        };
        let current = self.lanes[direction.index()].current.as_ref();
        let done = current.expect("just found").run.blocks_in(completion.units);
        if completion.end <= completion.start {
            let what = format!("copy {} of {done} blocks took no time", completion.op);
            return Err(self.broken("moved bytes cost time", what));
        }
        self.copy_progress(direction, done);
        let current = self.lanes[direction.index()].current.take().expect("found");
        let session = current.session;
        self.copied(
            completion,
            direction,
            session,
            current.class,
            done,
            current.submitted,
        );
        if direction == Direction::H2d && !current.repeat {
            self.count_restored(session, done, completion);
        }
        let way = match direction {
            Direction::DiskWrite => Some(0),
            Direction::DiskRead => Some(1),
            Direction::D2h | Direction::H2d => None,
        };
        if let Some(way) = way {
            self.summary.disk_moved[way] += u64::from(done);
        }
        let (blocks, arrived) = self.transferred(direction, session);
        let left = blocks - arrived;
        if left > 0 && !current.cancelled {
            // It gave way: back in line, behind what made it yield.
            self.lanes[direction.index()].push_at(session, (current.class, 0), left);
            return Ok(());
        }
        match direction {
            Direction::DiskWrite => {
                self.end_write(session);
                return Ok(());
            }
            Direction::DiskRead => {
                self.end_read(session);
                return Ok(());
            }
            _ if std::mem::take(&mut self.live[session.index()].copy_again) => {
                self.copy_again(current);
                return Ok(());
            }
            Direction::D2h => self.ledger.end_swap_out(session),
            Direction::H2d => self.end_restore(session),
        }
        self.settled(session);
        Ok(())
    }

    /// `blocks` blocks have been copied: recorded, logged and told. `asked` is when the device was given the copy.
    pub(in super::super) fn copied(
        &mut self,
        completion: &Completion,
        direction: Direction,
        session: SessionId,
        class: CopyClass,
        blocks: u32,
        asked: Time,
    ) {
        self.recorder.op(&OpRecord {
            op: completion.op,
            submit: asked,
            start: completion.start,
            end: completion.end,
            kind: OpKind::Copy {
                direction,
                session,
                class,
                bytes: self.bytes(blocks),
                chunks: completion.units,
            },
        });
        self.log(session, What::CopyEnd(direction, blocks));
        self.tell(Event::Copied {
            session,
            direction,
            blocks: Blocks(blocks),
            asked,
        });
    }

    /// Fault: `COMPUTE` has started the same restore a second time.
    pub(super) fn copy_again(&mut self, current: Current) {
        let op = self.new_op();
        let run = CopyRun {
            id: op,
            ..current.run
        };
        let mut blocks = self.ledger.block_copies(current.session, current.base);
        blocks.truncate(run.block_count as usize);
        self.device.submit(Op::Copy(CopyRun {
            blocks,
            ..run.clone()
        }));
        let direction = run.direction;
        let again = Current {
            op,
            run,
            counted: 0,
            repeat: true,
            over: None,
            submitted: self.now,
            ..current
        };
        self.lanes[direction.index()].current = Some(again);
    }

    fn count_restored(&mut self, session: SessionId, blocks: u32, completion: &Completion) {
        let live = &mut self.live[session.index()];
        live.restored += Blocks(blocks);
        if live.script.is_some() {
            let hidden_until = completion.end.min(live.ready);
            live.hidden += hidden_until.since(completion.start);
        }
    }

    pub(super) fn end_restore(&mut self, session: SessionId) {
        self.ledger.end_restore(session);
        let live = &mut self.live[session.index()];
        live.record.restores += 1;
        let between = matches!(self.views[session.index()].phase, Phase::Idle | Phase::Held);
        if live.prefetch == Prefetch::Moving && between {
            live.prefetch = Prefetch::Complete;
        }
        if self.config.faults.restore_drops_copy {
            self.ledger.discard_pin(session);
        }
    }

    /// A session's transfer is over.
    pub(super) fn settled(&mut self, session: SessionId) {
        self.refresh(session);
        self.note_change();
        let view = &self.views[session.index()];
        match view.phase {
            Phase::Queued if self.live[session.index()].parked => self.make_ready(session),
            Phase::Idle | Phase::Held if self.live[session.index()].prefetch == Prefetch::Asked => {
                self.prefetch(session);
            }
            Phase::Idle if self.live[session.index()].prefetch == Prefetch::None => {
                self.plan_prefetch(session);
            }
            Phase::Ended => {
                self.retire_pin(session);
            }
            _ => {}
        }
    }
}
