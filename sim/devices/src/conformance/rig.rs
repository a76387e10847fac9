//! A driver for the suite: numbers operations, names blocks, and checks what holds for every completion.

use super::Subject;
use engine::device::{
    BlockCopy, Completion, CopyClass, CopyRun, Device, Op, StepPhase, StepRun, StepShape,
};
use model::{Bytes, ContentId, Direction, LineageId, Nanos, OpId, SessionId, Time};
use std::collections::BTreeMap;

/// Blocks that each pool of a subject needs.
pub const POOL_BLOCKS: u32 = 64;

/// Blocks from which copies of one direction are taken; those of the other follow.
const HALF: u32 = POOL_BLOCKS / 2;

/// Bytes of a modelled block.
const BLOCK_BYTES: Bytes = Bytes(2 << 20);

/// Longer than anything the suite submits may take, in virtual time and in wall time.
const PATIENCE: [Nanos; 2] = [Nanos(1_000_000_000_000_000), Nanos(20_000_000_000)];

pub(super) struct Rig {
    device: Box<dyn Device>,
    patience: Nanos,
    pub now: Time,
    next: u64,
    /// Operations in flight, with the time of submission and the units that they have or were cut to.
    in_flight: BTreeMap<OpId, Submitted>,
    /// End of the last completion: of step runs, D2H copies, H2D copies.
    ended: [Time; 3],
    /// Time of the copies that are over.
    busy: [Nanos; 2],
}

#[derive(Clone, Copy)]
struct Submitted {
    at: Time,
    units: u32,
    /// 0 for steps, 1 and 2 for the lanes.
    server: usize,
}

impl Rig {
    /// A fresh device, whose two pools hold the same content where it places blocks.
    pub fn new(subject: &Subject<'_>) -> Result<Self, String> {
        let mut rig = Self {
            device: (subject.make)(),
            patience: PATIENCE[usize::from(!subject.exact)],
            now: Time::ZERO,
            next: 0,
            in_flight: BTreeMap::new(),
            ended: [Time::ZERO; 3],
            busy: [Nanos::ZERO; 2],
        };
        if rig.device.places_blocks() {
            for block in 0..POOL_BLOCKS {
                rig.device.wrote(block, content(block));
            }
            for first in [0, HALF] {
                let op = rig.copy_from(Direction::D2h, first, HALF, HALF);
                rig.await_end(op)?;
            }
        }
        Ok(rig)
    }

    pub fn device(&mut self) -> &mut dyn Device {
        self.device.as_mut()
    }

    fn id(&mut self, server: usize, units: u32) -> OpId {
        let op = OpId(self.next);
        self.next += 1;
        self.in_flight.insert(
            op,
            Submitted {
                at: self.now,
                units,
                server,
            },
        );
        op
    }

    /// Submits one sequence's decode steps, the first with `kv` tokens.
    pub fn decode(&mut self, steps: u32, kv: u64, cuttable: bool) -> OpId {
        let id = self.id(0, steps);
        let shape = StepShape {
            decode_seqs: 1,
            decode_kv_tokens: kv,
            ..StepShape::default()
        };
        self.device.submit(Op::Steps(StepRun {
            id,
            phases: vec![StepPhase { shape, steps }],
            cuttable,
        }));
        id
    }

    /// Submits a copy of `blocks` blocks, at most half a pool.
    pub fn copy(&mut self, direction: Direction, blocks: u32, chunk_blocks: u32) -> OpId {
        let first = if direction == Direction::D2h { 0 } else { HALF };
        self.copy_from(direction, first, blocks, chunk_blocks)
    }

    fn copy_from(
        &mut self,
        direction: Direction,
        first: u32,
        block_count: u32,
        chunk_blocks: u32,
    ) -> OpId {
        let id = self.id(1 + direction.index(), block_count.div_ceil(chunk_blocks));
        let names = if self.device.places_blocks() {
            block_count
        } else {
            0
        };
        let blocks = (first..first + names)
            .map(|block| BlockCopy {
                source: block,
                destination: block,
                content: content(block),
            })
            .collect();
        self.device.submit(Op::Copy(CopyRun {
            id,
            session: SessionId(0),
            direction,
            class: CopyClass::Demand,
            block_count,
            chunk_blocks,
            block_bytes: BLOCK_BYTES,
            blocks,
        }));
        id
    }

    /// Cuts a run and returns what is committed.
    pub fn cut(&mut self, op: OpId) -> Result<u32, String> {
        let progress = self.device.progress(op);
        let committed = self.device.cut(op);
        let entry = self
            .in_flight
            .get_mut(&op)
            .ok_or_else(|| format!("operation {op} is not in flight"))?;
        if committed < progress.max(1) || committed > entry.units {
            return Err(format!(
                "operation {op} of {} units, {progress} of them complete, was cut to {committed}",
                entry.units
            ));
        }
        entry.units = committed;
        Ok(committed)
    }

    /// Waits once. What comes is checked, and returned.
    pub fn wait(&mut self, until: Option<Time>) -> Result<Vec<Completion>, String> {
        let mut done = Vec::new();
        let now = self.device.wait(until, &mut done);
        if now < self.now {
            return Err(format!("time went back from {} to {now}", self.now));
        }
        self.now = now;
        if !done.is_sorted_by_key(|completion| (completion.end, completion.op)) {
            return Err(format!(
                "completions are not in order of their end: {done:?}"
            ));
        }
        for completion in &done {
            self.take_in(completion)?;
        }
        for direction in Direction::LINK {
            self.check_busy(direction)?;
        }
        Ok(done)
    }

    fn take_in(&mut self, completion: &Completion) -> Result<(), String> {
        let Completion {
            op,
            start,
            end,
            units,
            status,
        } = completion;
        status.clone().map_err(|error| error.to_string())?;
        let Some(Submitted {
            at,
            units: expected,
            server,
        }) = self.in_flight.remove(op)
        else {
            return Err(format!("operation {op} completed, but is not in flight"));
        };
        if *units != expected {
            return Err(format!(
                "operation {op} completed with {units} of {expected} units"
            ));
        }
        if *start < at || end < start || *end > self.now {
            return Err(format!(
                "operation {op}, submitted at {at}, ran from {start} to {end}, reported at {}",
                self.now
            ));
        }
        if *start < self.ended[server] {
            return Err(format!(
                "operation {op} began at {start}, before its predecessor ended at {}",
                self.ended[server]
            ));
        }
        if server > 0 && end <= start {
            return Err(format!("copy {op} took no time"));
        }
        if self.device.progress(*op) != *units {
            return Err(format!(
                "operation {op} is over, but not all of its {units} units are"
            ));
        }
        self.ended[server] = *end;
        if server > 0 {
            self.busy[server - 1] += end.since(*start);
        }
        Ok(())
    }

    /// An idle lane has been busy for as long as its copies took.
    fn check_busy(&self, direction: Direction) -> Result<(), String> {
        let server = 1 + direction.index();
        if self.in_flight.values().any(|entry| entry.server == server) {
            return Ok(());
        }
        let (said, sum) = (
            self.device.lane_busy(direction),
            self.busy[direction.index()],
        );
        if said == sum {
            return Ok(());
        }
        Err(format!(
            "{direction} says it was busy for {} ns, but its copies took {} ns",
            said.0, sum.0
        ))
    }

    /// Waits until `op` has completed.
    pub fn await_end(&mut self, op: OpId) -> Result<Completion, String> {
        let deadline = self.now + self.patience;
        loop {
            let done = self.wait(Some(deadline))?;
            if let Some(completion) = done.into_iter().find(|completion| completion.op == op) {
                return Ok(completion);
            }
            if !self.in_flight.contains_key(&op) {
                return Err(format!(
                    "operation {op} completed earlier than the suite looked for it"
                ));
            }
            if self.now >= deadline {
                return Err(format!(
                    "operation {op} has not completed within {} ns: it is lost",
                    self.patience.0
                ));
            }
        }
    }

    /// Waits until `time`; whatever completes before is taken in.
    pub fn await_time(&mut self, time: Time) -> Result<(), String> {
        while self.now < time {
            self.wait(Some(time))?;
        }
        Ok(())
    }

    /// Waits until nothing is in flight.
    pub fn drain(&mut self) -> Result<(), String> {
        let deadline = self.now + self.patience;
        while let Some(op) = self.in_flight.keys().next().copied() {
            self.wait(Some(deadline))?;
            if self.now >= deadline && self.in_flight.contains_key(&op) {
                return Err(format!(
                    "operation {op} has not completed within {} ns: it is lost",
                    self.patience.0
                ));
            }
        }
        Ok(())
    }

    /// Step runs, D2H copies, or H2D copies in flight.
    pub fn in_flight(&self, server: usize) -> usize {
        self.in_flight
            .values()
            .filter(|entry| entry.server == server)
            .count()
    }

    /// Operations in flight.
    pub fn ops(&self) -> Vec<OpId> {
        self.in_flight.keys().copied().collect()
    }
}

fn content(block: u32) -> ContentId {
    ContentId {
        lineage: LineageId(1),
        index: block,
    }
}

/// Complains unless both are equal.
pub(super) fn equal<T: PartialEq + std::fmt::Debug>(
    what: &str,
    is: &T,
    should: &T,
) -> Result<(), String> {
    if is == should {
        Ok(())
    } else {
        Err(format!("{what} is {is:?}, should be {should:?}"))
    }
}
