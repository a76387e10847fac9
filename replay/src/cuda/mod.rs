//! The GPU itself: pools, queues, stamps, and compute: a model, or stand-ins for one.
//!
//! ```text
//!   compute  ── model | touch | spin ─────────────────►
//!   stamps   ── write stamps of new blocks ──┬─────────►      urgent
//!   D2H      checks: verify ──► copies ──────┼─────────►      checks urgent
//!   H2D                         copies ──► checks: verify ─►  checks urgent
//! ```
//!
//! KV lies in the pool as the copy method wants it: block-major, where a block is one piece, or layer-major, where it is a piece
//! for K and V of each layer. Stamps and checks, and copies by kernels, run on urgent streams, so that they need not wait for a
//! whole step; `touch` is cut into slices for the same reason.
//!
//! **Integrity:** a block is stamped with its content id when the engine says that a step wrote it, verified on the GPU before it
//! leaves and after it has returned. A block that is overwritten too early, half copied, or hit by mistake fails there. A stamp is KV of
//! sane size, and what a model attends to; its own K and V land in blocks behind the pool (`model::Placement`).
//! **Absent on purpose:** managed memory, and any allocation after the start.

mod copies;
mod lists;
pub mod model;
mod mover;
mod queues;
mod steps;

pub use mover::{Method, order};
pub use steps::{CudaSteps, TOKENS_MAX};

use ::model::{ContentId, Direction};
use devices::StepCost;
use kernels::gpu::{DeviceBuffer, Error, Event, Gpu, HostPool, PoolPhase, Stream};
use kernels::kv::{KvLayout, KvPool};
use kernels::occupy::Occupy;
use kernels::stamp::{BlockContents, Stamp};
use lists::{ENTRIES, Entry, List, Lists};
use model::{Geometry, LANDING_BLOCKS, ModelError};
use mover::Mover;
use std::collections::{BTreeMap, VecDeque};

/// What a step does on the GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compute {
    /// Reads a buffer as large as the weights, and as many bytes of the KV pool as the batch has KV. Bound by HBM; no arithmetic.
    Touch {
        /// Bytes of the weights.
        weight_bytes: u64,
        /// Bytes of KV per token, all layers.
        kv_token_bytes: u64,
    },
    /// Passes as much time as a cost model says, on one multiprocessor. For tests of the harness.
    Spin(Box<StepCost>),
    /// The forward pass of a transformer with random weights.
    Model {
        /// Its shape; that of the pool follows from it.
        geometry: Geometry,
        /// Tokens of a step, beyond which it becomes several passes.
        tokens: u32,
        /// Sequences of a step, likewise.
        sequences: u32,
    },
}

/// Sizes of the pools, and what fills them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CudaOptions {
    /// The HBM pool: at least one block, and pieces of a multiple of 16 bytes.
    pub layout: KvLayout,
    /// Blocks of the pinned host pool; 0 for none.
    pub host_blocks: u32,
    /// How chunks cross the link.
    pub method: Method,
    /// Blocks of the largest chunk.
    pub chunk_blocks: u32,
    /// What steps do.
    pub compute: Compute,
    /// Whether blocks are stamped and verified.
    pub integrity: bool,
    /// Chunks in a lane at once.
    pub lane_depth: u32,
}

/// Blocks that a chunk may have: what one list of the checks can name.
pub const CHUNK_BLOCKS_MAX: u32 = ENTRIES as u32;

/// A GPU.
pub struct CudaBackend {
    gpu: Gpu,
    options: CudaOptions,
    /// Until a thread of its own has it.
    steps: Option<CudaSteps>,
    stamps: Stream,
    lanes: [Lane; 2],
    occupy: Occupy,
    stamp: Stamp,
    kv: KvPool,
    /// Owners of the memory behind the views, in the order in which it is given back.
    _pool: DeviceBuffer,
    host: Option<HostPool>,
    /// Bytes of a flip: what no block holds.
    poison: DeviceBuffer,
    lists: Lists,
    spare: Vec<Event>,
    /// Blocks written and not stamped yet; the last content counts.
    unstamped: BTreeMap<u32, u64>,
    /// The last stamps submitted.
    stamped: Event,
    stamping: VecDeque<(usize, Event)>,
    ctas: u32,
}

/// One direction.
struct Lane {
    copies: Stream,
    checks: Stream,
    mover: Mover,
}

impl CudaBackend {
    /// Takes the memory; `progress` hears of the host pool as it grows.
    ///
    /// # Errors
    /// If the GPU or the host has too little memory, or the kernels do not load.
    pub fn new(
        gpu: &Gpu,
        options: CudaOptions,
        progress: &mut dyn FnMut(PoolPhase),
    ) -> Result<Self, ModelError> {
        let landing = match options.compute {
            Compute::Model { .. } => LANDING_BLOCKS,
            Compute::Touch { .. } | Compute::Spin(_) => 0,
        };
        let layout = KvLayout {
            block_count: options.layout.block_count + landing,
            ..options.layout
        };
        let pool = DeviceBuffer::new(gpu, layout.pool_bytes())?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let host_bytes = u64::from(options.host_blocks) * layout.block_bytes();
        let host = (host_bytes > 0)
            .then(|| HostPool::new(gpu, host_bytes, threads, progress))
            .transpose()?;
        let lane = |direction: Direction| -> Result<Lane, Error> {
            Ok(Lane {
                copies: Stream::urgent(gpu)?,
                checks: Stream::urgent(gpu)?,
                mover: Mover::new(
                    gpu,
                    options.method,
                    direction,
                    &layout,
                    options.chunk_blocks,
                )?,
            })
        };
        let stamps = Stream::urgent(gpu)?;
        let poison = DeviceBuffer::new(gpu, 16)?;
        stamps.fill(poison.view(), 0xa5)?;
        stamps.synchronize()?;
        let stamped = Event::new(gpu)?;
        let kv = KvPool {
            layout,
            view: pool.view(),
        };
        Ok(Self {
            steps: Some(CudaSteps::new(gpu, kv, &options)?),
            lanes: [lane(Direction::D2h)?, lane(Direction::H2d)?],
            occupy: Occupy::load(gpu)?,
            stamp: Stamp::load(gpu)?,
            kv,
            _pool: pool,
            host,
            poison,
            lists: Lists::new(gpu, 2 * options.lane_depth as usize + 32)?,
            spare: Vec::new(),
            unstamped: BTreeMap::new(),
            stamped,
            stamping: VecDeque::new(),
            ctas: 2 * gpu.info().multiprocessors,
            stamps,
            gpu: gpu.clone(),
            options,
        })
    }

    /// What it was made from.
    pub fn options(&self) -> &CudaOptions {
        &self.options
    }

    /// How chunks cross the link, in words: the method, and the form of the call that this driver has.
    pub fn method(&self) -> String {
        self.lanes[0].mover.to_string()
    }

    fn event(&mut self) -> Result<Event, Error> {
        self.spare.pop().map_or_else(|| Event::new(&self.gpu), Ok)
    }

    fn marks(&mut self) -> Result<[Event; 2], Error> {
        Ok([self.event()?, self.event()?])
    }

    /// A list in pinned memory; waits for stamps to free one if there is none.
    fn list(&mut self, entries: &[Entry]) -> Result<List, Error> {
        loop {
            if let Some(list) = self.lists.write(entries)? {
                return Ok(list);
            }
            let Some((slot, event)) = self.stamping.pop_front() else {
                return Err(Error::Cuda {
                    call: "integrity lists",
                    name: "all are in use by copies; lower `memory.lane_depth`".to_owned(),
                });
            };
            event.synchronize()?;
            self.lists.take_back(slot);
            self.spare.push(event);
        }
    }

    fn contents(&self, list: &List) -> BlockContents {
        BlockContents {
            pool: self.kv,
            blocks: list.blocks,
            contents: list.contents,
            block_count: list.length,
            ctas: self.ctas,
        }
    }

    fn write_stamps(&mut self) -> Result<(), Error> {
        while let Some((_, event)) = self.stamping.front() {
            if !event.is_done()? {
                break;
            }
            if let Some((slot, event)) = self.stamping.pop_front() {
                self.lists.take_back(slot);
                self.spare.push(event);
            }
        }
        while !self.unstamped.is_empty() {
            let entries: Vec<Entry> = self
                .unstamped
                .iter()
                .take(ENTRIES)
                .map(|(&block, &content)| Entry {
                    block,
                    slot: 0,
                    content,
                })
                .collect();
            let list = self.list(&entries)?;
            self.stamp.write(&self.stamps, &self.contents(&list))?;
            let event = self.event()?;
            event.record(&self.stamps)?;
            self.stamping.push_back((list.slot, event));
            match entries.last() {
                Some(last) => self.unstamped = self.unstamped.split_off(&(last.block + 1)),
                None => break,
            }
        }
        self.stamped.record(&self.stamps)
    }
}

impl Drop for CudaBackend {
    /// A run that was stopped leaves work behind, whose memory must not go before it.
    fn drop(&mut self) {
        // What could be wrong has been reported by the work itself.
        let _ = self.gpu.synchronize();
    }
}

/// A content id as one word.
fn content_word(content: ContentId) -> u64 {
    u64::from(content.lineage.0) << 32 | u64::from(content.index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::model::LineageId;

    #[test]
    fn contents_of_two_lineages_are_never_one_word() {
        let content = |lineage, index| {
            content_word(ContentId {
                lineage: LineageId(lineage),
                index,
            })
        };
        assert_ne!(content(3, 7), content(7, 3));
        assert_ne!(content(0, 1), content(1, 0));
    }
}
