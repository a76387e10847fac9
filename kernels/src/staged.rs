//! Staged copies: paged blocks through a contiguous buffer in HBM, so that the copy engines cross the link.
//!
//! ```text
//!   D2H:  pool ──gather──► staging (HBM) ──copy engine──► host slots
//!   H2D:  host slots ──copy engine──► staging (HBM) ──scatter──► pool
//! ```
//!
//! Kernels that reach over the link themselves fill it in one direction, but disturb each other when both
//! directions run; copy engines do not (`measurements/link.csv`). The kernel part runs at HBM speed, some
//! 2 % of the time of the link, on a stream of its own. Chunks alternate between two halves of the staging
//! buffer, so the copy of one overlaps the kernel of the next.
//!
//! A value serves one direction of one lane: submissions follow each other on the same stream.
//! **Invariant:** a half is refilled only after the work that drains it is done (`drained` events).

use crate::gather::{Gather, GatherBlocks};
use crate::gpu::{ArgumentError, DeviceBuffer, Error, Event, Gpu, Stream, View};
use crate::kv::KvPool;
use crate::scatter::{Scatter, ScatterBlocks};

/// The staging buffer of one direction, with its kernels and events.
pub struct StagedCopy {
    gather: Gather,
    scatter: Scatter,
    kernels: Stream,
    halves: [Half; 2],
    /// Staging slots 0, 1, 2 and so on, as the kernels take them.
    places: DeviceBuffer,
    submitted: Event,
    chunk_blocks: u32,
    block_bytes: u64,
    ctas: u32,
}

struct Half {
    staging: DeviceBuffer,
    filled: Event,
    drained: Event,
}

/// Blocks to move between a pool and slots of the host pool.
#[derive(Debug, Clone, Copy)]
pub struct StagedBlocks<'a> {
    /// The pool in HBM.
    pub pool: KvPool,
    /// `[slot_count][block_bytes]`, pinned host memory.
    pub host: View,
    /// `[slots.len()]` int32 in GPU memory: block ids.
    pub blocks: View,
    /// The slot of each block, in the order of `blocks`.
    pub slots: &'a [u32],
}

impl StagedCopy {
    /// Takes two halves of `chunk_blocks` blocks of `block_bytes` each in HBM; `ctas` bounds the kernels.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Module`], or a typed argument error for an empty chunk.
    pub fn new(gpu: &Gpu, block_bytes: u64, chunk_blocks: u32, ctas: u32) -> Result<Self, Error> {
        let half = || -> Result<Half, Error> {
            Ok(Half {
                staging: DeviceBuffer::new(gpu, block_bytes * u64::from(chunk_blocks))?,
                filled: Event::new(gpu)?,
                drained: Event::new(gpu)?,
            })
        };
        let kernels = Stream::urgent(gpu)?;
        let halves = [half()?, half()?];
        let places =
            DeviceBuffer::from_slice(&kernels, &(0..chunk_blocks as i32).collect::<Vec<_>>())?;
        Ok(Self {
            gather: Gather::load(gpu)?,
            scatter: Scatter::load(gpu)?,
            submitted: Event::new(gpu)?,
            kernels,
            halves,
            places,
            chunk_blocks,
            block_bytes,
            ctas,
        })
    }

    /// Moves blocks from the pool to their host slots; done when `stream` has reached its present end.
    ///
    /// # Errors
    /// A typed argument error for a slot outside `host` or a list too short, or what the driver refuses.
    pub fn leave(&self, stream: &Stream, moved: &StagedBlocks<'_>) -> Result<(), Error> {
        self.submitted.record(stream)?;
        self.leave_after(stream, moved, &[&self.submitted])
    }

    /// The same, but the kernels wait for `after` alone, and run beside copies that `stream` still holds.
    ///
    /// # Errors
    /// As [`StagedCopy::leave`].
    pub fn leave_after(
        &self,
        stream: &Stream,
        moved: &StagedBlocks<'_>,
        after: &[&Event],
    ) -> Result<(), Error> {
        for event in after {
            self.kernels.wait(event)?;
        }
        for (half, first, slots) in self.chunks(moved) {
            let blocks = id_range(moved.blocks, first, slots.len())?;
            self.kernels.wait(&half.drained)?;
            let gathered = GatherBlocks {
                pool: moved.pool,
                slots: half.staging.view(),
                from: blocks,
                to: self.places.view(),
                block_count: slots.len() as u32,
                ctas: self.ctas,
            };
            self.gather.launch(&self.kernels, &gathered)?;
            half.filled.record(&self.kernels)?;
            stream.wait(&half.filled)?;
            for (place, &slot) in slots.iter().enumerate() {
                stream.copy(self.host_slot(moved, slot)?, self.staged(half, place)?)?;
            }
            half.drained.record(stream)?;
        }
        Ok(())
    }

    /// Moves blocks from their host slots to the pool; done when `stream` has reached its present end.
    ///
    /// # Errors
    /// As [`StagedCopy::leave`].
    pub fn enter(&self, stream: &Stream, moved: &StagedBlocks<'_>) -> Result<(), Error> {
        self.submitted.record(self.enter_apart(stream, moved)?)?;
        stream.wait(&self.submitted)
    }

    /// The same, but done when the stream that is returned has reached its present end: `stream` may go on with its next
    /// copies while the kernels run.
    ///
    /// # Errors
    /// As [`StagedCopy::leave`].
    pub fn enter_apart(&self, stream: &Stream, moved: &StagedBlocks<'_>) -> Result<&Stream, Error> {
        for (half, first, slots) in self.chunks(moved) {
            let blocks = id_range(moved.blocks, first, slots.len())?;
            stream.wait(&half.drained)?;
            for (place, &slot) in slots.iter().enumerate() {
                stream.copy(self.staged(half, place)?, self.host_slot(moved, slot)?)?;
            }
            half.filled.record(stream)?;
            self.kernels.wait(&half.filled)?;
            let scattered = ScatterBlocks {
                pool: moved.pool,
                slots: half.staging.view(),
                from: self.places.view(),
                to: blocks,
                block_count: slots.len() as u32,
                ctas: self.ctas,
            };
            self.scatter.launch(&self.kernels, &scattered)?;
            half.drained.record(&self.kernels)?;
        }
        Ok(&self.kernels)
    }

    /// The chunks of a list: the half that serves each, the index of its first block, its slots.
    fn chunks<'a>(
        &'a self,
        moved: &StagedBlocks<'a>,
    ) -> impl Iterator<Item = (&'a Half, usize, &'a [u32])> {
        let length = self.chunk_blocks.max(1) as usize;
        moved
            .slots
            .chunks(length)
            .enumerate()
            .map(move |(chunk, slots)| (&self.halves[chunk % 2], chunk * length, slots))
    }

    fn staged(&self, half: &Half, place: usize) -> Result<View, Error> {
        half.staging
            .view()
            .slice(place as u64 * self.block_bytes, self.block_bytes)
    }

    fn host_slot(&self, moved: &StagedBlocks<'_>, slot: u32) -> Result<View, Error> {
        moved
            .host
            .slice(u64::from(slot) * self.block_bytes, self.block_bytes)
    }
}

/// The ids of `count` blocks from the `first` on.
fn id_range(blocks: View, first: usize, count: usize) -> Result<View, Error> {
    let need = 4 * (first + count) as u64;
    if blocks.bytes() < need {
        let (operation, name) = ("staged copy", "blocks");
        return Err(ArgumentError::TooShort {
            operation,
            name,
            have: blocks.bytes(),
            need,
        }
        .into());
    }
    blocks.slice(4 * first as u64, 4 * count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_a_chunk_are_its_part_of_the_list() {
        let ids = id_range(View::new(4096, 40), 6, 4).unwrap();
        assert_eq!((ids.address(), ids.bytes()), (4096 + 24, 16));
    }

    #[test]
    fn a_list_shorter_than_its_slots_is_refused() {
        let error = id_range(View::new(4096, 40), 7, 4).unwrap_err().to_string();
        assert!(
            error.contains("staged copy: `blocks` has 40 bytes, but the shape needs 44"),
            "{error}"
        );
    }
}
