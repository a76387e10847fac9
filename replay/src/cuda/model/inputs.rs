//! The lists of a pass on their way to the GPU: written into pinned memory, written to HBM by a kernel.
//!
//! Slots of pinned memory are used in turn; one is free again when the kernel that read it is over, which is asked and, with steps that run
//! only one ahead, never waited for.

use super::step::{Pass, Plans, Sizes};
use super::{Limits, ModelError};
use kernels::decode_attention::DecodePlan;
use kernels::gpu::{DeviceBuffer, Event, Gpu, HostPool, Stream, View};
use kernels::prefill_attention::PrefillPlan;
use kernels::step_inputs::{InputLists, StepInputs};

const SLOTS: usize = 4;

pub(super) struct Inputs {
    kernel: StepInputs,
    host: HostPool,
    /// End of the last kernel that read each slot.
    read: Vec<Event>,
    next: usize,
    slot_words: u64,
    words: DeviceBuffer,
    table: DeviceBuffer,
    table_stride: u32,
    packed: Vec<u32>,
    bytes: Vec<u8>,
}

/// Where the lists of a pass are in HBM; fixed by its sizes.
#[derive(Clone, Copy)]
pub(super) struct Lists {
    /// Work of decode attention.
    pub decode_plan: View,
    /// Work of prefill attention.
    pub prefill_plan: View,
    /// int32, one a prefill row.
    pub tokens: View,
    /// int32, one a row.
    pub positions: View,
    /// int32, one a row.
    pub slots: View,
    /// int32, one a decode row.
    pub contexts: View,
    /// int32, one a sequence: the rows that are sampled.
    pub samples: View,
    /// int32 `[sequences][table_stride]`.
    pub table: View,
    /// Entries of a row.
    pub table_stride: u32,
    /// Whether the lists, and all KV that the pass attends to but what it appends itself, are in place before its first kernel begins: so in a graph,
    /// which begins when all before it in the stream is over. Kernel by kernel, overlap might reach back that far.
    pub in_place: bool,
}

/// Lists in pinned memory.
pub(super) struct Written {
    slot: usize,
    lists: InputLists,
}

impl Inputs {
    pub fn new(gpu: &Gpu, limits: &Limits, kv_heads: u32) -> Result<Self, ModelError> {
        let wide = u64::from;
        // Tokens, positions, slots; contexts, samples.
        let words = 3 * wide(limits.tokens) + 2 * wide(limits.sequences);
        let multiprocessors = gpu.info().multiprocessors;
        let prefill = PrefillPlan::words_most(multiprocessors, limits.tokens, limits.sequences);
        let words = words + wide(DecodePlan::word_count(multiprocessors, kv_heads)) + wide(prefill);
        let slot_words = words + wide(limits.table_entries);
        let read = (0..SLOTS)
            .map(|_| Event::new(gpu))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            kernel: StepInputs::load(gpu)?,
            host: HostPool::new(gpu, 4 * slot_words * SLOTS as u64, 1, &mut |_| ())?,
            read,
            next: 0,
            slot_words,
            words: DeviceBuffer::new(gpu, 4 * words)?,
            table: DeviceBuffer::new(gpu, 4 * wide(limits.sequences) * wide(limits.table_width))?,
            table_stride: limits.table_width,
            packed: Vec::new(),
            bytes: Vec::new(),
        })
    }

    /// Where the lists of passes of these sizes are.
    pub fn lists(&self, sizes: &Sizes) -> Result<Lists, ModelError> {
        let offsets = sizes.offsets();
        let list = |at: usize| {
            let words = offsets[at + 1] - offsets[at];
            self.words
                .view()
                .slice(4 * u64::from(offsets[at]), 4 * u64::from(words))
        };
        Ok(Lists {
            decode_plan: list(0)?,
            prefill_plan: list(1)?,
            tokens: list(2)?,
            positions: list(3)?,
            slots: list(4)?,
            contexts: list(5)?,
            samples: list(6)?,
            table: self.table.view(),
            table_stride: self.table_stride,
            in_place: false,
        })
    }

    /// Writes a pass's lists into pinned memory.
    pub fn write(
        &mut self,
        pass: &Pass<'_>,
        sizes: &Sizes,
        block_tokens: u32,
        plans: &Plans,
    ) -> Result<Written, ModelError> {
        pass.write(sizes, block_tokens, plans, &mut self.packed);
        let words = self.packed.len() as u64;
        if words > self.slot_words || sizes.table_width > self.table_stride {
            return Err(ModelError::Lists {
                sequences: sizes.sequences(),
                width: sizes.table_width,
                words: self.slot_words,
                width_max: self.table_stride,
            });
        }
        let slot = self.next;
        self.next = (slot + 1) % SLOTS;
        self.read[slot].synchronize()?;
        self.bytes.clear();
        self.bytes
            .extend(self.packed.iter().flat_map(|word| word.to_le_bytes()));
        let at = 4 * self.slot_words * slot as u64;
        self.host.write(at, &self.bytes);
        Ok(Written {
            slot,
            lists: InputLists {
                from: self.host.view().slice(at, 4 * words)?,
                words: self.words.view(),
                rows: self.table.view(),
                word_count: sizes.words(),
                row_count: sizes.sequences(),
                row_words: sizes.table_width,
                row_stride: self.table_stride,
            },
        })
    }

    /// Submits the transfer of lists that have been written.
    pub fn bring(&self, stream: &Stream, written: &Written) -> Result<(), ModelError> {
        self.kernel.launch(stream, &written.lists)?;
        Ok(self.read[written.slot].record(stream)?)
    }
}
