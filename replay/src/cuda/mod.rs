//! The GPU itself: pools, queues, stamps, and stand-ins for compute.
//!
//! ```text
//!   compute  ── touch | spin ─────────────────────────►
//!   stamps   ── write stamps of new blocks ──┬─────────►      urgent
//!   D2H      checks: verify ──► copies ──────┼─────────►      checks urgent
//!   H2D                         copies ──► checks: verify ─►  checks urgent
//! ```
//!
//! KV is block-major: a block is one contiguous run in either pool, and one memcpy moves it. Stamps and checks run on
//! urgent streams, so that they need not wait for a whole step; compute is cut into slices for the same reason.
//!
//! **Integrity:** a block is stamped with its content id when the engine says that a step wrote it, verified on the GPU before it
//! leaves and after it has returned. A block that is overwritten too early, half copied, or hit by mistake fails there.
//! **Absent on purpose:** managed memory, and any allocation after the start.

mod lists;
mod queues;

use crate::backend::{Chunk, Sabotage, Work};
use devices::StepCost;
use engine::device::StepShape;
use kernels::gpu::{DeviceBuffer, Error, Event, Gpu, HostPool, PoolPhase, Stream, View};
use kernels::kv::{KvLayout, KvOrder, KvPool};
use kernels::occupy::Occupy;
use kernels::stamp::{BlockContents, Stamp};
use lists::{ENTRIES, List, Lists};
use model::{ContentId, Direction};
use std::collections::{BTreeMap, VecDeque};

/// What a step does on the GPU.
#[derive(Clone, Debug)]
pub enum Compute {
    /// Reads a buffer as large as the weights, and as many bytes of the KV pool as the batch has KV. Bound by HBM; no arithmetic.
    Touch {
        /// Bytes of the weights.
        weight_bytes: u64,
        /// Bytes of KV per token, all layers.
        kv_token_bytes: u64,
    },
    /// Passes as much time as a cost model says, on one multiprocessor. For tests of the harness.
    Spin(StepCost),
}

/// Sizes of the pools, and what fills them.
#[derive(Clone, Debug)]
pub struct CudaOptions {
    /// Blocks of the HBM pool, at least 1.
    pub hbm_blocks: u32,
    /// Blocks of the pinned host pool; 0 for none.
    pub host_blocks: u32,
    /// Bytes of a block; a multiple of 32.
    pub block_bytes: u64,
    /// What steps do.
    pub compute: Compute,
    /// Whether blocks are stamped and verified.
    pub integrity: bool,
    /// Chunks in a lane at once.
    pub lane_depth: u32,
}

/// Blocks that a chunk may have: what one list of the checks can name.
pub const CHUNK_BLOCKS_MAX: u32 = ENTRIES as u32;

/// Bytes that compute reads at a time: some 60 us on an H200, for which an urgent kernel may have to wait.
const SLICE: u64 = 256 << 20;

/// A GPU.
pub struct CudaBackend {
    gpu: Gpu,
    options: CudaOptions,
    compute: Stream,
    stamps: Stream,
    lanes: [Lane; 2],
    occupy: Occupy,
    stamp: Stamp,
    kv: KvPool,
    /// Owners of the memory behind the views, in the order in which it is given back.
    _pool: DeviceBuffer,
    host: Option<HostPool>,
    weights: Option<DeviceBuffer>,
    sink: DeviceBuffer,
    /// Bytes of a flip: what no block holds.
    poison: DeviceBuffer,
    lists: Lists,
    spare: Vec<Event>,
    /// Blocks written and not stamped yet; the last content counts.
    unstamped: BTreeMap<u32, u64>,
    /// The last stamps submitted.
    stamped: Event,
    stamping: VecDeque<(usize, Event)>,
    /// Where in the pool the next step begins to read.
    kv_at: u64,
    ctas: u32,
}

struct Lane {
    copies: Stream,
    checks: Stream,
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
    ) -> Result<Self, Error> {
        let layout = layout(&options);
        let pool = DeviceBuffer::new(gpu, layout.pool_bytes())?;
        let weights = match options.compute {
            Compute::Touch { weight_bytes, .. } if weight_bytes >= 16 => {
                Some(DeviceBuffer::new(gpu, weight_bytes / 16 * 16)?)
            }
            _ => None,
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let host_bytes = u64::from(options.host_blocks) * options.block_bytes;
        let host = (host_bytes > 0)
            .then(|| HostPool::new(gpu, host_bytes, threads, progress))
            .transpose()?;
        let lane = || -> Result<Lane, Error> {
            Ok(Lane {
                copies: Stream::new(gpu)?,
                checks: Stream::urgent(gpu)?,
            })
        };
        let stamps = Stream::urgent(gpu)?;
        let sink = DeviceBuffer::new(gpu, 16)?;
        stamps.fill(sink.view(), 0)?;
        let poison = DeviceBuffer::new(gpu, 16)?;
        stamps.fill(poison.view(), 0xa5)?;
        stamps.synchronize()?;
        let stamped = Event::new(gpu)?;
        Ok(Self {
            compute: Stream::new(gpu)?,
            lanes: [lane()?, lane()?],
            occupy: Occupy::load(gpu)?,
            stamp: Stamp::load(gpu)?,
            kv: KvPool {
                layout,
                view: pool.view(),
            },
            _pool: pool,
            host,
            weights,
            sink,
            poison,
            lists: Lists::new(gpu, 2 * options.lane_depth as usize + 32)?,
            spare: Vec::new(),
            unstamped: BTreeMap::new(),
            stamped,
            stamping: VecDeque::new(),
            kv_at: 0,
            ctas: 2 * gpu.info().multiprocessors,
            stamps,
            gpu: gpu.clone(),
            options,
        })
    }

    fn event(&mut self) -> Result<Event, Error> {
        self.spare.pop().map_or_else(|| Event::new(&self.gpu), Ok)
    }

    fn marks(&mut self) -> Result<[Event; 2], Error> {
        Ok([self.event()?, self.event()?])
    }

    /// A list in pinned memory; waits for stamps to free one if there is none.
    fn list(&mut self, entries: &[(u32, u64)]) -> Result<List, Error> {
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
            let entries: Vec<(u32, u64)> = self
                .unstamped
                .iter()
                .take(ENTRIES)
                .map(|(&block, &content)| (block, content))
                .collect();
            let list = self.list(&entries)?;
            self.stamp.write(&self.stamps, &self.contents(&list))?;
            let event = self.event()?;
            event.record(&self.stamps)?;
            self.stamping.push_back((list.slot, event));
            match entries.last() {
                Some(&(last, _)) => self.unstamped = self.unstamped.split_off(&(last + 1)),
                None => break,
            }
        }
        self.stamped.record(&self.stamps)
    }

    fn hbm_block(&self, block: u32) -> Result<View, Error> {
        let bytes = self.options.block_bytes;
        self.kv.view.slice(u64::from(block) * bytes, bytes)
    }

    fn host_block(&self, block: u32) -> Result<View, Error> {
        let bytes = self.options.block_bytes;
        let all = self
            .host
            .as_ref()
            .map_or(self.kv.view.slice(0, 0)?, HostPool::view);
        all.slice(u64::from(block) * bytes, bytes)
    }

    fn launch_step(&mut self, shape: &StepShape) -> Result<Work<Event>, Error> {
        let [begun, ended] = self.marks()?;
        begun.record(&self.compute)?;
        match &self.options.compute {
            Compute::Spin(cost) => self
                .occupy
                .spin(&self.compute, cost.step_ps(shape) / 1_000)?,
            Compute::Touch { kv_token_bytes, .. } => {
                let kv_bytes = shape.kv_tokens() * kv_token_bytes / 16 * 16;
                if let Some(weights) = &self.weights {
                    self.read(weights.view(), 0, weights.view().bytes())?;
                }
                self.kv_at = self.read(self.kv.view, self.kv_at, kv_bytes)?;
            }
        }
        ended.record(&self.compute)?;
        Ok(Work {
            begun,
            ended,
            checked: None,
            slot: None,
        })
    }

    /// Reads `bytes` bytes of `memory` from `at` on, round and round. Returns where the next may begin.
    fn read(&self, memory: View, mut at: u64, mut bytes: u64) -> Result<u64, Error> {
        while bytes > 0 {
            if at >= memory.bytes() {
                at = 0;
            }
            let slice = bytes.min(SLICE).min(memory.bytes() - at);
            self.occupy.touch(
                &self.compute,
                memory.slice(at, slice)?,
                self.sink.view().slice(0, 8)?,
            )?;
            at += slice;
            bytes -= slice;
        }
        Ok(at)
    }

    fn launch_copy(&mut self, chunk: &Chunk<'_>) -> Result<Work<Event>, Error> {
        self.write_stamps()?;
        let [begun, ended] = self.marks()?;
        let leaves = chunk.direction == Direction::D2h;
        let check = if self.options.integrity {
            let here = |block: &engine::device::BlockCopy| {
                if leaves {
                    block.source
                } else {
                    block.destination
                }
            };
            let entries: Vec<(u32, u64)> = chunk
                .blocks
                .iter()
                .map(|block| (here(block), content_word(block.content)))
                .collect();
            Some((self.list(&entries)?, self.event()?))
        } else {
            None
        };
        let lane = &self.lanes[chunk.direction.index()];
        if let (true, Some((list, checked))) = (leaves, &check) {
            lane.checks.wait(&self.stamped)?;
            self.stamp
                .verify_zeroed(&lane.checks, &self.contents(list), list.mismatches)?;
            checked.record(&lane.checks)?;
            lane.copies.wait(checked)?;
        }
        lane.copies.wait(&self.stamped)?;
        if let Some(Sabotage::Stall(span)) = chunk.sabotage {
            self.occupy.spin(&lane.copies, span.as_nanos() as u64)?;
        }
        begun.record(&lane.copies)?;
        for block in chunk.blocks {
            let (to, from) = if leaves {
                (
                    self.host_block(block.destination)?,
                    self.hbm_block(block.source)?,
                )
            } else {
                (
                    self.hbm_block(block.destination)?,
                    self.host_block(block.source)?,
                )
            };
            lane.copies.copy(to, from)?;
        }
        if let (Some(Sabotage::Flip), Some(last)) = (chunk.sabotage, chunk.blocks.last()) {
            let to = if leaves {
                self.host_block(last.destination)?
            } else {
                self.hbm_block(last.destination)?
            };
            lane.copies.copy(
                to.slice(self.options.block_bytes / 2, 1)?,
                self.poison.view().slice(0, 1)?,
            )?;
            // One byte in 256 is the poison already; its neighbour then is not, but for one in 65,536.
            lane.copies.copy(
                to.slice(self.options.block_bytes / 2 + 1, 1)?,
                self.poison.view().slice(0, 1)?,
            )?;
        }
        ended.record(&lane.copies)?;
        if let (false, Some((list, checked))) = (leaves, &check) {
            lane.checks.wait(&ended)?;
            self.stamp
                .verify_zeroed(&lane.checks, &self.contents(list), list.mismatches)?;
            checked.record(&lane.checks)?;
        }
        let (slot, checked) = check.map_or((None, None), |(list, checked)| {
            (Some(list.slot), Some(checked))
        });
        Ok(Work {
            begun,
            ended,
            checked,
            slot,
        })
    }
}

/// A layout whose blocks have the right size. The stamps depend on the bytes of a block alone, not on its pieces; pieces of
/// about 64 KiB keep their kernels busy.
fn layout(options: &CudaOptions) -> KvLayout {
    let halves = options.block_bytes / 4;
    let layers = (0..=16).map(|power| 1_u64 << power).take_while(|layers| {
        halves.is_multiple_of(*layers) && (options.block_bytes / 2 / layers).is_multiple_of(16)
    });
    let layers = layers
        .take_while(|layers| options.block_bytes / 2 / layers >= 1 << 15)
        .last()
        .unwrap_or(1);
    KvLayout {
        order: KvOrder::BlockMajor,
        block_count: options.hbm_blocks,
        layers: layers as u32,
        kv_heads: 1,
        block_tokens: 1,
        head_dim: (halves / layers) as u32,
    }
}

/// A content id as one word.
fn content_word(content: ContentId) -> u64 {
    u64::from(content.lineage.0) << 32 | u64::from(content.index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::LineageId;

    fn options(block_bytes: u64) -> CudaOptions {
        CudaOptions {
            hbm_blocks: 3,
            host_blocks: 2,
            block_bytes,
            compute: Compute::Spin(StepCost::linear(1, 0, 0, 0)),
            integrity: true,
            lane_depth: 2,
        }
    }

    #[test]
    fn a_layout_has_the_bytes_of_a_block_in_pieces_that_kernels_take() {
        // Llama-2-7B, Llama-3.1-8B, Qwen2.5-7B (7 * 2^17 bytes), a tiny block.
        for block_bytes in [8 << 20, 2 << 20, 917_504, 4_096, 32] {
            let layout = layout(&options(block_bytes));
            assert_eq!(layout.block_bytes(), block_bytes);
            assert!(layout.piece_bytes().is_multiple_of(16), "{block_bytes}");
            assert_eq!(layout.pool_bytes(), 3 * block_bytes);
        }
        // 8 MiB: 2 * 128 pieces of 32 KiB.
        assert_eq!(layout(&options(8 << 20)).piece_bytes(), 32 << 10);
    }

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
