//! Operations timed as a run times them: through the device, from the start that it reports to the end.
//!
//! What is fitted to these times is what `ops.csv` will hold. Generic over the backend, so that it is tested without a GPU.

use crate::backend::Backend;
use crate::device::ReplayDevice;
use engine::device::{
    BlockCopy, Completion, CopyClass, CopyRun, Device, Op, StepPhase, StepRun, StepShape,
};
use model::{Bytes, ContentId, Direction, LineageId, Nanos, OpId, SessionId, Time};

/// A device, and the number of its next operation.
pub struct Timed<'a, B: Backend> {
    device: &'a mut ReplayDevice<B>,
    chunk_blocks: u32,
    block_bytes: Bytes,
    next: u64,
}

/// When an operation began and ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// It began.
    pub start: Time,
    /// It ended.
    pub end: Time,
}

impl Span {
    /// How long it took.
    pub fn nanos(self) -> u64 {
        self.end.since(self.start).0
    }
}

/// A copy to be timed.
#[derive(Clone, Copy, Debug)]
pub struct TimedCopy {
    /// Which way.
    pub direction: Direction,
    /// KV blocks.
    pub blocks: u32,
}

/// Steps to be timed.
#[derive(Clone, Debug)]
pub struct TimedSteps {
    /// The first.
    pub shape: StepShape,
    /// How many.
    pub count: u32,
}

impl<'a, B: Backend> Timed<'a, B> {
    /// Times operations of `device`, whose copies have chunks of `chunk_blocks` blocks of `block_bytes`.
    pub fn new(device: &'a mut ReplayDevice<B>, chunk_blocks: u32, block_bytes: Bytes) -> Self {
        Self {
            device,
            chunk_blocks,
            block_bytes,
            next: 0,
        }
    }

    /// The most blocks that a copy can have.
    pub fn blocks_max(&self) -> u32 {
        let [hbm, host] = self.device.backend().pools();
        hbm.min(host)
    }

    /// Times a copy alone.
    ///
    /// # Errors
    /// What the device says.
    pub fn copy(&mut self, copy: TimedCopy) -> Result<Span, String> {
        let spans = self.all(&[copy], None)?;
        Ok(spans[0])
    }

    /// Times steps alone.
    ///
    /// # Errors
    /// As [`Timed::copy`].
    pub fn steps(&mut self, steps: &TimedSteps) -> Result<Span, String> {
        let spans = self.all(&[], Some(steps))?;
        Ok(spans[0])
    }

    /// Times steps alone that are submitted after `pause`, and the time from their submission to their begin.
    ///
    /// # Errors
    /// As [`Timed::copy`].
    pub fn steps_after(
        &mut self,
        pause: Nanos,
        steps: &TimedSteps,
    ) -> Result<(Nanos, Span), String> {
        let until = self.device.clock() + pause;
        // Nothing is in flight: it ends when it is time.
        let submitted = self.device.wait(Some(until), &mut Vec::new());
        let span = self.steps(steps)?;
        Ok((span.start.since(submitted), span))
    }

    /// Times operations that begin together: at most one copy each way, and steps. Spans in the order given, steps last.
    ///
    /// # Errors
    /// As [`Timed::copy`].
    pub fn all(
        &mut self,
        copies: &[TimedCopy],
        steps: Option<&TimedSteps>,
    ) -> Result<Vec<Span>, String> {
        let first = self.next;
        for copy in copies {
            let run = self.copy_run(*copy);
            self.device.submit(Op::Copy(run));
        }
        if let Some(TimedSteps { shape, count }) = steps {
            let run = StepRun {
                id: self.id(),
                phases: vec![StepPhase {
                    shape: shape.clone(),
                    steps: (*count).max(1),
                }],
                cuttable: true,
            };
            self.device.submit(Op::Steps(run));
        }
        let count = (self.next - first) as usize;
        let mut done: Vec<Completion> = Vec::with_capacity(count);
        while done.len() < count {
            self.device.wait(None, &mut done);
        }
        done.sort_unstable_by_key(|completion| completion.op);
        done.into_iter()
            .map(|completion| {
                completion.status.map_err(|error| error.to_string())?;
                Ok(Span {
                    start: completion.start,
                    end: completion.end,
                })
            })
            .collect()
    }

    fn id(&mut self) -> OpId {
        self.next += 1;
        OpId(self.next - 1)
    }

    /// Blocks in an order that looks like none in HBM, and one after the other in the host pool, as a fresh swap-out has them.
    fn copy_run(&mut self, TimedCopy { direction, blocks }: TimedCopy) -> CopyRun {
        let id = self.id();
        let blocks_max = self.blocks_max();
        let blocks = blocks.clamp(1, blocks_max);
        // An odd step has no factor in common with a power of two; where it has one with the pool, one block more is skipped.
        let stride = (1_031..u32::MAX)
            .find(|&step| gcd(step, blocks_max) == 1)
            .unwrap_or(1);
        let place = |at: u32| {
            let hbm = (u64::from(at) * u64::from(stride) % u64::from(blocks_max)) as u32;
            let (source, destination) = match direction {
                Direction::D2h => (hbm, at),
                _ => (at, hbm),
            };
            BlockCopy {
                source,
                destination,
                content: ContentId {
                    lineage: LineageId(0),
                    index: at,
                },
            }
        };
        CopyRun {
            id,
            session: SessionId(0),
            direction,
            class: CopyClass::Demand,
            block_count: blocks,
            chunk_blocks: self.chunk_blocks,
            block_bytes: self.block_bytes,
            blocks: (0..blocks).map(place).collect(),
        }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The median of `repeats` timings \[ns\], after one that is not counted.
///
/// # Errors
/// The first timing that failed.
pub fn median_of(
    repeats: usize,
    mut time: impl FnMut() -> Result<u64, String>,
) -> Result<u64, String> {
    time()?;
    let mut times = (0..repeats.max(1))
        .map(|_| time())
        .collect::<Result<Vec<u64>, _>>()?;
    Ok(median(&mut times))
}

/// The median: of an even number, the mean of the middle two.
///
/// # Panics
/// If there are none.
pub fn median(times: &mut [u64]) -> u64 {
    times.sort_unstable();
    u64::midpoint(times[(times.len() - 1) / 2], times[times.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&mut [9, 1, 4]), 4);
        assert_eq!(median(&mut [10, 1, 4, 6]), 5);
        // The first timing is not counted.
        let mut times = [100, 3, 1, 2].into_iter();
        assert_eq!(median_of(3, || Ok(times.next().unwrap())), Ok(2));
    }
}
